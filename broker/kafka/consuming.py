"""Consumers: FastStream subscribers without handlers, whose consumer the engine drives.

All that touches FastStream's subscriber, and aiokafka's ways on trouble, is in this file.
"""

import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import (
    CommitFailedError,
    ConsumerStoppedError,
    IllegalStateError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.security import BaseSecurity, SASLPlaintext, SASLScram256, SASLScram512

from broker.errors import KafkaUnavailable
from broker.kafka.arrivals import Arrivals
from broker.kafka.connection import client_options
from broker.kafka.ending import stop_consumer
from broker.kafka.raw_batch import Broken, Record
from broker.kafka.salvaging import Salvage
from broker.settings import KafkaSettings

_ONE_DAY_MS = 86_400_000
_SILENCE_MS = 5_000
"""Beyond the longest that a fetch may wait."""
_MECHANISMS: Mapping[str, type[SASLPlaintext] | type[SASLScram256] | type[SASLScram512]] = {
    "PLAIN": SASLPlaintext,
    "SCRAM-SHA-256": SASLScram256,
    "SCRAM-SHA-512": SASLScram512,
}


class Place(NamedTuple):
    """One partition; equal and hash-equal to aiokafka's and the engine's own tuples."""

    topic: str
    partition: int


class Unread(NamedTuple):
    """A record that could not be decoded. `raw`: its bytes in the log, as far as they can be told."""

    topic: str
    partition: int
    offset: int
    error: str
    raw: bytes = b""


class Batch(NamedTuple):
    records: Sequence[Record]
    unreadable: Unread | None = None


class Owner(Protocol):
    async def assigned(self, partitions: Collection[Place]) -> None: ...
    async def revoked(self, partitions: Collection[Place]) -> None: ...


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    owner: Owner

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        await self.owner.revoked([Place(*place) for place in revoked])

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        await self.owner.assigned([Place(*place) for place in assigned])


def stream_broker(settings: KafkaSettings) -> KafkaBroker:
    """The FastStream broker of a process: it connects the subscribers; producing is `Producer`'s."""
    return KafkaBroker(
        settings.bootstrap_servers.split(","),
        consumer_only=True,
        allow_auto_create_topics=False,
        request_timeout_ms=settings.request_timeout_ms,
        client_id="headworks",
        metadata_max_age_ms=30_000,
        security=_security(settings),
        logger=None,
    )


def _security(settings: KafkaSettings) -> BaseSecurity | None:
    """The same protection as every other client has (`client_options`), in FastStream's words."""
    if settings.security_protocol == "PLAINTEXT":
        return None
    context = client_options(settings).get("ssl_context")
    if settings.security_protocol == "SSL":
        return BaseSecurity(ssl_context=context, use_ssl=True)
    password = settings.sasl_password.get_secret_value() if settings.sasl_password else ""
    kind = _MECHANISMS[settings.sasl_mechanism]
    return kind(settings.sasl_username or "", password, ssl_context=context, use_ssl=context is not None)


class _Watched:
    """Passes on what the group gives and takes, and tells of what it gives first."""

    def __init__(self, owner: Owner, begin: Callable[[Place], None]) -> None:
        self._owner = owner
        self._begin = begin

    async def assigned(self, partitions: Collection[Place]) -> None:
        for place in partitions:
            self._begin(place)
        await self._owner.assigned(partitions)

    async def revoked(self, partitions: Collection[Place]) -> None:
        await self._owner.revoked(partitions)


class GroupSource:
    """One group's consumer of some topics, as the engine's `Source`."""

    def __init__(
        self,
        broker: KafkaBroker,
        settings: KafkaSettings,
        group: str,
        *topics: str,
        pattern: str | None = None,
        on_alarm: Callable[[str, Place], None] = lambda _code, _place: None,
    ) -> None:
        self._listener = _Listener()
        self._on_alarm = on_alarm
        self._narrow: set[Place] = set()
        self._salvaged: dict[Place, deque[Record | Broken]] = {}
        self._salvage = Salvage(settings)
        self._silence_ms = settings.fetch_wait_ms_max + _SILENCE_MS
        self._silent_from_ms: dict[Place, int] = {}
        self._arrivals: Arrivals | None = None
        self._subscriber = broker.subscriber(
            *topics,
            pattern=pattern,
            group_id=group,
            listener=self._listener,
            ack_policy=AckPolicy.MANUAL,
            auto_offset_reset="none",
            persistent=False,
            partition_assignment_strategy=(StickyPartitionAssignor,),
            session_timeout_ms=settings.session_timeout_ms,
            rebalance_timeout_ms=settings.session_timeout_ms,
            heartbeat_interval_ms=settings.heartbeat_interval_ms,
            max_poll_interval_ms=_ONE_DAY_MS,
            fetch_max_wait_ms=settings.fetch_wait_ms_max,
            fetch_max_bytes=settings.fetch_bytes_max,
            max_partition_fetch_bytes=settings.inner_record_bytes_max,
        )

    async def start(self, owner: Owner) -> None:
        """Raises KafkaUnavailable where no broker answers."""
        self._listener.owner = _Watched(owner, self._begin)
        await _translated(self._subscriber.start())

    async def stop(self) -> None:
        """Who waits for records is let go last, when there is no consumer that could be waited for again."""
        try:
            if self._subscriber.consumer is not None:
                await stop_consumer(self._subscriber.consumer)
            await self._subscriber.stop()
        finally:
            if self._arrivals is not None:
                self._arrivals.close()
                self._arrivals = None
        await self._salvage.close()

    def _begin(self, place: Place) -> None:
        """A new assignment starts at the committed offset, and knows nothing of the last one."""
        self._salvaged.pop(place, None)
        self._narrow.discard(place)
        self._silent_from_ms[place] = _now_ms()

    async def fetch(self, place: Place, records_max: int, wait_ms: int) -> Batch:
        """One partition a call: a decode error is then known to be this partition's alone.

        On an error the partition is read record by record until the bad one is met. From there on its batch
        is fetched raw: what can be read of it comes in its order, what cannot comes as `unreadable`.

        Raises KafkaUnavailable, also where the partition's leader has not answered for some seconds: aiokafka
        goes on asking in silence.
        """
        if place in self._salvaged:
            return self._from_salvaged(place, records_max)
        consumer = self._consumer()
        partition = TopicPartition(*place)
        narrow = place in self._narrow
        try:
            await self._arrivals_of(consumer).wait(partition, wait_ms / 1000)
            fetched = await consumer.getmany(partition, max_records=1 if narrow else records_max)
        except NoOffsetForPartitionError:
            await consumer.seek_to_beginning(partition)
            return Batch(())
        except OffsetOutOfRangeError:
            self._on_alarm("offset_out_of_range", place)
            await consumer.seek_to_beginning(partition)
            return Batch(())
        except (KafkaError, ConsumerStoppedError) as error:
            if not _is_bad_record(error):
                raise KafkaUnavailable(f"fetch failed: {type(error).__name__}") from error
            await self._narrow_down(place, narrow=narrow)
        except Exception:
            await self._narrow_down(place, narrow=narrow)
        else:
            records = fetched.get(partition, ())
            if records:
                self._silent_from_ms[place] = _now_ms()
            else:
                self._check_answered(consumer, place)
            return Batch(records)
        return Batch(())

    async def _narrow_down(self, place: Place, *, narrow: bool) -> None:
        if not narrow:
            self._narrow.add(place)
            return
        try:
            consumer = self._consumer()
            offset = await consumer.position(TopicPartition(*place))
            parts = await self._salvage.take(*place, offset)
            if parts is not None:
                consumer.seek(TopicPartition(*place), parts.next_offset)
        except IllegalStateError as error:
            raise KafkaUnavailable("the partition has gone to another member") from error
        self._narrow.discard(place)
        if parts is not None and parts.items:
            self._salvaged[place] = deque(parts.items)

    def _from_salvaged(self, place: Place, records_max: int) -> Batch:
        """Records up to the next one that is broken, and that one."""
        left = self._salvaged[place]
        records: list[Record] = []
        unreadable: Unread | None = None
        while left and unreadable is None and len(records) < records_max:
            item = left.popleft()
            if isinstance(item, Broken):
                unreadable = Unread(*place, item.offset, item.error, item.raw)
            else:
                records.append(item)
        if not left:
            del self._salvaged[place]
        return Batch(records, unreadable)

    def _check_answered(self, consumer: AIOKafkaConsumer, place: Place) -> None:
        """While records lie in the client, as long as nobody takes them, their leader is not asked."""
        partition = TopicPartition(*place)
        if partition not in consumer.assignment():
            return
        polled_ms = consumer.last_poll_timestamp(partition) or 0
        answered_ms = max(polled_ms, self._silent_from_ms.get(place, 0))
        if _now_ms() - answered_ms > self._silence_ms:
            raise KafkaUnavailable("the partition's leader does not answer")

    async def commit(self, offsets: Mapping[Place, int]) -> None:
        """Raises KafkaUnavailable; what is not committed is delivered again."""
        try:
            await self._consumer().commit({TopicPartition(*place): at for place, at in offsets.items()})
        except (CommitFailedError, IllegalStateError) as error:
            raise KafkaUnavailable("the partition has gone to another member") from error
        except KafkaError as error:
            raise KafkaUnavailable(f"commit failed: {type(error).__name__}") from error

    def end(self, place: Place) -> int | None:
        consumer = self._subscriber.consumer
        partition = TopicPartition(*place)
        if consumer is None or partition not in consumer.assignment():
            return None
        end: int | None = consumer.highwater(partition)
        return end

    def _arrivals_of(self, consumer: AIOKafkaConsumer) -> Arrivals:
        if self._arrivals is None:
            self._arrivals = Arrivals(consumer)
        return self._arrivals

    def _consumer(self) -> AIOKafkaConsumer:
        consumer = self._subscriber.consumer
        if consumer is None:
            raise KafkaUnavailable("the consumer is not started")
        return consumer


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _is_bad_record(error: Exception) -> bool:
    return type(error).__name__ in ("CorruptRecordException", "UnsupportedCodecError")


async def _translated(act: Awaitable[None]) -> None:
    try:
        await act
    except KafkaError as error:
        raise KafkaUnavailable(f"no Kafka: {error}") from error
