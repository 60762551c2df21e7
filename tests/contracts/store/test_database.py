"""Connections, transactions, and what a failure leaves behind."""

import asyncio
from contextlib import suppress

import pytest
import uvloop
from sqlalchemy import insert, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from broker.errors import DatabaseUnavailable
from broker.settings import DatabaseSettings
from broker.store.database import Database
from broker.store.jobs import Jobs, Seen
from broker.store.tables.identity import organizations, projects
from tests.contracts.store.builders import job


async def _add(database: Database, name: str) -> None:
    async with database.connect() as connection:
        await connection.execute(insert(organizations).values(name=name, created_ms=0))


async def _names(database: Database) -> list[str]:
    async with database.connect() as connection:
        return sorted(await connection.scalars(select(organizations.c.name)))


async def test_a_transaction_is_seen_when_it_is_committed(database: Database, other: Database) -> None:
    async with database.begin() as connection:
        await connection.execute(insert(organizations).values(name="acme", created_ms=0))
        assert await _names(other) == []
    assert await _names(other) == ["acme"]


async def test_a_block_that_raises_writes_nothing_and_raises_what_it_raised(database: Database) -> None:
    async def fail() -> None:
        async with database.begin() as connection:
            await connection.execute(insert(organizations).values(name="acme", created_ms=0))
            raise ConnectionError("of another kind")

    with pytest.raises(ConnectionError, match="of another kind"):
        await fail()
    assert await _names(database) == []


async def test_without_a_transaction_each_statement_is_committed(database: Database, other: Database) -> None:
    async with database.connect() as connection:
        await connection.execute(insert(organizations).values(name="acme", created_ms=0))
        assert await _names(other) == ["acme"]


async def test_references_are_enforced(database: Database) -> None:
    orphan = insert(projects).values(organization_id=99, name="x", settings={}, created_ms=0)
    with pytest.raises(IntegrityError):
        async with database.begin() as connection:
            await connection.execute(orphan)


async def test_what_is_not_the_database_s_absence_passes_as_it_is(database: Database) -> None:
    await _add(database, "acme")
    with pytest.raises(IntegrityError):
        await _add(database, "acme")
    with pytest.raises(DBAPIError, match="nowhere"):
        async with database.connect() as connection:
            await connection.execute(text("SELECT 1 FORM nowhere"))


async def test_an_error_does_not_tell_what_was_written(database: Database) -> None:
    secret = "of-the-application"
    with pytest.raises(DBAPIError) as caught:
        async with database.connect() as connection:
            await connection.execute(text("INSERT nowhere VALUES (:secret)"), {"secret": secret})
    assert secret not in str(caught.value)


async def test_many_at_once_share_the_connections(database: Database) -> None:
    await asyncio.gather(*(_add(database, f"name-{number}") for number in range(50)))
    assert len(await _names(database)) == 50


async def test_who_is_cancelled_leaves_the_connections_whole(database: Database) -> None:
    async def write(number: int) -> None:
        async with database.begin() as connection:
            await connection.execute(insert(organizations).values(name=f"name-{number}", created_ms=0))
            await connection.execute(select(organizations))

    for number in range(40):
        task = asyncio.create_task(write(number))
        for _ in range(number):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    await _add(database, "after")
    assert "after" in await _names(database)


async def test_a_transaction_that_is_cancelled_is_rolled_back(database: Database) -> None:
    written = asyncio.Event()

    async def write() -> None:
        async with database.begin() as connection:
            await connection.execute(insert(organizations).values(name="acme", created_ms=0))
            written.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(write())
    await asyncio.wait_for(written.wait(), 30)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert await _names(database) == []


async def test_who_waits_too_long_for_a_connection_is_told(settings: DatabaseSettings) -> None:
    small = await Database.open(settings.model_copy(update={"pool_size": 1, "statement_timeout_ms": 200}))
    try:
        async with small.connect():
            with pytest.raises(DatabaseUnavailable, match="in use"):
                await _names(small)
        assert await _names(small) == []
    finally:
        await small.close()


def test_it_runs_on_uvloop(settings: DatabaseSettings) -> None:
    async def register() -> list[Seen]:
        database = await Database.open(settings)
        try:
            return await Jobs(database).register([job(), job()])
        finally:
            await database.close()

    assert uvloop.run(register()) == [Seen.NEW, Seen.NEW]
