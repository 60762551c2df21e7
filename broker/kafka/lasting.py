"""An aiokafka producer that is replaced when it breaks for good, and that ends within its time.

An idempotent producer of aiokafka retries for ever, which suits us. But some errors its sender does not
outlive: what was in flight then fails, or hangs, and so does all that comes later. All private parts of
aiokafka's producer that this takes are in this file.
"""

import asyncio
import logging

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    InvalidProducerEpoch,
    KafkaError,
    OutOfOrderSequenceNumber,
    ProducerFenced,
    UnknownProducerId,
)

from broker.errors import HeadworksError, KafkaUnavailable
from broker.kafka.connection import client_options, kafka_errors
from broker.settings import KafkaSettings

_log = logging.getLogger(__name__)
_START_S = 20.0
_STOP_S = 10.0
_GIVE_UP_S = 1.0
_METADATA_AGE_MS_MAX = 30_000
_FATAL = (InvalidProducerEpoch, OutOfOrderSequenceNumber, ProducerFenced, UnknownProducerId)
"""After these every later batch of the partition fails too; a sender that ends raises a bare KafkaError."""


class LastingProducer:
    """`start`, then `current` for each use, then `stop`. Tell it of every error by `met`."""

    def __init__(self, kafka: KafkaSettings, *, record_bytes_max: int, batch_bytes_max: int) -> None:
        """`record_bytes_max`: of a record with its headers; `batch_bytes_max`: gathered for a partition."""
        self._kafka = kafka
        self._record_bytes_max = record_bytes_max
        self._batch_bytes_max = min(batch_bytes_max, record_bytes_max)
        self._producer: AIOKafkaProducer | None = None
        self._broken = False
        self._replacing = asyncio.Lock()
        self._ending: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Raises KafkaUnavailable, SettingsInvalid."""
        self._producer = await self._started()

    async def stop(self) -> None:
        """Wait ten seconds at most for what is not acknowledged; what is left then, fails."""
        producer, self._producer = self._producer, None
        if producer is not None:
            self._end_aside(producer)
        await asyncio.gather(*self._ending)

    def met(self, error: Exception) -> None:
        """A send failed with `error`; where the producer does not outlive that, it is replaced."""
        if type(error) is KafkaError or isinstance(error, _FATAL):
            self.broke()

    def broke(self) -> None:
        """It is of no more use; the next `current` brings another."""
        self._broken = True

    async def current(self) -> AIOKafkaProducer:
        """Raises KafkaUnavailable."""
        if self._broken:
            await self._replace()
        if self._producer is None:
            raise KafkaUnavailable("the producer is stopped, or was never started")
        return self._producer

    async def _replace(self) -> None:
        """The former one goes on with what it can still deliver, for a while."""
        async with self._replacing:
            if not self._broken or self._producer is None:
                return
            try:
                fresh = await self._started()
            except HeadworksError as error:  # settings with which the former one worked
                raise KafkaUnavailable(str(error)) from error
            if self._producer is None:
                self._end_aside(fresh)
                return
            _log.warning("producer_replaced")
            self._end_aside(self._producer)
            self._producer, self._broken = fresh, False

    async def _started(self) -> AIOKafkaProducer:
        kafka = self._kafka
        producer = AIOKafkaProducer(
            **client_options(kafka),
            acks="all",
            enable_idempotence=kafka.idempotence,
            linger_ms=kafka.linger_ms,
            max_request_size=self._record_bytes_max,
            max_batch_size=self._batch_bytes_max,
            metadata_max_age_ms=_METADATA_AGE_MS_MAX,
        )
        try:
            with kafka_errors(f"publish to Kafka at {kafka.bootstrap_servers}"):
                async with asyncio.timeout(_START_S):
                    await producer.start()
        except BaseException:
            await producer.stop()
            raise
        self._watch(producer)
        return producer

    def _watch(self, producer: AIOKafkaProducer) -> None:
        """However a sender ends, nothing that it leaves behind may wait for ever."""

        def ended(sender: asyncio.Task[None]) -> None:
            if self._producer is producer:
                self._broken = True
            _fail_all(
                producer, (None if sender.cancelled() else sender.exception()) or KafkaError("no sender")
            )

        producer._sender.sender_task.add_done_callback(ended)  # noqa: SLF001

    def _end_aside(self, producer: AIOKafkaProducer) -> None:
        task = asyncio.create_task(_end(producer), name="end-producer")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


def _fail_all(producer: AIOKafkaProducer, error: BaseException) -> None:
    """Those that wait for their turn to be gathered are failed too, and need not be awaited by anybody."""
    accumulator = producer._message_accumulator  # noqa: SLF001
    gathered = [batch for queue in accumulator._batches.values() for batch in queue]  # noqa: SLF001
    batches = gathered + list(accumulator._pending_batches)  # noqa: SLF001
    accumulator.fail_all(error)
    for batch in batches:
        batch._drain_waiter.exception()  # noqa: SLF001


async def _end(producer: AIOKafkaProducer) -> None:
    """The `stop` of aiokafka waits as long as a record is undelivered, and has no public way to give up."""
    stopping = asyncio.ensure_future(producer.stop())
    done, _ = await asyncio.wait((stopping,), timeout=_STOP_S)
    if not done:
        _log.warning("records_given_up")
        await _end_sender(producer)
    await stopping


async def _end_sender(producer: AIOKafkaProducer) -> None:
    """Its first cancellation lets it wait for the requests under way, the second does not."""
    sender = producer._sender.sender_task  # noqa: SLF001
    for _ in range(2):
        sender.cancel()
        await asyncio.wait((sender,), timeout=_GIVE_UP_S)
