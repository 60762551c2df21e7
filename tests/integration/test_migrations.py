"""The migrations make the tables that the code declares, on both databases, and can be taken back."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from pydantic import SecretStr
from sqlalchemy import Connection, inspect, text

from broker.errors import DatabaseBehind
from broker.settings import DatabaseSettings
from broker.store.database import Database
from broker.store.migrate import check, downgrade, stored_revision, upgrade
from broker.store.tables.base import metadata


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/headworks.db"
    return str(request.getfixturevalue("database_url"))


@pytest_asyncio.fixture
async def database(url: str) -> AsyncIterator[Database]:
    opened = await Database.open(DatabaseSettings(url=SecretStr(url)))
    yield opened
    await opened.close()


async def _ask(database: Database, question: Any) -> Any:
    async with database.begin() as connection:
        return await connection.run_sync(question)


def _differences(connection: Connection) -> list[Any]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, metadata))


def _tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names())


async def test_they_make_the_tables_that_the_code_declares(url: str, database: Database) -> None:
    await upgrade(url)
    assert await _ask(database, _differences) == []


async def test_a_table_that_no_migration_makes_would_be_found(url: str, database: Database) -> None:
    await upgrade(url)
    async with database.begin() as connection:
        await connection.execute(text("ALTER TABLE waiters ADD COLUMN more INTEGER"))
    assert len(await _ask(database, _differences)) == 1


async def test_they_can_be_taken_back_and_run_again(url: str, database: Database) -> None:
    await upgrade(url)
    made = await _ask(database, _tables)
    await downgrade(url, "base")
    assert await _ask(database, _tables) == {"alembic_version"}
    await upgrade(url)
    assert await _ask(database, _tables) == made == set(metadata.tables) | {"alembic_version"}


async def test_the_directory_starts_with_its_one_row(url: str, database: Database) -> None:
    await upgrade(url)
    async with database.connect() as connection:
        rows = await connection.execute(text("SELECT id, revision FROM directory_revision"))
    assert [tuple(row) for row in rows] == [(1, 0)]


async def test_charges_from_before_months_and_tokens_get_theirs(url: str, database: Database) -> None:
    """An estimated one cost what was held, so it counts the tokens that were held."""
    await upgrade(url, "0004")
    told, estimated = (uuid4().hex for _ in range(2))
    rows = [
        {**_CHARGE, "job_id": told, "estimated": False, "input_tokens": 5, "output_tokens": 6, "day": 20_000},
        {**_CHARGE, "job_id": estimated, "estimated": True, "day": 20_088},
    ]
    async with database.begin() as connection:
        for row in rows:
            await connection.execute(text(_INSERT_CHARGE), row)
        await connection.execute(text(_INSERT_ATTEMPT), {"job_id": estimated})
    await upgrade(url)
    async with database.connect() as connection:
        found = await connection.execute(text("SELECT day, month, tokens FROM charges ORDER BY day"))
        assert [tuple(row) for row in found] == [(20_000, 2024 * 12 + 9, 11), (20_088, 2024 * 12 + 11, 111)]
    await downgrade(url, "0004")
    await upgrade(url)


_CHARGE = {"estimated": False, "input_tokens": None, "output_tokens": None}
_INSERT_CHARGE = """
    INSERT INTO charges (application_id, job_id, run, attempt, organization_id, project_id, key_id, model,
        target, lane, verdict, hold_id, hold_nanodollars, nanodollars, estimated, input_tokens, output_tokens,
        price_version, day, minute, latency_ms, at_ms)
    VALUES (1, :job_id, 1, 1, 1, 1, 'k', 'm', 't', 'bulk', 'answered', 'h', 9, 9, :estimated, :input_tokens,
        :output_tokens, '1', :day, 1, 1, 1)
"""
_INSERT_ATTEMPT = """
    INSERT INTO attempts (application_id, job_id, run, attempt, owner, project_id, target, model, hold,
        price_version, started_ms)
    VALUES (1, :job_id, 1, 1, 'w', 1, 't', 'm', '{"input_tokens"\\: 100, "output_tokens"\\: 11}', '1', 1)
"""


async def test_two_at_once_do_it_once(url: str, database: Database) -> None:
    await asyncio.gather(upgrade(url), upgrade(url))
    await check(database)


async def test_a_database_without_tables_is_behind(url: str, database: Database) -> None:
    with pytest.raises(DatabaseBehind, match=r"no tables yet.*run `headworks db upgrade`"):
        await check(database)
    assert await stored_revision(database) is None


async def test_a_database_that_is_up_to_date_passes(url: str, database: Database) -> None:
    await upgrade(url)
    await check(database)


async def test_a_database_of_a_later_version_is_told_apart(url: str, database: Database) -> None:
    await upgrade(url)
    async with database.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseBehind, match=r"9999.*does not know"):
        await check(database)


async def test_a_step_that_fails_leaves_nothing(url: str, database: Database) -> None:
    async with database.begin() as connection:
        await connection.execute(text("CREATE TABLE waiters (id INTEGER)"))
    with pytest.raises(Exception, match="already exists"):
        await upgrade(url)
    assert await _ask(database, _tables) == {"waiters"}


async def test_the_alembic_command_runs_them_on_the_database_of_the_settings(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/headworks.db"
    config = Path(__file__).parents[2] / "alembic.ini"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "alembic", "-c", config, "upgrade", "head"),
        env={"HEADWORKS_DATABASE__URL": url},
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, said.decode()
    database = await Database.open(DatabaseSettings(url=SecretStr(url)))
    try:
        await check(database)
    finally:
        await database.close()
