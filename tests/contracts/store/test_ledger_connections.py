"""The connections that the ledger's statements run on: as the others, and kept only while they are whole."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
import pytest_asyncio
from pydantic import SecretStr
from sqlalchemy import Select, insert, literal_column, select, text
from sqlalchemy.exc import IntegrityError

from broker.errors import DatabaseUnavailable
from broker.quota.ledger_source import LedgerSource
from broker.settings import DatabaseSettings
from broker.store.database import Database
from broker.store.tables.identity import organizations, projects
from tests.services import PostgresServer

ONE: Select[tuple[Any]] = select(literal_column("1"))
ACME = insert(organizations).values(name="acme", created_ms=0)


@pytest_asyncio.fixture
async def postgresql(postgresql_url: str) -> AsyncIterator[Database]:
    opened = await Database.open(DatabaseSettings(url=SecretStr(postgresql_url)))
    yield opened
    await opened.close()


@pytest_asyncio.fixture
async def hasty(postgresql_url: str) -> AsyncIterator[Database]:
    """Gives a statement a fifth of a second."""
    settings = DatabaseSettings(url=SecretStr(postgresql_url), statement_timeout_ms=200)
    opened = await Database.open(settings)
    yield opened
    await opened.close()


async def _one(database: Database) -> int:
    async with database.ledger() as line:
        [row] = (await line.execute(ONE)).all()
    return int(row[0])


async def _names(database: Database) -> list[str]:
    async with database.ledger() as line:
        return sorted(row.name for row in await line.execute(select(organizations.c.name)))


async def test_each_statement_is_committed(database: Database, other: Database) -> None:
    async with database.ledger() as line:
        await line.execute(ACME)
        assert await _names(other) == ["acme"]


async def test_a_transaction_is_seen_when_it_is_committed(database: Database, other: Database) -> None:
    async with database.begin_ledger() as line:
        await line.execute(ACME)
        assert await _names(other) == []
    assert await _names(other) == ["acme"]


async def test_a_block_that_raises_writes_nothing_and_raises_what_it_raised(database: Database) -> None:
    async def fail() -> None:
        async with database.begin_ledger() as line:
            await line.execute(ACME)
            raise ConnectionError("of another kind")

    with pytest.raises(ConnectionError, match="of another kind"):
        await fail()
    assert await _names(database) == []


async def test_rows_come_as_their_columns_say(database: Database) -> None:
    """JSON as what it means, and each field by its name."""
    async with database.begin_ledger() as line:
        await line.execute(ACME)
        [organization] = (await line.execute(select(organizations.c.id))).all()
        row = {"organization_id": organization.id, "name": "p", "settings": {"a": [1]}, "created_ms": 0}
        await line.execute(insert(projects).values(row))
        found = (await line.execute(select(projects.c.name, projects.c.settings))).one_or_none()
    assert found is not None
    assert (found.name, found.settings) == tuple(found) == ("p", {"a": [1]})


async def test_an_error_leaves_the_connection_whole(database: Database) -> None:
    async def twice() -> None:
        async with database.begin_ledger() as line:
            await line.execute(ACME)
            await line.execute(ACME)

    for _ in range(10):
        with pytest.raises(Exception, match=r"(?i)unique") as caught:
            await twice()
        assert not isinstance(caught.value, DatabaseUnavailable)
    assert await _names(database) == []


async def test_many_at_once_share_the_connections(database: Database) -> None:
    assert await asyncio.gather(*(_one(database) for _ in range(50))) == [1] * 50


async def test_who_is_cancelled_leaves_the_connections_whole(database: Database) -> None:
    async def write(number: int) -> None:
        async with database.begin_ledger() as line:
            await line.execute(insert(organizations).values(name=f"name-{number}", created_ms=0))
            await line.execute(select(organizations.c.id))

    for number in range(40):
        task = asyncio.create_task(write(number))
        for _ in range(number):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    async with database.ledger() as line:
        await line.execute(ACME)
    assert "acme" in await _names(database)


async def test_a_rebuild_finds_its_two_connections_beside_those_that_are_kept(postgresql_url: str) -> None:
    least = DatabaseSettings(url=SecretStr(postgresql_url), pool_size=2, statement_timeout_ms=500)
    database = await Database.open(least)
    try:
        assert await _one(database) == 1
        async with LedgerSource(database).exclusive(1) as ledger:
            assert await ledger.nodes(1)
    finally:
        await database.close()


async def test_a_server_that_is_killed_and_comes_back(postgresql: Database, postgres: PostgresServer) -> None:
    await asyncio.gather(*(_one(postgresql) for _ in range(5)))
    postgres.kill()
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable):
            await _one(postgresql)
    postgres.start()
    assert await asyncio.gather(*(_one(postgresql) for _ in range(5))) == [1] * 5


async def test_a_server_that_freezes(hasty: Database, postgres: PostgresServer) -> None:
    await _one(hasty)
    postgres.pause()
    try:
        with pytest.raises(DatabaseUnavailable):
            await _one(hasty)
        with pytest.raises(DatabaseUnavailable):
            async with hasty.begin_ledger() as line:
                await line.execute(ONE)
    finally:
        postgres.resume()
    assert await _one(hasty) == 1


@pytest.mark.parametrize(
    "fatal", ["pg_terminate_backend(pg_backend_pid())", "pg_cancel_backend(pg_backend_pid())"]
)
async def test_a_statement_that_is_ended_by_the_server(postgresql: Database, fatal: str) -> None:
    async def write() -> None:
        async with postgresql.begin_ledger() as line:
            await line.execute(ACME)
            await line.execute(text(f"SELECT {fatal}"))

    with pytest.raises(DatabaseUnavailable, match=r"connection|shutting down"):
        await write()
    assert await _names(postgresql) == []


async def test_a_statement_that_takes_too_long(hasty: Database) -> None:
    with pytest.raises(DatabaseUnavailable, match="interrupted"):
        async with hasty.ledger() as line:
            await line.execute(text("SELECT 1 FROM pg_sleep(60)"))
    assert await _one(hasty) == 1


async def test_an_orphan_is_refused_by_either(database: Database) -> None:
    orphan = insert(projects).values(organization_id=99, name="x", settings={}, created_ms=0)
    with pytest.raises(Exception, match=r"(?i)foreign key") as caught:
        async with database.ledger() as line:
            await line.execute(orphan)
    assert isinstance(caught.value, IntegrityError) or "ForeignKey" in type(caught.value).__name__
