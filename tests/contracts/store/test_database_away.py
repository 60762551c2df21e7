"""The ways in which a database can be away: all leave as DatabaseUnavailable, and work goes on afterwards."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from pydantic import SecretStr
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.errors import DatabaseUnavailable, SettingsInvalid
from broker.settings import DatabaseSettings
from broker.store.database import Database
from broker.store.tables.ledger import charges
from tests.services import PostgresServer
from tests.services.server import free_port


def _settings(url: str, timeout_ms: int = 15_000) -> DatabaseSettings:
    return DatabaseSettings(url=SecretStr(url), statement_timeout_ms=timeout_ms)


@pytest_asyncio.fixture
async def postgresql(postgresql_url: str) -> AsyncIterator[Database]:
    opened = await Database.open(_settings(postgresql_url))
    yield opened
    await opened.close()


async def _one(database: Database) -> int:
    async with database.connect() as connection:
        return int((await connection.execute(text("SELECT 1"))).scalar_one())


async def test_nobody_listens() -> None:
    url = f"postgresql+asyncpg://headworks:hidden@127.0.0.1:{free_port()}/headworks"
    with pytest.raises(DatabaseUnavailable, match="nothing listens") as caught:
        await Database.open(_settings(url))
    assert "hidden" not in str(caught.value)


async def test_a_server_that_is_killed_and_comes_back(postgresql: Database, postgres: PostgresServer) -> None:
    await asyncio.gather(*(_one(postgresql) for _ in range(5)))
    postgres.kill()
    with pytest.raises(DatabaseUnavailable):
        await _one(postgresql)
    with pytest.raises(DatabaseUnavailable):
        await _one(postgresql)
    postgres.start()
    assert await _one(postgresql) == 1


async def test_a_server_that_is_restarted_while_connections_idle_fails_each_once_at_most(
    postgresql: Database, postgres: PostgresServer
) -> None:
    await asyncio.gather(*(_one(postgresql) for _ in range(5)))
    postgres.kill()
    postgres.start()
    with pytest.raises(DatabaseUnavailable, match="connection"):
        await _one(postgresql)
    assert await asyncio.gather(*(_one(postgresql) for _ in range(5))) == [1] * 5


async def test_a_server_that_freezes(postgresql_url: str, postgres: PostgresServer) -> None:
    database = await Database.open(_settings(postgresql_url, timeout_ms=200))
    try:
        postgres.pause()
        with pytest.raises(DatabaseUnavailable):
            await _one(database)
        with pytest.raises(DatabaseUnavailable):
            async with database.begin() as connection:
                await connection.execute(text("SELECT 1"))
        postgres.resume()
        assert await _one(database) == 1
    finally:
        await database.close()


async def test_a_transaction_whose_connection_is_lost(postgresql: Database) -> None:
    with pytest.raises(DatabaseUnavailable, match=r"connection|shutting down"):
        async with postgresql.begin() as connection:
            await connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    assert await _one(postgresql) == 1


async def test_a_statement_that_takes_too_long(postgresql_url: str) -> None:
    database = await Database.open(_settings(postgresql_url, timeout_ms=200))
    try:
        with pytest.raises(DatabaseUnavailable, match="interrupted"):
            async with database.connect() as connection:
                await connection.execute(text("SELECT pg_sleep(60)"))
        assert await _one(database) == 1
    finally:
        await database.close()


async def test_of_two_transactions_in_a_deadlock_one_is_told_to_try_again(postgresql: Database) -> None:
    await _execute(
        postgresql, "INSERT INTO organizations (id, name, created_ms) VALUES (1, 'a', 0), (2, 'b', 0)"
    )
    both_hold_one = asyncio.Barrier(2)

    async def swap(first: int, second: int) -> None:
        async with postgresql.begin() as connection:
            await _touch(connection, first)
            await both_hold_one.wait()
            await _touch(connection, second)

    results = await asyncio.gather(swap(1, 2), swap(2, 1), return_exceptions=True)
    assert {type(result) for result in results} == {type(None), DatabaseUnavailable}


async def test_a_database_that_does_not_exist_is_no_absence(postgres: PostgresServer) -> None:
    with pytest.raises(SettingsInvalid, match=r"database\.url.* no such database") as caught:
        await Database.open(_settings(postgres.url_of("hidden")))
    assert "hidden" not in str(caught.value)


async def test_a_user_that_does_not_exist(postgres: PostgresServer) -> None:
    with pytest.raises(SettingsInvalid, match=r"database\.url.* may not connect") as caught:
        await Database.open(_settings(postgres.url.replace("headworks@", "hidden:hidden@")))
    assert "hidden" not in str(caught.value)


async def test_a_user_that_is_taken_away_from_a_running_worker_is_waited_for(
    postgres: PostgresServer,
) -> None:
    """The worker's settings were right: what it has in hand must not be given up for it."""
    owner = await Database.open(_settings(postgres.url))
    await _execute(owner, "CREATE ROLE guest LOGIN")
    guest = await Database.open(_settings(postgres.url.replace("headworks@", "guest@")))
    try:
        await _execute(owner, "ALTER ROLE guest NOLOGIN")
        await guest.close()  # whose next statement connects anew
        with pytest.raises(DatabaseUnavailable, match="may not connect"):
            await _one(guest)
        await _execute(owner, "ALTER ROLE guest LOGIN")
        assert await _one(guest) == 1
    finally:
        await guest.close()
        await _execute(owner, "DROP ROLE guest")
        await owner.close()


@pytest.mark.parametrize("way", ["connect", "begin", "ledger", "begin_ledger"])
async def test_a_right_that_is_revoked_from_a_running_worker_is_waited_for(
    postgresql: Database, postgres: PostgresServer, postgresql_url: str, way: str
) -> None:
    await _execute(postgresql, "CREATE ROLE clerk LOGIN")
    clerk = await Database.open(_settings(postgresql_url.replace("headworks@", "clerk@")))
    count = select(func.count()).select_from(charges)

    async def read() -> int:
        async with getattr(clerk, way)() as line:
            [row] = await line.execute(count)
        return int(row[0])

    try:
        with pytest.raises(DatabaseUnavailable, match="lacks a right"):
            await read()
        await _execute(postgresql, "GRANT SELECT ON charges TO clerk")
        assert await read() == 0
        await _execute(postgresql, "REVOKE SELECT ON charges FROM clerk")
        with pytest.raises(DatabaseUnavailable, match="lacks a right"):
            await read()
    finally:
        await clerk.close()
        await _execute(postgresql, "DROP OWNED BY clerk")
        await _execute(postgresql, "DROP ROLE clerk")


async def test_a_user_who_may_not_connect_to_the_database(postgresql: Database, postgresql_url: str) -> None:
    """The same SQLSTATE, but at the door it is the settings that are wrong."""
    name = postgresql_url.rpartition("/")[2]
    await _execute(postgresql, f'REVOKE CONNECT ON DATABASE "{name}" FROM PUBLIC')
    await _execute(postgresql, "CREATE ROLE clerk LOGIN")
    try:
        with pytest.raises(SettingsInvalid, match=r"database\.url.* GRANT CONNECT"):
            await Database.open(_settings(postgresql_url.replace("headworks@", "clerk@")))
    finally:
        await _execute(postgresql, f'GRANT CONNECT ON DATABASE "{name}" TO PUBLIC')
        await _execute(postgresql, "DROP ROLE clerk")


async def test_a_file_that_another_process_writes(sqlite_url: str) -> None:
    one = await Database.open(_settings(sqlite_url))
    two = await Database.open(_settings(sqlite_url, timeout_ms=100))
    try:
        async with one.begin():
            with pytest.raises(DatabaseUnavailable, match="locked"):
                async with two.begin():
                    raise AssertionError("two writers at once")
            assert await _one(two) == 1
        async with two.begin() as connection:
            await _touch(connection, 1)
    finally:
        await one.close()
        await two.close()


async def test_a_file_whose_folder_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match=r"database\.url: the folder of its SQLite file is not there"):
        await Database.open(_settings(f"sqlite+aiosqlite:///{tmp_path}/nowhere/headworks.db"))


async def test_a_file_that_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match=r"database\.url.*: Is a directory"):
        await Database.open(_settings(f"sqlite+aiosqlite:///{tmp_path}"))


async def test_a_file_that_is_something_else(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear Sir or Madam,")
    with pytest.raises(SettingsInvalid, match=r"database\.url.* is no SQLite database"):
        await Database.open(_settings(f"sqlite+aiosqlite:///{tmp_path}/letter.txt"))
    assert (tmp_path / "letter.txt").read_text() == "Dear Sir or Madam,"


async def test_a_folder_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: (path, mode) != (tmp_path, os.W_OK))
    with pytest.raises(SettingsInvalid, match=r"database\.url.* in the folder of its file"):
        await Database.open(_settings(f"sqlite+aiosqlite:///{tmp_path}/headworks.db"))


async def test_a_database_in_memory() -> None:
    database = await Database.open(_settings("sqlite+aiosqlite://"))
    try:
        assert await _one(database) == 1
    finally:
        await database.close()


@pytest.mark.parametrize(
    "url",
    [
        "mysql://hidden@host/name",
        "postgresql://hidden@host/name",
        "postgresql+asyncpg://hidden@host:port/name",
        "postgresql+asyncpg://hidden@host/name?sslmode=require",
        "postgresql+asyncpg://hidden@127.0.0.1:1/name?ssl=hidden",
        "sqlite:///hidden",
        "hidden",
        "",
    ],
)
async def test_another_kind_of_url_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(SettingsInvalid, match=r"database\.url") as caught:
        await Database.open(_settings(url))
    assert "hidden" not in str(caught.value)


async def _execute(database: Database, statement: str) -> None:
    async with database.connect() as connection:
        await connection.execute(text(statement))


async def _touch(connection: AsyncConnection, id_: int) -> None:
    await connection.execute(text("UPDATE organizations SET created_ms = 1 WHERE id = :id"), {"id": id_})
