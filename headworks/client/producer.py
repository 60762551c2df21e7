"""An aiokafka producer that is replaced when it breaks for good, and ends within its time."""

import asyncio
import logging

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from broker.errors import HeadworksError, KafkaUnavailable
from broker.kafka.connection import client_options, kafka_errors
from broker.settings import KafkaSettings

_log = logging.getLogger(__name__)
_START_S = 20.0
_STOP_S = 10.0
_BATCH_BYTES_MAX = 128 * 1024
_REQUEST_TIMEOUT_MS = 15_000


class LastingProducer:
    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._producer: AIOKafkaProducer | None = None
        self._broken = False
        self._replacing = asyncio.Lock()

    async def start(self) -> None:
        """Raises KafkaUnavailable, SettingsInvalid."""
        self._producer = await _started(self._kafka)

    async def stop(self) -> None:
        """Wait ten seconds at most for what is not acknowledged."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await _end(producer)

    def broke(self) -> None:
        """It met an error that its sender does not outlive; the next `current` brings another."""
        self._broken = True

    async def current(self) -> AIOKafkaProducer:
        """Raises KafkaUnavailable."""
        if self._broken:
            await self._replace()
        if self._producer is None:
            raise KafkaUnavailable("the client is closed, or was never started")
        return self._producer

    async def _replace(self) -> None:
        async with self._replacing:
            if not self._broken or self._producer is None:
                return
            _log.warning("producer_replaced")
            fresh = await _started(self._kafka)
            former, self._producer, self._broken = self._producer, fresh, False
            await _end(former)


async def _started(kafka: KafkaSettings) -> AIOKafkaProducer:
    producer = AIOKafkaProducer(
        **client_options(kafka),
        acks="all",
        enable_idempotence=kafka.idempotence,
        linger_ms=kafka.linger_ms,
        max_request_size=kafka.jobs_record_bytes_max,
        max_batch_size=min(_BATCH_BYTES_MAX, kafka.jobs_record_bytes_max),
        request_timeout_ms=_REQUEST_TIMEOUT_MS,
    )
    try:
        with kafka_errors(f"publish to Kafka at {kafka.bootstrap_servers}"):
            async with asyncio.timeout(_START_S):
                await producer.start()
    except HeadworksError:
        await producer.stop()
        raise
    return producer


async def _end(producer: AIOKafkaProducer) -> None:
    """The `stop` of aiokafka waits as long as a record is undelivered, and has no public way to give up."""
    stopping = asyncio.ensure_future(producer.stop())
    done, _ = await asyncio.wait((stopping,), timeout=_STOP_S)
    if not done:
        _log.warning("records_given_up")
        await producer._sender.close()  # noqa: SLF001
        producer._message_accumulator.fail_all(KafkaError("given up at the end"))  # noqa: SLF001
    await stopping
