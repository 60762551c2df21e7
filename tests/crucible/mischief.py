"""Harm to what servers hold: records that come again, offsets that go back, room that runs out."""

import asyncio
import time
from collections.abc import Mapping, Sequence

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from redis.asyncio import Redis

from broker.kafka import cluster
from broker.kafka.connection import client_options
from broker.settings import KafkaSettings
from schemas import topics
from schemas.topics import Lane, RetryDelay
from tests.stack.raw import read_all

WAY: Sequence[str] = (
    *map(topics.jobs, Lane),
    *map(topics.admitted, Lane),
    *map(topics.reserved, Lane),
    *map(topics.retry, [RetryDelay.SECOND, RetryDelay.FIVE_SECONDS]),
)
"""Topics whose records may come again, and that may grow, at any time."""
ECHOES_MAX = 300
BACK = 100
"""Records of each partition."""
_EMPTY_WITHIN_S = 15.0
_AGAIN_S = 0.3


async def echo(kafka: KafkaSettings, topic: str) -> None:
    """Publish the last records of the topic again, as they are, where they are."""
    records = (await read_all(kafka, topic))[-ECHOES_MAX:]
    producer = AIOKafkaProducer(
        **client_options(kafka), acks="all", max_request_size=kafka.inner_record_bytes_max
    )
    await producer.start()
    try:
        await asyncio.gather(*[await _again(producer, record) for record in records])
    finally:
        await producer.stop()


async def _again(producer: AIOKafkaProducer, record: ConsumerRecord[bytes, bytes]) -> asyncio.Future[object]:
    sent: asyncio.Future[object] = await producer.send(
        record.topic,
        value=record.value,
        key=record.key,
        partition=record.partition,
        headers=list(record.headers),
    )
    return sent


async def widen(kafka: KafkaSettings, topic: str) -> None:
    """Give the topic a partition more."""
    async with cluster.connect(kafka) as connected:
        total = (await connected.topics())[topic].partitions + 1
        await connected.add_partitions(topic, total)


async def rewind(kafka: KafkaSettings, group: str) -> None:
    """Put back what the group has committed, once it has no members.

    Raises KafkaError where it keeps some.
    """
    back = {
        place: max(0, offset - BACK) for place, offset in (await _committed(kafka, group)).items() if offset
    }
    consumer = AIOKafkaConsumer(**client_options(kafka), group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign(list(back))
        give_up = time.monotonic() + _EMPTY_WITHIN_S
        while back:
            try:
                await consumer.commit(back)
            except KafkaError:
                if time.monotonic() > give_up:
                    raise
                await asyncio.sleep(_AGAIN_S)  # its members are dead, and Kafka does not know it yet
            else:
                return
    finally:
        await consumer.stop()


async def _committed(kafka: KafkaSettings, group: str) -> Mapping[TopicPartition, int]:
    admin = AIOKafkaAdminClient(**client_options(kafka))
    await admin.start()
    try:
        found = await admin.list_consumer_group_offsets(group)
        return {place: told.offset for place, told in found.items()}
    finally:
        await admin.close()


async def refuse_writes(database_url: str, *, on: bool) -> None:
    """As a PostgreSQL does that was made a replica, or is out of room: it reads, and writes nothing."""
    connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
    try:
        await connection.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE")
        await connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {'on' if on else 'off'}")
        await connection.execute("SELECT pg_reload_conf()")
    finally:
        await connection.close()


async def fill(redis_url: str, *, on: bool) -> None:
    """Let Redis have no memory left for anything; it evicts nothing, so it refuses what writes."""
    async with Redis.from_url(redis_url) as redis:
        await redis.config_set("maxmemory", "1" if on else "0")
