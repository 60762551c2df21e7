"""The producer that all stages of a process share."""

import asyncio
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from broker.errors import KafkaUnavailable, Oversized
from broker.kafka.connection import client_options
from broker.records import Outgoing, partition_of
from broker.settings import KafkaSettings
from schemas.topics import Coordinate

_SHORT_S = 1.0
_SHORT_MAX = 1_000


class Producer:
    """Publishes with `acks=all`; a record is sent when every in-sync replica has it."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._partitions: dict[str, int] = {}
        self._found_short: dict[str, float] = {}
        self._looked_up_at = float("-inf")
        self._looking_up = asyncio.Lock()
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Raises KafkaUnavailable where no broker answers."""
        settings = self._settings
        self._producer = AIOKafkaProducer(
            **client_options(settings),
            acks="all",
            enable_idempotence=settings.idempotence,
            linger_ms=settings.linger_ms,
            max_request_size=settings.inner_record_bytes_max,
            max_batch_size=256 * 1024,
            metadata_max_age_ms=30_000,
        )
        try:
            await self._producer.start()
        except KafkaError as error:
            raise KafkaUnavailable(f"no Kafka at {settings.bootstrap_servers}: {error}") from error
        await self._look_up(asyncio.get_running_loop().time())

    async def stop(self) -> None:
        if self._producer is not None:
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
        Oversized where one is larger than the broker takes.
        """
        producer = self._started()
        try:
            sent = [
                await producer.send(
                    record.topic,
                    value=record.value,
                    key=record.key,
                    partition=await self._partition(record),
                    headers=list(record.headers),
                )
                for record in records
            ]
            placed = await asyncio.gather(*sent)
        except MessageSizeTooLargeError as error:
            raise Oversized("a record is larger than the topic takes") from error
        except KafkaError as error:
            raise KafkaUnavailable(f"publish failed: {type(error).__name__}") from error
        return [Coordinate(place.topic, place.partition, place.offset) for place in placed]

    async def _partition(self, record: Outgoing) -> int | None:
        if record.partition is None and not record.by_key:
            return None
        partition = record.partition
        if partition is None:
            count = await self.partitions(record.topic)
            if count is None:
                raise KafkaUnavailable(
                    f"topic {record.topic} is not there; `headworks topics apply` makes it"
                )
            partition = partition_of(record.key or b"", count)
        await self._see(record.topic, partition)
        return partition

    async def _see(self, topic: str, partition: int) -> None:
        """Let aiokafka's producer know a partition that was added since it last looked: it asserts that it is
        there. Raises KafkaUnavailable.
        """
        producer = self._started()
        if partition in await producer.partitions_for(topic):
            return
        await producer.client.force_metadata_update()
        if partition not in await producer.partitions_for(topic):
            raise KafkaUnavailable(f"topic {topic} has no partition {partition}")

    async def _look_up(self, asked_at: float) -> None:
        """Ask for all topics. Who asks while a look-up runs shares the next one."""
        async with self._looking_up:
            if self._looked_up_at >= asked_at:
                return
            began_at = asyncio.get_running_loop().time()
            try:
                cluster = await self._started().client.fetch_all_metadata()
            except KafkaError as error:
                raise KafkaUnavailable(f"no metadata: {type(error).__name__}") from error
            counts = {topic: len(cluster.partitions_for_topic(topic) or ()) for topic in cluster.topics()}
            self._partitions = {topic: count for topic, count in counts.items() if count}
            self._looked_up_at = began_at

    def _note_short(self, topic: str) -> None:
        if len(self._found_short) >= _SHORT_MAX:
            self._found_short.clear()
        self._found_short[topic] = self._looked_up_at

    def _started(self) -> AIOKafkaProducer:
        if self._producer is None:
            raise KafkaUnavailable("the producer is not started")
        return self._producer
