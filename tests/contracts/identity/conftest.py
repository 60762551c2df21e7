"""The identity tables on both databases, and a key-encryption key."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from pydantic import SecretStr

from broker.settings import DatabaseSettings
from broker.store.database import Database


@pytest.fixture
def kek() -> bytes:
    return bytes(range(32))


@pytest_asyncio.fixture
async def database(url: str) -> AsyncIterator[Database]:
    opened = await Database.open(DatabaseSettings(url=SecretStr(url)))
    yield opened
    await opened.close()
