"""Reading one partition in order, whatever stands in it."""

import asyncio
import logging
from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CorruptRecordException, KafkaError, OffsetOutOfRangeError, UnsupportedCodecError

from broker.errors import HeadworksError
from broker.kafka.connection import client_options, kafka_errors
from broker.kafka.ending import stop_consumer
from broker.records import Incoming
from broker.settings import KafkaSettings

_log = logging.getLogger(__name__)
_START_S = 20.0
_RECORDS_MAX = 500
_BACKOFF_S = 0.5


class PartitionReader:
    """A consumer with one partition, assigned by hand; with a group it keeps positions, and joins nothing."""

    def __init__(self, kafka: KafkaSettings, partition: TopicPartition, group: str | None = None) -> None:
        self._kafka = kafka
        self._partition = partition
        self._narrow = False
        self._consumer = AIOKafkaConsumer(
            **client_options(kafka),
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="none",
            fetch_max_wait_ms=kafka.fetch_wait_ms_max,
            fetch_max_bytes=kafka.fetch_bytes_max,
            max_partition_fetch_bytes=kafka.inner_record_bytes_max,
        )

    async def start(self) -> None:
        """Raises KafkaUnavailable, SettingsInvalid."""
        try:
            with kafka_errors(f"read replies from Kafka at {self._kafka.bootstrap_servers}"):
                async with asyncio.timeout(_START_S):
                    await self._consumer.start()
        except HeadworksError:
            await stop_consumer(self._consumer)
            raise

    async def stop(self) -> None:
        await stop_consumer(self._consumer)

    async def end(self) -> int:
        """The offset that the next record will have. Raises KafkaUnavailable."""
        with kafka_errors("find the end of the replies"):
            return int((await self._consumer.end_offsets([self._partition]))[self._partition])

    async def committed(self) -> int | None:
        """Raises KafkaUnavailable, SettingsInvalid."""
        with kafka_errors("find the position of this instance"):
            offset: int | None = await self._consumer.committed(self._partition)
        return offset

    def begin_at(self, offset: int) -> None:
        """Assign and seek in one step: an assignment without a position would ask for one, and fail."""
        self._consumer.assign([self._partition])
        self._consumer.seek(self._partition, offset)

    async def commit(self, offset: int) -> bool:
        """False where it failed, which is logged; a later one will do."""
        try:
            await self._consumer.commit({self._partition: offset})
        except KafkaError as error:
            _log.warning("position_not_committed: %s", type(error).__name__)
            return False
        return True

    async def position(self) -> int:
        """The offset of the next record that `read` will return, or beyond it."""
        return int(await self._consumer.position(self._partition))

    async def read(self, wait_ms: int) -> Sequence[Incoming]:
        """Some records, or none where none came in time or there was trouble, which is logged.

        aiokafka decodes header keys as UTF-8 while it fetches, and raises on every try: then records are read
        one by one until the bad one is met, and it is passed over. What follows it in its batch (of the same
        producer) cannot be reached by aiokafka, and is passed over too. A corrupt batch likewise.
        """
        try:
            fetched = await self._consumer.getmany(
                self._partition, timeout_ms=wait_ms, max_records=1 if self._narrow else _RECORDS_MAX
            )
        except OffsetOutOfRangeError:
            _log.error("replies_lost in %s/%d: its oldest records are gone", *self._partition)
            await self._consumer.seek_to_beginning(self._partition)
        except (UnicodeDecodeError, CorruptRecordException, UnsupportedCodecError) as error:
            await self._pass_over(error)
        except KafkaError as error:
            _log.warning("replies_interrupted: %s", type(error).__name__)
            await asyncio.sleep(_BACKOFF_S)
        else:
            records: Sequence[Incoming] = fetched.get(self._partition, ())
            return records
        return ()

    async def _pass_over(self, error: Exception) -> None:
        if not self._narrow:
            self._narrow = True
            return
        offset = await self.position()
        self._consumer.seek(self._partition, offset + 1)
        self._narrow = False
        _log.error("record_unreadable at %s/%d/%d: %s", *self._partition, offset, type(error).__name__)
