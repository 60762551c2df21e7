"""Databases that are migrated and empty. To migrate one takes ten times as long as to copy or empty one."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from pydantic import SecretStr
from sqlalchemy import delete, update

from broker.settings import DatabaseSettings
from broker.store.database import Database
from broker.store.migrate import upgrade
from broker.store.tables.base import metadata
from broker.store.tables.identity import directory_revision
from tests.services import PostgresServer


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "headworks.db"
    await upgrade(f"sqlite+aiosqlite:///{path}")
    return path


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def migrated_url(postgres: PostgresServer) -> AsyncIterator[str]:
    async with postgres.fresh_database() as url:
        await upgrade(url)
        yield url
        postgres.restore()


@pytest_asyncio.fixture
async def sqlite_url(migrated_file: Path, tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{shutil.copy(migrated_file, tmp_path)}"


@pytest_asyncio.fixture
async def postgresql_url(migrated_url: str) -> str:
    """One for all, emptied."""
    database = await Database.open(DatabaseSettings(url=SecretStr(migrated_url)))
    async with database.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            if table is not directory_revision:
                await connection.execute(delete(table))
        await connection.execute(update(directory_revision).values(revision=0))
    await database.close()
    return migrated_url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(f"{request.param}_url"))
