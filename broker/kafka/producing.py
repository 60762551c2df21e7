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

_METADATA_FRESH_S = 5.0


class Producer:
    """Publishes with `acks=all`; a record is sent when every in-sync replica has it."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._partitions: dict[str, int] = {}
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
        await self._look_up()

    async def stop(self) -> None:
        if self._producer is not None:
            await self._producer.stop()

    async def partitions(self, topic: str) -> int | None:
        """How many partitions the topic has, or None where there is no such topic.

        An unknown name costs one look-up of all topics, at most every five seconds.
        """
        known = self._partitions.get(topic)
        if known is None and asyncio.get_running_loop().time() - self._looked_up_at > _METADATA_FRESH_S:
            await self._look_up()
            known = self._partitions.get(topic)
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
        if record.partition is not None or not record.by_key:
            return record.partition
        count = self._partitions.get(record.topic) or await self.partitions(record.topic)
        if count is None:
            raise KafkaUnavailable(f"topic {record.topic} is not there; `headworks topics apply` makes it")
        return partition_of(record.key or b"", count)

    async def _look_up(self) -> None:
        async with self._looking_up:
            loop = asyncio.get_running_loop()
            if loop.time() - self._looked_up_at <= _METADATA_FRESH_S:
                return
            try:
                cluster = await self._started().client.fetch_all_metadata()
            except KafkaError as error:
                raise KafkaUnavailable(f"no metadata: {type(error).__name__}") from error
            self._partitions = {
                topic: len(cluster.partitions_for_topic(topic) or ()) for topic in cluster.topics()
            }
            self._looked_up_at = loop.time()

    def _started(self) -> AIOKafkaProducer:
        if self._producer is None:
            raise KafkaUnavailable("the producer is not started")
        return self._producer
