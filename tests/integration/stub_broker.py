"""The broker's side of a job in the fewest lines: it verifies signatures and answers on the reply topic."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from broker.identity.credential import Credential
from broker.identity.signing import SignedFields, verify
from broker.kafka.connection import client_options
from broker.records import Incoming
from broker.settings import KafkaSettings
from schemas import headers, topics
from schemas.reply import Reply, ReplyError
from schemas.topics import Lane, ReplyTo


def echo(job_id: UUID, envelope: dict[str, Any]) -> Reply:
    """Answers a chat request with its last message."""
    content = envelope["request"]["messages"][-1]["content"]
    response = {
        "id": f"chatcmpl-{job_id.hex}",
        "model": envelope["request"]["model"],
        "choices": [{"index": 0, "message": {"role": "assistant", "content": content}}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
    }
    return Reply(
        job_id=job_id,
        status="answered",
        model=envelope["request"]["model"],
        response=response,
        status_code=200,
        cost_nanodollars=1_500,
        attempts=1,
    )


def refuse(job_id: UUID, envelope: dict[str, Any]) -> Reply:
    error = ReplyError(code="unknown_model", message="no price for this model", param="model")
    return Reply(job_id=job_id, status="refused", error=error)


class StubBroker:
    """Serves one application. A repeat gets the recorded reply again, as the real ledger does it."""

    def __init__(self, kafka: KafkaSettings, credential: Credential) -> None:
        self.answer: Callable[[UUID, dict[str, Any]], Reply] = echo
        self.times_sent = 1
        self.seen: Counter[UUID] = Counter()
        self.calls: Counter[UUID] = Counter()
        self.lanes: dict[UUID, str] = {}
        self.reply_topic = topics.replies(credential.application)
        self._credential = credential
        self._recorded: dict[UUID, tuple[bytes, Reply]] = {}
        self._waiting: dict[UUID, set[str]] = {}
        self._open = asyncio.Event()
        self._open.set()
        self._arrived = asyncio.Condition()
        self._consumer = AIOKafkaConsumer(
            **client_options(kafka), enable_auto_commit=False, auto_offset_reset="none", fetch_max_wait_ms=50
        )
        self.producer = AIOKafkaProducer(**client_options(kafka), acks="all")
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._consumer.start()
        await self.producer.start()
        cluster = await self.producer.client.fetch_all_metadata()
        names = [topics.jobs(lane) for lane in Lane]
        places = [TopicPartition(name, part) for name in names for part in cluster.partitions_for_topic(name)]
        ends = await self._consumer.end_offsets(places)
        self._consumer.assign(places)
        for place, end in ends.items():
            self._consumer.seek(place, end)
        self._task = asyncio.create_task(self._serve())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait((self._task,))
        await self.producer.stop()
        await self._consumer.stop()
        if not self._task.cancelled():
            self._task.result()

    def hold(self) -> None:
        """Jobs are taken, and answered only after `release`."""
        self._open.clear()

    async def release(self) -> None:
        self._open.set()
        for job_id in list(self._waiting):
            await self._deliver(job_id)

    async def seen_at_least(self, count: int) -> None:
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.seen) >= count)

    async def send(self, reply_to: str, job_id: UUID, value: bytes, run: int = 1) -> None:
        """A record on the reply topic, whatever it says."""
        place = ReplyTo.parse(reply_to)
        await self.producer.send_and_wait(
            place.topic,
            value,
            partition=place.partition,
            headers=[
                (headers.CORRELATION_ID, str(job_id).encode()),
                (headers.REPLY_TO, reply_to.encode()),
                (headers.RUN, str(run).encode()),
            ],
        )

    async def _serve(self) -> None:
        async for record in self._consumer:
            await self._take(record)

    async def _take(self, record: Incoming) -> None:
        named = {name: (value or b"").decode() for name, value in record.headers}
        if named[headers.APPLICATION] != self._credential.application:
            return
        value = record.value or b""
        assert self._believed(record.topic, named, value)
        job_id = UUID(named[headers.CORRELATION_ID])
        if job_id not in self._recorded:
            self.calls[job_id] += 1
            self._recorded[job_id] = (value, self.answer(job_id, orjson.loads(value)))
        assert self._recorded[job_id][0] == value, "a repeat must have the same bytes"
        if named[headers.REPLY_TO]:
            self._waiting.setdefault(job_id, set()).add(named[headers.REPLY_TO])
        self.lanes[job_id] = record.topic
        if self._open.is_set():
            await self._deliver(job_id)
        async with self._arrived:
            self.seen[job_id] += 1
            self._arrived.notify_all()

    def _believed(self, topic: str, named: dict[str, str], value: bytes) -> bool:
        fields = SignedFields(
            version=named[headers.VERSION],
            topic=topic,
            application=named[headers.APPLICATION],
            key_id=named[headers.KEY_ID],
            content_type=named[headers.CONTENT_TYPE],
            reply_to=named[headers.REPLY_TO],
            issued_at=named[headers.ISSUED_AT],
            job_id=named[headers.CORRELATION_ID],
            value_sha256=hashlib.sha256(value).digest(),
        )
        return verify(self._credential.secret, fields, named[headers.SIGNATURE])

    async def _deliver(self, job_id: UUID) -> None:
        reply = self._recorded[job_id][1].model_dump_json(exclude_none=True).encode()
        for reply_to in self._waiting.pop(job_id, ()):
            for _ in range(self.times_sent):
                await self.send(reply_to, job_id, reply)
