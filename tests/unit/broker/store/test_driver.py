"""A transaction on the driver itself, and what is asked of a server that does not answer."""

import pytest
from sqlalchemy import make_url

from broker.errors import DatabaseUnavailable
from broker.store.driver import DriverConnection

ANY = make_url("postgresql+asyncpg://").get_dialect()()


class Driver:
    """Notes what it is asked; a statement gets no answer in time."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def transaction(self) -> "Driver":
        return self

    def is_closed(self) -> bool:
        return False

    async def start(self) -> None:
        self.asked.append("begin")

    async def commit(self) -> None:
        self.asked.append("commit")

    async def rollback(self) -> None:
        self.asked.append("rollback")


async def test_a_server_that_does_not_answer_is_not_asked_to_roll_back() -> None:
    driver = Driver()
    with pytest.raises(DatabaseUnavailable):
        async with DriverConnection(ANY, driver).transaction():
            raise DatabaseUnavailable("no answer in time")
    assert driver.asked == ["begin"]


async def test_what_else_goes_wrong_is_rolled_back() -> None:
    driver = Driver()
    with pytest.raises(LookupError):
        async with DriverConnection(ANY, driver).transaction():
            raise LookupError
    assert driver.asked == ["begin", "rollback"]


async def test_a_block_that_ends_well_is_committed() -> None:
    driver = Driver()
    async with DriverConnection(ANY, driver).transaction():
        pass
    assert driver.asked == ["begin", "commit"]
