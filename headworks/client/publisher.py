"""Publishing signed envelopes, so that an acknowledged one is never stale.

aiokafka bounds a batch's delivery by `request_timeout_ms` only where the producer is not idempotent; an
idempotent one retries until it succeeds. So the bound is ours: the signature is made at the moment of
sending, and a publish counts only if it is acknowledged within `DELIVERY_S` of it. What arrives later was
reported as not delivered.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable
from typing import NamedTuple
from uuid import UUID

from aiokafka.errors import (
    KafkaError,
    MessageSizeTooLargeError,
    RecordTooLargeError,
    UnknownTopicOrPartitionError,
)
from aiokafka.structs import RecordMetadata

from broker.errors import HeadworksError, TopicsMissing
from broker.identity.credential import Credential
from broker.identity.signing import SignedFields, sign
from broker.kafka.connection import kafka_errors, translate
from broker.kafka.lasting import LastingProducer
from broker.settings import AdmitSettings, KafkaSettings
from headworks.client.errors import ClockWrong, JobTooLarge, NotDelivered
from schemas import headers

DELIVERY_S = 60.0
_BATCH_BYTES_MAX = 128 * 1024
_LOG_APPEND_TIME = 1
_VERSION = "1"
_FRESHNESS = AdmitSettings()


class Outgoing(NamedTuple):
    topic: str
    job_id: UUID
    value: bytes
    reply_to: str
    traceparent: str | None = None
    content_type: str = headers.JSON


class Publication(NamedTuple):
    """A record that was handed to the producer and is not acknowledged yet."""

    job_id: UUID
    issued_at_ms: int
    deadline: float
    """By the loop's clock."""
    acknowledged: "asyncio.Future[RecordMetadata]"

    def abandon(self) -> None:
        """Nobody will look at how it ended, which asyncio would complain of where it failed."""
        if not self.acknowledged.cancel() and not self.acknowledged.cancelled():
            self.acknowledged.exception()


class Publisher:
    def __init__(
        self,
        credential: Credential,
        kafka: KafkaSettings,
        now_s: Callable[[], float] = time.time,
        delivery_s: float = DELIVERY_S,
    ) -> None:
        self._credential = credential
        self._now_s = now_s
        self._delivery_s = delivery_s
        self._producer = LastingProducer(
            kafka, record_bytes_max=kafka.jobs_record_bytes_max, batch_bytes_max=_BATCH_BYTES_MAX
        )
        self._topics: frozenset[str] = frozenset()

    async def start(self) -> None:
        """Raises KafkaUnavailable, SettingsInvalid."""
        await self._producer.start()

    async def close(self) -> None:
        await self._producer.stop()

    async def partitions(self, topic: str) -> int:
        """How many the topic has; 0 where there is no such topic.

        Raises KafkaUnavailable.
        """
        producer = await self._producer.current()
        with kafka_errors("list topics"):
            cluster = await producer.client.fetch_all_metadata()
        self._topics = frozenset(cluster.topics())
        return len(cluster.partitions_for_topic(topic) or ())

    async def publish(self, record: Outgoing) -> Publication:
        """Sign and hand to the producer; waits while the partition's batches are full.

        Raises NotDelivered, TopicsMissing, JobTooLarge, SettingsInvalid (no right to write) and
        KafkaUnavailable.
        """
        if record.topic not in self._topics and await self.partitions(record.topic) == 0:
            raise TopicsMissing(f"topic {record.topic} is not there; `headworks topics apply` makes it")
        producer = await self._producer.current()
        issued_at_ms = int(self._now_s() * 1000)
        deadline = asyncio.get_running_loop().time() + self._delivery_s
        try:
            async with asyncio.timeout_at(deadline):
                acknowledged = await producer.send(
                    record.topic,
                    value=record.value,
                    key=record.job_id.bytes,
                    headers=self._headers(record, str(issued_at_ms)),
                )
        except TimeoutError:
            raise NotDelivered(record.job_id, f"nothing was taken in {self._delivery_s:g} s") from None
        except KafkaError as error:
            raise self._translated(record.job_id, error) from error
        return Publication(record.job_id, issued_at_ms, deadline, acknowledged)

    async def acknowledged(self, publication: Publication) -> None:
        """Return when every in-sync replica has the record.

        Raises NotDelivered, JobTooLarge, SettingsInvalid, and ClockWrong where the broker's append time shows
        that the signature is outside the window in which it is believed.
        """
        loop = asyncio.get_running_loop()
        bound = loop.call_at(publication.deadline, self._give_up, publication)
        try:
            stored = await publication.acknowledged
        except KafkaError as error:
            raise self._translated(publication.job_id, error) from error
        finally:
            bound.cancel()
        if stored.timestamp_type == _LOG_APPEND_TIME:
            check_fresh(publication.issued_at_ms, stored.timestamp)

    def _give_up(self, publication: Publication) -> None:
        """The record may still be delivered; aiokafka leaves a future alone that is done."""
        if not publication.acknowledged.done():
            late = NotDelivered(publication.job_id, f"nothing came in {self._delivery_s:g} s")
            publication.acknowledged.set_exception(late)

    def _headers(self, record: Outgoing, issued_at: str) -> list[tuple[str, bytes]]:
        own = self._credential
        job_id = str(record.job_id)
        digest = hashlib.sha256(record.value).digest()
        signature = sign(
            own.secret,
            SignedFields(
                version=_VERSION,
                topic=record.topic,
                application=own.application,
                key_id=own.key_id,
                content_type=record.content_type,
                reply_to=record.reply_to,
                issued_at=issued_at,
                job_id=job_id,
                value_sha256=digest,
            ),
        )
        named = {
            headers.CONTENT_TYPE: record.content_type,
            headers.CORRELATION_ID: job_id,
            headers.REPLY_TO: record.reply_to,
            headers.VERSION: _VERSION,
            headers.APPLICATION: own.application,
            headers.KEY_ID: own.key_id,
            headers.ISSUED_AT: issued_at,
            headers.SIGNATURE: signature,
        }
        if record.traceparent is not None:
            named[headers.TRACEPARENT] = record.traceparent
        return [(name, value.encode()) for name, value in named.items()]

    def _translated(self, job_id: UUID, error: KafkaError) -> HeadworksError:
        if isinstance(error, UnknownTopicOrPartitionError):
            self._topics = frozenset()
        self._producer.met(error)
        if isinstance(error, MessageSizeTooLargeError | RecordTooLargeError):
            return JobTooLarge(f"job {job_id} is larger than the topic takes")
        ours = translate(error, f"publish job {job_id}")
        return NotDelivered(job_id, type(error).__name__) if ours.retryable else ours


def check_fresh(issued_at_ms: int, appended_ms: int) -> None:
    """Raises ClockWrong where ADMIT would not believe the signature (by its default window)."""
    age_s = (appended_ms - issued_at_ms) / 1000
    if -_FRESHNESS.future_within_s <= age_s <= _FRESHNESS.stale_after_s:
        return
    raise ClockWrong(
        f"this machine's clock is {abs(age_s):.0f} s {'behind' if age_s > 0 else 'ahead of'} Kafka's; "
        "the broker believes no signature that is so far off: set the clock"
    )
