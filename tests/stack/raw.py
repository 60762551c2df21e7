"""Records as some other client library would publish them, right or wrong in every part."""

import hashlib
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self, TypeAlias
from uuid import UUID

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition

from broker.identity.credential import Credential
from broker.identity.signing import SignedFields, sign
from broker.kafka.connection import client_options
from broker.settings import KafkaSettings
from schemas import headers, topics
from schemas.topics import Coordinate, Lane
from tests.stack.waiting import until

Headers = Sequence[tuple[str, bytes]]


def envelope(request: Mapping[str, Any], **fields: Any) -> bytes:
    return orjson.dumps({"version": 1, "endpoint": "/v1/chat/completions", "request": request} | fields)


def signed_headers(
    credential: Credential,
    topic: str,
    value: bytes,
    *,
    job_id: UUID,
    reply_to: str,
    issued_at_ms: int | None = None,
    content_type: str = headers.JSON,
) -> dict[str, bytes]:
    """What docs/envelope.md asks for."""
    issued_at = str(time.time_ns() // 1_000_000 if issued_at_ms is None else issued_at_ms)
    fields = SignedFields(
        version="1",
        topic=topic,
        application=credential.application,
        key_id=credential.key_id,
        content_type=content_type,
        reply_to=reply_to,
        issued_at=issued_at,
        job_id=str(job_id),
        value_sha256=hashlib.sha256(value).digest(),
    )
    named = {
        headers.CONTENT_TYPE: content_type,
        headers.CORRELATION_ID: str(job_id),
        headers.REPLY_TO: reply_to,
        headers.VERSION: "1",
        headers.APPLICATION: credential.application,
        headers.KEY_ID: credential.key_id,
        headers.ISSUED_AT: issued_at,
        headers.SIGNATURE: sign(credential.secret, fields),
    }
    return {name: text.encode() for name, text in named.items()}


class RawPublisher:
    """Publishes one record at a time, and returns when it is acknowledged."""

    def __init__(self, kafka: KafkaSettings, credential: Credential) -> None:
        self._kafka = kafka
        self.credential = credential
        self._producer: AIOKafkaProducer | None = None

    async def __aenter__(self) -> Self:
        self._producer = AIOKafkaProducer(
            **client_options(self._kafka), acks="all", max_request_size=self._kafka.inner_record_bytes_max
        )
        await self._producer.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._producer is not None:
            await self._producer.stop()

    async def publish(
        self,
        request: Mapping[str, Any],
        *,
        reply_to: str | None = None,
        lane: Lane = Lane.STANDARD,
        extra: Headers = (),
    ) -> UUID:
        """A job in good order, whose headers end with `extra`."""
        job_id, topic, value = uuid.uuid4(), topics.jobs(lane), envelope(request)
        to = topics.replies(self.credential.application) if reply_to is None else reply_to
        carried = signed_headers(self.credential, topic, value, job_id=job_id, reply_to=to)
        await self.send(topic, value, [*carried.items(), *extra], key=job_id.bytes)
        return job_id

    async def send(
        self,
        topic: str,
        value: bytes | None,
        carried: Headers,
        *,
        key: bytes | None = None,
        partition: int = 0,
    ) -> Coordinate:
        if self._producer is None:
            raise AssertionError("the publisher is not started")
        sent = await self._producer.send_and_wait(
            topic, value=value, key=key, headers=list(carried), partition=partition
        )
        return Coordinate(sent.topic, sent.partition, sent.offset)


Ends = Mapping[int, int]
"""The offset behind the last record, by partition."""
Consumer: TypeAlias = "AIOKafkaConsumer[bytes, bytes]"


@asynccontextmanager
async def _reading(
    kafka: KafkaSettings, topic: str
) -> AsyncIterator[tuple["AIOKafkaConsumer[bytes, bytes]", Ends]]:
    """A consumer of every partition of the topic, and their ends now."""
    consumer = AIOKafkaConsumer(
        **client_options(kafka),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=50,
        max_partition_fetch_bytes=kafka.inner_record_bytes_max,
    )
    await consumer.start()
    try:
        cluster = await consumer._client.fetch_all_metadata()
        places = [TopicPartition(topic, number) for number in cluster.partitions_for_topic(topic) or ()]
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        yield consumer, {place.partition: end for place, end in ends.items()}
    finally:
        await consumer.stop()


async def ends_of(kafka: KafkaSettings, topic: str) -> Ends:
    async with _reading(kafka, topic) as (_, ends):
        return ends


async def read_all(
    kafka: KafkaSettings, topic: str, since: Ends | None = None
) -> list[ConsumerRecord[bytes, bytes]]:
    """Every record of the topic up to its present end, from its beginning or from an earlier end."""
    async with _reading(kafka, topic) as (consumer, ends):
        found: list[ConsumerRecord[bytes, bytes]] = []
        for number, end in ends.items():
            place = TopicPartition(topic, number)
            if since is None:
                await consumer.seek_to_beginning(place)
            else:
                consumer.seek(place, since.get(number, 0))
            while await consumer.position(place) < end:
                fetched = await consumer.getmany(place, timeout_ms=1_000)
                found += fetched.get(place, [])
        return found


async def read_replies(kafka: KafkaSettings, topic: str, number: int) -> list[ConsumerRecord[bytes, bytes]]:
    """The records of a reply topic, once there are that many."""

    async def enough() -> list[ConsumerRecord[bytes, bytes]] | None:
        found = await read_all(kafka, topic)
        return found if len(found) >= number else None

    return await until(enough, f"{number} replies on {topic}") or []
