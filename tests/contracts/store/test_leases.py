"""Leases, by the database's clock. The tests move the lease and not the clock."""

from sqlalchemy import func, select, update

from broker.store.clock import now_ms
from broker.store.database import Database
from broker.store.leases import Leases
from broker.store.tables.ledger import workers


async def _age(database: Database, incarnation: str, ms: int) -> None:
    statement = update(workers).values(lease_until_ms=workers.c.lease_until_ms - ms)
    async with database.connect() as connection:
        await connection.execute(statement.where(workers.c.incarnation == incarnation))


async def _left_ms(database: Database, incarnation: str) -> int:
    statement = select(workers.c.lease_until_ms - now_ms()).where(workers.c.incarnation == incarnation)
    async with database.connect() as connection:
        return int((await connection.execute(statement)).scalar_one())


async def test_a_lease_that_runs_is_renewed(database: Database) -> None:
    leases = Leases(database)
    incarnation = await leases.join("host", 42, 60_000)
    assert 0 < await _left_ms(database, incarnation) <= 60_000
    assert await leases.renew(incarnation, 600_000)
    assert 60_000 < await _left_ms(database, incarnation) <= 600_000


async def test_a_lease_that_ran_out_is_never_revived(database: Database) -> None:
    leases = Leases(database)
    incarnation = await leases.join("host", 42, 60_000)
    await _age(database, incarnation, 60_001)
    assert not await leases.renew(incarnation, 60_000)
    assert await _left_ms(database, incarnation) < 0


async def test_who_left_cannot_renew(database: Database) -> None:
    leases = Leases(database)
    incarnation = await leases.join("host", 42, 60_000)
    await leases.leave(incarnation)
    assert not await leases.renew(incarnation, 60_000)


async def test_every_incarnation_has_a_name_of_its_own(database: Database) -> None:
    leases = Leases(database)
    names = {await leases.join("host", 42, 60_000) for _ in range(3)}
    assert len(names) == 3
    assert all(len(name) == 32 for name in names)


async def test_those_long_dead_are_forgotten(database: Database) -> None:
    leases = Leases(database)
    forgotten, dead = [await leases.join("host", pid, 0) for pid in (1, 2)]
    await _age(database, forgotten, 25 * 3_600_000)
    await _age(database, dead, 3_600_000)
    await leases.join("host", 3, 60_000)
    async with database.connect() as connection:
        names = set(await connection.scalars(select(workers.c.incarnation)))
    assert forgotten not in names
    assert dead in names


async def test_the_clock_counts_unix_milliseconds(database: Database) -> None:
    async with database.connect() as connection:
        now = (await connection.execute(select(now_ms(), func.current_timestamp()))).one()[0]
    assert isinstance(now, int)
    assert 1_700_000_000_000 < now < 10_000_000_000_000
