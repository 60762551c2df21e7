"""Two processes settle at the same time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from pydantic import SecretStr
from sqlalchemy import text

from broker.errors import Fenced
from broker.settings import DatabaseSettings
from broker.store.database import Database
from broker.store.dispositions import Disposition, Settled
from broker.store.settlement import Advance, SettledBatch, Settlements
from schemas.outcomes import Repeat
from schemas.state import State
from tests.contracts.store.builders import OUTCOMES, settle, settlement, state

T = TypeVar("T")

WAITING, KNOWN, NEW = Disposition.WAITING, Disposition.KNOWN, Disposition.NEW
ADDRESS = "replies.shop/1/again"
PLANS_KEPT_AFTER = 5
"""Uses of a prepared statement, after which PostgreSQL may keep its plan."""


async def test_of_two_that_settle_one_partition_one_is_fenced(database: Database, other: Database) -> None:
    for start in range(0, 40, 2):
        seen = await Settlements(database).position(OUTCOMES, 0)
        advance = [Advance(seen, start + 2)]
        batch = [settlement(start), settlement(start + 1)]
        results = await asyncio.gather(
            Settlements(database).settle(batch, advance),
            Settlements(other).settle(batch, advance),
            return_exceptions=True,
        )
        assert {type(result) for result in results} == {SettledBatch, Fenced}


async def test_of_two_outcomes_of_one_run_one_is_the_end(database: Database, other: Database) -> None:
    for start in range(20):
        ended = state()
        ((one,), (two,)) = await asyncio.gather(
            settle(Settlements(database), settlement(start, ended, partition=0)),
            settle(Settlements(other), settlement(start, ended, partition=1)),
        )
        assert {one.disposition, two.disposition} == {NEW, KNOWN}
        assert one.terminal == two.terminal


async def test_batches_that_hold_the_same_runs_in_other_orders_do_not_block_each_other(
    database: Database, other: Database
) -> None:
    for start in range(0, 200, 40):
        states = [state() for _ in range(40)]
        here = [settlement(start + n, of, partition=0) for n, of in enumerate(states)]
        there = [settlement(start + n, of, partition=1) for n, of in enumerate(reversed(states))]
        one, two = await asyncio.gather(
            settle(Settlements(database), *here), settle(Settlements(other), *there)
        )
        new = sum(item.disposition is NEW for item in [*one, *two])
        assert new == 40


async def test_a_repeat_beside_the_end_is_answered_by_one_of_them(
    database: Database, other: Database
) -> None:
    for start in range(30):
        ended = state()
        (end,), (repeat,) = await asyncio.gather(
            settle(Settlements(database), settlement(start, ended, partition=0)),
            settle(Settlements(other), settlement(start, _repeat(ended), partition=1)),
        )
        assert end.disposition is NEW
        assert repeat.disposition is KNOWN or end.waiting == (ADDRESS,)


async def test_a_waiter_waits_for_an_end_that_could_not_see_it(postgresql_url: str) -> None:
    async with _two(postgresql_url) as (ending, repeating):
        ended = state()
        async with _held(repeating, partition=0) as release:
            end = asyncio.create_task(settle(Settlements(ending), settlement(1, ended, partition=0)))
            await _blocked(repeating)
            repeat = asyncio.create_task(
                settle(Settlements(repeating), settlement(1, _repeat(ended), partition=1))
            )
            await _until(ending, "SELECT count(*) FROM waiters")
            assert not repeat.done()
            await release()
            (settled,) = await _soon(end)
            (told,) = await _soon(repeat)
        assert (settled.disposition, settled.waiting) == (NEW, ())
        assert told == Settled(KNOWN, settled.terminal)


async def test_an_end_that_begins_after_a_waiter_finds_it(postgresql_url: str) -> None:
    async with _two(postgresql_url) as (ending, repeating):
        ended = state()
        (repeat,) = await settle(Settlements(repeating), settlement(1, _repeat(ended), partition=1))
        (settled,) = await settle(Settlements(ending), settlement(1, ended, partition=0))
        assert repeat == Settled(WAITING, None)
        assert (settled.disposition, settled.waiting) == (NEW, (ADDRESS,))


async def test_an_end_takes_its_lock_before_it_looks(postgresql_url: str) -> None:
    """What `broker.store.waiters` takes for granted of PostgreSQL."""
    async with _two(postgresql_url) as (ending, repeating):
        for offset in range(1, PLANS_KEPT_AFTER + 3):
            await settle(Settlements(ending), settlement(offset, partition=0))
        ended = state()
        async with repeating.connect() as connection:
            await connection.execute(text("BEGIN"))
            await connection.execute(text("LOCK TABLE waiters IN EXCLUSIVE MODE"))
            end = asyncio.create_task(settle(Settlements(ending), settlement(offset + 1, ended, partition=0)))
            await _blocked(repeating)
            row = {"job_id": ended.job_id, "reply_to": ADDRESS}
            await connection.execute(text("INSERT INTO waiters VALUES (1, :job_id, 1, :reply_to, 1)"), row)
            await connection.execute(text("COMMIT"))
            (settled,) = await _soon(end)
        assert (settled.disposition, settled.waiting) == (NEW, (ADDRESS,))


async def test_a_waiter_that_commits_last_finds_the_end(postgresql_url: str) -> None:
    async with _two(postgresql_url) as (ending, repeating):
        ended = state()
        async with _held(ending, partition=1) as release:
            repeat = asyncio.create_task(
                settle(Settlements(repeating), settlement(1, _repeat(ended), partition=1))
            )
            await _blocked(ending)
            (end,) = await settle(Settlements(ending), settlement(1, ended, partition=0))
            await release()
            assert end.waiting == ()
            (settled,) = await _soon(repeat)
        assert settled == Settled(KNOWN, end.terminal)


def _repeat(of: State) -> State:
    return state(Repeat(), job_id=of.job_id, reply_to=ADDRESS)


@asynccontextmanager
async def _two(url: str) -> AsyncIterator[Sequence[Database]]:
    databases = [await Database.open(DatabaseSettings(url=SecretStr(url))) for _ in range(2)]
    for partition in (0, 1):
        await settle(Settlements(databases[0]), settlement(0, partition=partition))
    yield databases
    for database in databases:
        await database.close()


@asynccontextmanager
async def _held(database: Database, partition: int) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Whoever settles this partition waits at its very end until `release`."""
    async with database.connect() as connection:
        await connection.execute(text("BEGIN"))
        await connection.execute(
            text("SELECT 1 FROM positions WHERE partition = :partition FOR UPDATE"), {"partition": partition}
        )

        async def release() -> None:
            await connection.execute(text("ROLLBACK"))

        yield release


async def _blocked(database: Database) -> None:
    """Returns when some transaction waits for another's lock."""
    await _until(database, "SELECT count(*) FROM pg_locks WHERE NOT granted")


async def _until(database: Database, count: str) -> None:
    async with asyncio.timeout(30), database.connect() as connection:
        while (await connection.execute(text(count))).scalar_one() == 0:
            pass


async def _soon(answer: Awaitable[T]) -> T:
    return await asyncio.wait_for(answer, 30)
