"""Whoever changes the record of what happened is found."""

import pytest
from sqlalchemy import text

from broker.store.audit_check import broken_chain
from broker.store.database import Database
from broker.store.settlement import Settlements
from tests.contracts.store.builders import OUTCOMES, settle, settlement


async def _tamper(database: Database, *statements: str) -> None:
    async with database.begin() as connection:
        for statement in statements:
            await connection.execute(text(statement))


async def _settle_some(database: Database) -> None:
    await settle(Settlements(database), *(settlement(n, partition=n % 2) for n in range(10)))


async def test_chains_as_they_were_written_are_whole(database: Database) -> None:
    assert await broken_chain(database) is None
    await _settle_some(database)
    assert await broken_chain(database) is None


AT = "WHERE partition = 1 AND position"


@pytest.mark.parametrize(
    ("statements", "position"),
    [
        ([f"UPDATE audit SET entry = '{{}}' {AT} = 2"], 2),
        ([f"UPDATE audit SET hash = '{'0' * 64}' {AT} = 2"], 2),
        ([f"DELETE FROM audit {AT} = 2"], 2),
        ([f"DELETE FROM audit {AT} >= 3"], 3),
        ([f"DELETE FROM audit {AT} >= 0"], 0),
        (
            [
                f"UPDATE audit SET position = 99 {AT} = 1",
                f"UPDATE audit SET position = 1 {AT} = 2",
                f"UPDATE audit SET position = 2 {AT} = 99",
            ],
            1,
        ),
        ([f"UPDATE positions SET chain_head = '{'0' * 64}' WHERE partition = 1"], 5),
    ],
)
async def test_the_place_of_a_change_is_named(
    database: Database, statements: list[str], position: int
) -> None:
    await _settle_some(database)
    await _tamper(database, *statements)
    assert await broken_chain(database) == f"{OUTCOMES}/1/{position}"
