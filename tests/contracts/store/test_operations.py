"""What operators changed, on record."""

import pytest
from sqlalchemy import update

from broker.ops.changes import change
from broker.store.audit_check import broken_chain
from broker.store.database import Database
from broker.store.operations import Operation, latest, record
from broker.store.tables.audit import audit


def _raised(subject: str, cap: int) -> Operation:
    return Operation(
        "ann", "budget.raise", subject, {"nanodollars_per_day": None}, {"nanodollars_per_day": cap}
    )


async def _record(database: Database, *operations: Operation) -> None:
    for operation in operations:
        async with change(database) as connection:
            await record(connection, operation)


async def test_the_newest_come_first_of_all_or_of_one_subject(database: Database) -> None:
    first, second, third = _raised("acme/web", 1), _raised("acme/lab", 2), _raised("acme/web", 3)
    await _record(database, first, second, third)
    assert [row.operation for row in await latest(database, 2)] == [third, second]
    assert [row.operation for row in await latest(database, 9, "acme/web")] == [third, first]


async def test_they_are_a_chain_that_shows_a_changed_entry(database: Database) -> None:
    await _record(database, _raised("acme/web", 1), _raised("acme/web", 2))
    assert await broken_chain(database) is None
    async with database.begin() as connection:
        forged = {"actor": "eve", "subject": "acme/web"}
        await connection.execute(update(audit).where(audit.c.position == 1).values(entry=forged))
    assert await broken_chain(database) == "operations/0/1"


async def test_a_change_that_fails_leaves_no_entry(database: Database) -> None:
    async def fail() -> None:
        async with change(database) as connection:
            await record(connection, _raised("acme/web", 1))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    assert await latest(database, 9) == []
    await _record(database, _raised("acme/web", 2))
    assert await broken_chain(database) is None
