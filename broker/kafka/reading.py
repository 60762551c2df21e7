"""Reading single records again, by their coordinates."""

import asyncio
from collections.abc import Iterable, Sequence
from itertools import groupby

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CorruptRecordException, KafkaError, OffsetOutOfRangeError, UnsupportedCodecError

from broker.errors import KafkaUnavailable
from broker.kafka.connection import client_options
from broker.kafka.ending import stop_consumer
from broker.kafka.raw_batch import Broken, Record
from broker.kafka.salvaging import Salvage
from broker.settings import KafkaSettings
from schemas.topics import Coordinate

_TURN_MS = 250
_TURNS = 20
_NEAR = 500
"""Wanted offsets no further apart than this are read in one go."""

Found = dict[Coordinate, Record]


class CoordinateReader:
    """One consumer without a group; serves one call at a time."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._is_embedded = settings.append_time == "receipt"
        self._salvage = Salvage(settings)
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
            await stop_consumer(self._consumer)
        await self._salvage.close()

    async def end(self, topic: str, partition: int) -> int:
        """The offset that the partition's next record will have. Raises KafkaUnavailable."""
        place = TopicPartition(topic, partition)
        async with self._turn:
            try:
                end = int((await self._started().end_offsets([place]))[place])
                return await self._true_end(place, end) if self._is_embedded else end
            except KafkaError as error:
                raise KafkaUnavailable(f"no end offset: {type(error).__name__}") from error

    async def _true_end(self, place: TopicPartition, claimed: int) -> int:
        """The embedded broker counts the last batch as one record; what comes with a fetch is right."""
        if claimed == 0:
            return 0
        consumer = self._started()
        consumer.assign([place])
        consumer.seek(place, claimed - 1)
        await self._next(place, claimed - 1)
        return int(consumer.highwater(place))

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
            for run in _runs([at for at in wanted if at.offset >= first]):
                await self._read_run(place, run, found)
        except OffsetOutOfRangeError:
            return
        except KafkaError as error:
            raise KafkaUnavailable(f"read failed: {type(error).__name__}") from error

    async def _read_run(self, place: TopicPartition, run: Sequence[Coordinate], found: Found) -> None:
        """A record in between that aiokafka cannot decode hides none of those that are wanted."""
        try:
            await self._read_on(place, run, found)
        except (UnicodeDecodeError, CorruptRecordException, UnsupportedCodecError):
            for at in run:
                if at not in found and (record := await self._salvaged(at)) is not None:
                    found[at] = record

    async def _salvaged(self, at: Coordinate) -> Record | None:
        parts = await self._salvage.take(*at)
        items = () if parts is None else parts.items[:1]
        return next((one for one in items if not isinstance(one, Broken) and one.offset == at.offset), None)

    async def _read_on(self, place: TopicPartition, run: Sequence[Coordinate], found: Found) -> None:
        wanted = {at.offset: at for at in run}
        position = run[0].offset
        self._started().seek(place, position)
        while position <= run[-1].offset:
            fetched = await self._next(place, position)
            if not fetched:
                return
            found.update({wanted[record.offset]: record for record in fetched if record.offset in wanted})
            position = fetched[-1].offset + 1

    async def _next(self, place: TopicPartition, position: int) -> Sequence[Record]:
        """Records from `position` on; none where the log ends there. Raises KafkaUnavailable."""
        consumer = self._started()
        for _ in range(_TURNS):
            fetched: Sequence[Record] = (await consumer.getmany(place, timeout_ms=_TURN_MS)).get(place, ())
            end = consumer.highwater(place)
            if fetched or (end is not None and position >= end):
                return fetched
        raise KafkaUnavailable(f"nothing came from {place.topic} within {_TURNS * _TURN_MS} ms")

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
