"""Every case runs on the embedded Kafka and on a real one."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from broker.kafka.cluster import NewTopicSpec, connect
from broker.kafka.embedded import EmbeddedKafka
from broker.kafka.producing import Producer
from broker.settings import KafkaSettings
from tests.services import KafkaServer

LEADERS_TIMEOUT_S = 30
MakeTopic = Callable[[int], Awaitable[str]]


@pytest.fixture
def real(kafka: KafkaServer) -> KafkaSettings:
    return KafkaSettings(
        bootstrap_servers=kafka.bootstrap_servers,
        session_timeout_ms=2_000,
        heartbeat_interval_ms=200,
        fetch_wait_ms_max=100,
    )


@pytest.fixture
def embedded(embedded_kafka: EmbeddedKafka) -> KafkaSettings:
    return KafkaSettings(
        bootstrap_servers=embedded_kafka.bootstrap_servers,
        idempotence=False,
        append_time="receipt",
        session_timeout_ms=1_000,
        heartbeat_interval_ms=100,
        fetch_wait_ms_max=20,
    )


@pytest.fixture(params=["real", "embedded"])
def settings(request: pytest.FixtureRequest) -> KafkaSettings:
    found: KafkaSettings = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def make_topic(settings: KafkaSettings) -> MakeTopic:
    """A fresh topic with so many partitions, each with its leader."""

    async def make(partitions: int) -> str:
        name = f"contract-{uuid.uuid4().hex[:12]}"
        async with connect(settings) as cluster:
            await cluster.create([NewTopicSpec(name, partitions, 1, {})])
            await cluster.wait_for_leaders({name: partitions}, LEADERS_TIMEOUT_S)
        return name

    return make


@pytest_asyncio.fixture
async def producer(settings: KafkaSettings) -> AsyncIterator[Producer]:
    made = Producer(settings)
    await made.start()
    yield made
    await made.stop()
