"""The producer that all stages of a process share."""

import asyncio
from collections.abc import Collection, Iterable, Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError
from aiokafka.structs import RecordMetadata

from broker.errors import KafkaUnavailable, Oversized
from broker.kafka.lasting import LastingProducer
from broker.records import Outgoing, partition_of
from broker.settings import KafkaSettings
from schemas.topics import Coordinate

_BATCH_BYTES_MAX = 256 * 1024
_SHORT_S = 1.0
_SHORT_MAX = 1_000
_LOOK_S = 5.0
"""After so long without an acknowledgement it is looked whether the topics are still there."""
_SHOW_TRIES = 2
"""A metadata request that was under way may have been made without the topic's name."""


class Producer:
    """Publishes with `acks=all`; a record is sent when every in-sync replica has it."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._producer = LastingProducer(
            settings, record_bytes_max=settings.inner_record_bytes_max, batch_bytes_max=_BATCH_BYTES_MAX
        )
        self._partitions: dict[str, int] = {}
        self._found_short: dict[str, float] = {}
        self._looked_up_at = float("-inf")
        self._looking_up = asyncio.Lock()

    async def start(self) -> None:
        """Raises KafkaUnavailable where no broker answers, SettingsInvalid where it lets us not produce."""
        await self._producer.start()
        try:
            await self._look_up(asyncio.get_running_loop().time())
        except BaseException:
            await self._producer.stop()
            raise

    async def stop(self) -> None:
        """Wait some seconds at most for what is not acknowledged."""
        await self._producer.stop()

    async def partitions(self, topic: str, least: int = 1) -> int | None:
        """How many partitions the topic has, or None where there is no such topic.

        None, or fewer than `least`, is the answer of a look-up that began after the question: a topic may
        have been made or grown a moment ago. Only the same name is not looked up again within a second.
        """
        asked_at = asyncio.get_running_loop().time()
        known = self._partitions.get(topic)
        is_short = known is None or known < least
        if is_short and asked_at - self._found_short.get(topic, float("-inf")) > _SHORT_S:
            await self._look_up(asked_at)
            known = self._partitions.get(topic)
            if known is None or known < least:
                self._note_short(topic)
        return known

    async def send(self, record: Outgoing) -> Coordinate:
        return (await self.send_all([record]))[0]

    async def send_all(self, records: Sequence[Outgoing]) -> list[Coordinate]:
        """Publish, and wait until every record is acknowledged.

        Raises KafkaUnavailable where one was not (some may have been: what follows must bear a repeat), and
        Oversized where one is larger than the broker takes. Where a topic is missing nothing is sent.
        """
        if not records:
            return []
        producer = await self._producer.current()
        try:
            places = await self._places(producer, records)
            placed = await self._publish(producer, records, places)
        except (MessageSizeTooLargeError, RecordListTooLargeError) as error:
            raise Oversized("a record is larger than the topic takes") from error
        except KafkaError as error:
            self._producer.met(error)
            raise KafkaUnavailable(f"publish failed: {type(error).__name__}") from error
        return [Coordinate(place.topic, place.partition, place.offset) for place in placed]

    async def _places(self, producer: AIOKafkaProducer, records: Sequence[Outgoing]) -> list[int]:
        """The partition of each record. The producer would wait for one that it does not know."""
        counts: dict[str, int] = {}
        places: list[int] = []
        for record in records:
            topic, partition = record.topic, record.partition
            count = counts.get(topic, 0)
            if count <= (partition or 0):
                count = counts[topic] = await self._count(producer, topic, (partition or 0) + 1)
            places.append(partition_of(record.key or b"", count) if partition is None else partition)
        return places

    async def _count(self, producer: AIOKafkaProducer, topic: str, least: int) -> int:
        """How many partitions the topic has, once the producer knows of them too."""
        count = await self.partitions(topic, least)
        if count is None:
            raise KafkaUnavailable(f"topic {topic} is not there; `headworks topics apply` makes it")
        if count < least:
            raise KafkaUnavailable(f"topic {topic} has no partition {least - 1}")
        for _ in range(_SHOW_TRIES):
            if _shown(producer, topic) >= count:
                return count
            producer.client.add_topic(topic)
            await producer.client.force_metadata_update()
        if _shown(producer, topic) < count:
            self._partitions.pop(topic, None)
            raise KafkaUnavailable(f"topic {topic} is gone, or has lost partitions")
        return count

    async def _publish(
        self, producer: AIOKafkaProducer, records: Sequence[Outgoing], places: Sequence[int]
    ) -> list[RecordMetadata]:
        sent: list[asyncio.Future[RecordMetadata]] = []
        try:
            for record, partition in zip(records, places, strict=True):
                acknowledged = await producer.send(
                    record.topic,
                    value=record.value,
                    key=record.key,
                    partition=partition,
                    headers=list(record.headers),
                )
                sent.append(acknowledged)
            await self._acknowledged(sent, {record.topic for record in records})
            return [acknowledged.result() for acknowledged in sent]
        except BaseException:
            _let_be(sent)
            raise

    async def _acknowledged(
        self, sent: Collection["asyncio.Future[RecordMetadata]"], topics: Collection[str]
    ) -> None:
        while True:
            done, waiting = await asyncio.wait(sent, timeout=_LOOK_S, return_when=asyncio.FIRST_EXCEPTION)
            if not waiting:
                return
            for acknowledged in done:
                acknowledged.result()
            await self._check_there(topics)

    async def _check_there(self, topics: Collection[str]) -> None:
        """An idempotent producer tries for ever, also where the topic was deleted meanwhile."""
        try:
            await self._look_up(asyncio.get_running_loop().time())
        except KafkaUnavailable:
            return
        gone = [topic for topic in topics if topic not in self._partitions]
        if gone:
            self._producer.broke()
            raise KafkaUnavailable(f"topic {gone[0]} was deleted before its records were acknowledged")

    async def _look_up(self, asked_at: float) -> None:
        """Ask for all topics. Who asks while a look-up runs shares the next one. Raises KafkaUnavailable."""
        async with self._looking_up:
            if self._looked_up_at >= asked_at:
                return
            producer = await self._producer.current()
            began_at = asyncio.get_running_loop().time()
            try:
                cluster = await producer.client.fetch_all_metadata()
            except KafkaError as error:
                raise KafkaUnavailable(f"no metadata: {type(error).__name__}") from error
            counts = {topic: len(cluster.partitions_for_topic(topic) or ()) for topic in cluster.topics()}
            self._partitions = {topic: count for topic, count in counts.items() if count}
            self._looked_up_at = began_at

    def _note_short(self, topic: str) -> None:
        if len(self._found_short) >= _SHORT_MAX:
            self._found_short.clear()
        self._found_short[topic] = self._looked_up_at


def _shown(producer: AIOKafkaProducer, topic: str) -> int:
    return len(producer.client.cluster.partitions_for_topic(topic) or ())


def _let_be(sent: Iterable["asyncio.Future[RecordMetadata]"]) -> None:
    """Nobody will look at how they end, of which asyncio would complain; aiokafka bears the cancelling."""
    for acknowledged in sent:
        if not acknowledged.cancel() and not acknowledged.cancelled():
            acknowledged.exception()
