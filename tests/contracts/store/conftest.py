"""Every contract of the store holds on both databases."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from fakeredis import FakeAsyncRedis
from pydantic import SecretStr

from broker.quota.redis_gate import RedisGate
from broker.settings import DatabaseSettings
from broker.store.database import Database
from tests.contracts.store.reconciled import NOON_MS, Desk, tenants


@pytest.fixture
def settings(url: str) -> DatabaseSettings:
    return DatabaseSettings(url=SecretStr(url))


@pytest_asyncio.fixture
async def database(settings: DatabaseSettings) -> AsyncIterator[Database]:
    opened = await Database.open(settings)
    yield opened
    await opened.close()


@pytest_asyncio.fixture
async def other(settings: DatabaseSettings) -> AsyncIterator[Database]:
    """The same database as another process has it open."""
    opened = await Database.open(settings)
    yield opened
    await opened.close()


@pytest_asyncio.fixture
async def desk(database: Database) -> AsyncIterator[Desk]:
    """On an embedded gate, which is open."""
    await tenants(database)
    redis = FakeAsyncRedis()
    gate = RedisGate.embedded(redis, clock=lambda: NOON_MS)
    made = Desk(database, redis, gate)
    await made.found()
    yield made
    await gate.close()
