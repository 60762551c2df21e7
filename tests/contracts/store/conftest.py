"""Every contract of the store holds on both databases, each test in an empty one of its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from pydantic import SecretStr

from broker.settings import DatabaseSettings
from broker.store.database import Database
from broker.store.migrate import upgrade


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> DatabaseSettings:
    if request.param == "sqlite":
        url = f"sqlite+aiosqlite:///{tmp_path}/headworks.db"
    else:
        url = request.getfixturevalue("database_url")
    return DatabaseSettings(url=SecretStr(url))


@pytest_asyncio.fixture
async def database(settings: DatabaseSettings) -> AsyncIterator[Database]:
    await upgrade(settings.url.get_secret_value())
    opened = await Database.open(settings)
    yield opened
    await opened.close()


@pytest_asyncio.fixture
async def other(database: Database, settings: DatabaseSettings) -> AsyncIterator[Database]:
    """The same database as another process has it open."""
    opened = await Database.open(settings)
    yield opened
    await opened.close()
