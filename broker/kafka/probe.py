"""Write one empty record, to see that Kafka takes it from us and what time it is there."""

import time
from typing import NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.protocol.admin import ApiVersionRequest
from aiokafka.protocol.metadata import MetadataRequest

from broker.errors import TopicsMissing
from broker.kafka.cluster import connect
from broker.kafka.connection import client_options, kafka_errors
from broker.kafka.topic_plan import PROBE
from broker.settings import KafkaSettings

_LOG_APPEND_TIME = 1
_METADATA_OF_KAFKA_4 = 13
"""The version of the metadata request that came with Kafka 4.0 (KIP-1102)."""


class Probe(NamedTuple):
    """What came of it. Times are milliseconds since the epoch; sent and received by this host's clock."""

    sent_ms: int
    appended_ms: int
    received_ms: int
    stamped: bool
    """Whether the broker stamped the append time, and did not repeat ours."""


async def write_probe(settings: KafkaSettings) -> Probe:
    """With `acks=all`, so that a lack of replicas in sync shows too.

    Raises TopicsMissing, KafkaUnavailable, SettingsInvalid.
    """
    await _check_there(settings)
    producer = _producer(settings)
    try:
        with kafka_errors(f"write to topic {PROBE}"):
            await producer.start()
            sent_ms = _now_ms()
            placed = await producer.send_and_wait(PROBE, b"", timestamp_ms=sent_ms)
            return Probe(sent_ms, placed.timestamp, _now_ms(), placed.timestamp_type == _LOG_APPEND_TIME)
    finally:
        await producer.stop()


async def _check_there(settings: KafkaSettings) -> None:
    """Asking a producer would make the topic, on a cluster that makes topics by itself."""
    async with connect(settings) as cluster:
        if PROBE not in await cluster.topics():
            raise TopicsMissing(f"topic {PROBE} is missing; `headworks topics apply` makes it")


async def speaks_kafka_4(settings: KafkaSettings) -> bool:
    """Judged by the requests that the broker offers: it does not tell its version.

    Raises KafkaUnavailable, SettingsInvalid.
    """
    producer = _producer(settings)
    try:
        with kafka_errors("ask Kafka for its requests"):
            await producer.start()
            answer = await producer.client.send(producer.client.get_random_node(), ApiVersionRequest())
    finally:
        await producer.stop()
    newest = {api_key: max_version for api_key, _, max_version, *_ in answer.api_versions}
    return int(newest.get(MetadataRequest.API_KEY, 0)) >= _METADATA_OF_KAFKA_4


def _producer(settings: KafkaSettings) -> AIOKafkaProducer:
    return AIOKafkaProducer(
        **client_options(settings),
        acks="all",
        enable_idempotence=settings.idempotence,
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
