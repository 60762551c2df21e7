"""The servers that tests share, each started for the first test that asks and stopped when the session ends.

`kafka`, `postgres`, `redis_server` and `redis_cluster` are real and serve the whole session; a test may stop,
kill or pause one of the first three, and the next test finds it up again. `database_url` and `redis_url` are
empty for each test.
"""

import signal
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from hypothesis import settings

from broker.kafka.embedded import EmbeddedKafka
from tests.services import KafkaServer, PostgresServer, RedisClusterServer, RedisServer, Server

pytest_plugins = ["tests.stack.fixtures"]

settings.register_profile("headworks", deadline=None)
settings.load_profile("headworks")


def pytest_configure() -> None:
    """Let SIGTERM end a run as Ctrl-C does: with every fixture torn down."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session")
def servers() -> list[Server]:
    """Those that were started so far."""
    return []


@pytest.fixture(scope="session")
def kafka(servers: list[Server]) -> Iterator[KafkaServer]:
    with KafkaServer() as server:
        servers.append(server)
        yield server


@pytest.fixture(scope="session")
def postgres(servers: list[Server]) -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        servers.append(server)
        yield server


@pytest.fixture(scope="session")
def redis_server(servers: list[Server]) -> Iterator[RedisServer]:
    with RedisServer() as server:
        servers.append(server)
        yield server


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[RedisClusterServer]:
    with RedisClusterServer() as cluster:
        yield cluster


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def embedded_kafka() -> AsyncIterator[EmbeddedKafka]:
    async with EmbeddedKafka() as broker:
        yield broker


@pytest.fixture(autouse=True)
def restored(servers: list[Server]) -> Iterator[None]:
    """What a test did to a shared server ends with the test."""
    yield
    for server in servers:
        server.restore()


@pytest_asyncio.fixture
async def database_url(postgres: PostgresServer) -> AsyncIterator[str]:
    """An empty PostgreSQL database of the test's own."""
    async with postgres.fresh_database() as url:
        yield url
        postgres.restore()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The shared Redis, emptied."""
    redis_server.flush()
    return redis_server.url
