"""Reading single records again, by their coordinates."""

import asyncio
from collections.abc import Iterable, Sequence
from itertools import groupby

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from broker.errors import KafkaUnavailable
from broker.kafka.connection import client_options
from broker.settings import KafkaSettings
from schemas.topics import Coordinate

_WAIT_MS = 5_000
_NEAR = 500
"""Wanted offsets no further apart than this are read in one go."""

Found = dict[Coordinate, ConsumerRecord[bytes, bytes]]


class CoordinateReader:
    """One consumer without a group; serves one call at a time."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._consumer: AIOKafkaConsumer | None = None
        self._turn = asyncio.Lock()

    async def start(self) -> None:
        self._consumer = AIOKafkaConsumer(
            **client_options(self._settings),
            enable_auto_commit=False,
            auto_offset_reset="none",
            fetch_max_wait_ms=self._settings.fetch_wait_ms_max,
            max_partition_fetch_bytes=self._settings.inner_record_bytes_max,
        )
        try:
            await self._consumer.start()
        except KafkaError as error:
            raise KafkaUnavailable(f"no Kafka at {self._settings.bootstrap_servers}: {error}") from error

    async def stop(self) -> None:
        if self._consumer is not None:
            await self._consumer.stop()

    async def end(self, topic: str, partition: int) -> int:
        """The offset that the partition's next record will have."""
        place = TopicPartition(topic, partition)
        async with self._turn:
            try:
                return int((await self._started().end_offsets([place]))[place])
            except KafkaError as error:
                raise KafkaUnavailable(f"no end offset: {type(error).__name__}") from error

    async def read(self, coordinates: Iterable[Coordinate]) -> Found:
        """The records that are still retained; a coordinate that is gone is left out.

        Raises KafkaUnavailable where the partition cannot be read now.
        """
        found: Found = {}
        async with self._turn:
            ordered = sorted(set(coordinates))
            for (topic, partition), group in groupby(ordered, key=lambda at: at[:2]):
                await self._read_partition(TopicPartition(topic, partition), list(group), found)
        return found

    async def _read_partition(
        self, place: TopicPartition, wanted: Sequence[Coordinate], found: Found
    ) -> None:
        consumer = self._started()
        try:
            consumer.assign([place])
            first = (await consumer.beginning_offsets([place]))[place]
            last = (await consumer.end_offsets([place]))[place]
            present = [at for at in wanted if first <= at.offset < last]
            for run in _runs(present):
                await self._read_run(place, run, found)
        except OffsetOutOfRangeError:
            return
        except KafkaError as error:
            raise KafkaUnavailable(f"read failed: {type(error).__name__}") from error

    async def _read_run(self, place: TopicPartition, run: Sequence[Coordinate], found: Found) -> None:
        consumer = self._started()
        wanted = {at.offset: at for at in run}
        consumer.seek(place, run[0].offset)
        position = run[0].offset
        while position <= run[-1].offset:
            fetched = (await consumer.getmany(place, timeout_ms=_WAIT_MS)).get(place, ())
            if not fetched:
                raise KafkaUnavailable(f"nothing came from {place.topic} within {_WAIT_MS} ms")
            for record in fetched:
                if (at := wanted.get(record.offset)) is not None:
                    found[at] = record
            position = fetched[-1].offset + 1

    def _started(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            raise KafkaUnavailable("the reader is not started")
        return self._consumer


def _runs(wanted: Sequence[Coordinate]) -> list[list[Coordinate]]:
    runs: list[list[Coordinate]] = []
    for at in wanted:
        if runs and at.offset - runs[-1][-1].offset <= _NEAR:
            runs[-1].append(at)
        else:
            runs.append([at])
    return runs
