"""The identity tables on both databases, and a key-encryption key."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from pydantic import SecretStr

from broker.settings import DatabaseSettings
from broker.store.database import Database
from broker.store.migrate import upgrade


@pytest.fixture
def kek() -> bytes:
    return bytes(range(32))


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/headworks.db"
    return str(request.getfixturevalue("database_url"))


@pytest_asyncio.fixture
async def database(url: str) -> AsyncIterator[Database]:
    await upgrade(url)
    opened = await Database.open(DatabaseSettings(url=SecretStr(url)))
    yield opened
    await opened.close()
