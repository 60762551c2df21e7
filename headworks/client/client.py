"""`Client`: submit jobs to Headworks and await their results."""

import asyncio
import re
import secrets
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar, Unpack
from uuid import UUID

from broker.errors import SettingsInvalid, TopicsMissing
from broker.identity.credential import Credential
from broker.settings import KafkaSettings, Settings
from headworks.client.completion import in_order_of_arrival
from headworks.client.credentials import resolve
from headworks.client.errors import ClientClosed, JobInvalid
from headworks.client.identifiers import derived_job_id, fresh_job_id
from headworks.client.inbox import Inbox, Slot
from headworks.client.job import Job, JobOptions, check, encode, job_of
from headworks.client.mailbox import Mailbox
from headworks.client.publisher import Outgoing, Publication, Publisher
from headworks.client.replies import address
from headworks.client.results import Result
from schemas import headers, topics
from schemas.topics import Lane

OPEN_MAX = 100_000
IN_FLIGHT = 1_000
_TURN_EVERY = 32
_T = TypeVar("_T")
_INSTANCE = re.compile(r"[A-Za-z0-9._-]{1,64}")


class _Begun(NamedTuple):
    publication: Publication
    slot: Slot | None


class Client:
    """One instance of an application, with a place of its own in the application's reply topic.

        async with Client() as client:
            result = await client.run({"model": "gpt-4o-mini", "messages": [...]})

    `credential` (`hw.<application>.<key id>.<secret>`) is HEADWORKS_CREDENTIAL unless given, and `kafka` what
    HEADWORKS_KAFKA__* and the settings file say. An `instance` with a name keeps its position, so that its
    next life can ask for what it `missed`; `remember=False` leaves that out. With `own_topics` jobs go to
    `jobs.<lane>.<application>`. At most `open_max` jobs may be open, that is, submitted and their results
    not taken yet.
    """

    def __init__(
        self,
        credential: str | Credential | None = None,
        *,
        bootstrap_servers: str | None = None,
        kafka: KafkaSettings | None = None,
        instance: str | None = None,
        remember: bool = True,
        lane: Lane | str = Lane.STANDARD,
        own_topics: bool = False,
        open_max: int = OPEN_MAX,
    ) -> None:
        """Raises SecretMissing, SettingsInvalid, JobInvalid (no such lane)."""
        self._credential = resolve(credential)
        kafka = Settings.load().kafka if kafka is None else kafka
        if bootstrap_servers is not None:
            kafka = kafka.model_copy(update={"bootstrap_servers": bootstrap_servers})
        self._kafka = kafka
        self._instance = _instance(instance)
        self._remembers = instance is not None and remember
        self._lane = _lane(lane)
        self._own_topics = own_topics
        self._inbox = Inbox(open_max)
        self._publisher = Publisher(self._credential, kafka)
        self._mailbox: Mailbox | None = None
        self._starting = asyncio.Lock()
        self._is_open = False

    @property
    def application(self) -> str:
        return self._credential.application

    @property
    def instance(self) -> str:
        return self._instance

    @property
    def open_jobs(self) -> int:
        """Submitted, and their results not taken yet."""
        return len(self._inbox)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Again it changes nothing. Raises KafkaUnavailable, TopicsMissing, SettingsInvalid (Kafka does not
        let this user in).
        """
        async with self._starting:
            if not self._is_open:
                await self._start()
                self._is_open = True

    async def _start(self) -> None:
        await self._publisher.start()
        try:
            self._mailbox = await self._open_mailbox()
        except BaseException:
            await self._publisher.close()
            raise

    async def close(self) -> None:
        """Outstanding waits raise ClientClosed; their jobs go on."""
        self._is_open = False
        if self._mailbox is not None:
            await self._mailbox.stop()
        await self._publisher.close()

    async def submit(self, request: Mapping[str, Any] | Job, **options: Unpack[JobOptions]) -> UUID:
        """Publish one job; return its id when every in-sync replica has it.

        Raises JobInvalid, JobTooLarge, TooManyOpen; TopicsMissing; ClockWrong; ClientClosed; and NotDelivered
        where no acknowledgement came in 60 s: then submit it again under the same id, which is harmless.
        """
        return await self._finish(await self._begin(job_of(request, options)))

    async def submit_many(
        self,
        requests: Iterable[Mapping[str, Any] | Job] | AsyncIterable[Mapping[str, Any] | Job],
        *,
        in_flight: int = IN_FLIGHT,
        **options: Unpack[JobOptions],
    ) -> AsyncGenerator[UUID, None]:
        """Publish jobs as they come, at most `in_flight` of them unacknowledged; yields their ids in order.

        Raises as `submit`, and then leaves those behind it unreported: give jobs ids or idempotency keys if
        the whole is to be submitted again.
        """
        begun: deque[_Begun] = deque()
        count = 0
        try:
            async for request in _each(requests):
                begun.append(await self._begin(job_of(request, options)))
                count += 1
                if count % _TURN_EVERY == 0:
                    await asyncio.sleep(0)  # a producer with room takes records without a turn of the loop
                while begun and (len(begun) >= in_flight or begun[0].publication.acknowledged.done()):
                    yield await self._finish(begun.popleft())
            while begun:
                yield await self._finish(begun.popleft())
        finally:
            for each in begun:
                self._withdraw(each)

    async def result(self, job_id: UUID, timeout_s: float | None = None) -> Result:
        """Wait for a submitted job's result, and take it: the job is then no longer open.

        Raises ResultTimeout (the job goes on), NotOpen, ClientClosed.
        """
        return await self._started().result(job_id, self._inbox.slot(job_id), timeout_s)

    async def as_completed(
        self, job_ids: Iterable[UUID], timeout_s: float | None = None
    ) -> AsyncGenerator[Result, None]:
        """Take the results of open jobs as they come, whatever their order.

        Raises ResultTimeout where they are not all here within `timeout_s` of the first step; NotOpen;
        ClientClosed.
        """
        waiting = {job_id: self._inbox.slot(job_id) for job_id in job_ids}
        async for result in in_order_of_arrival(self._started(), waiting, timeout_s):
            yield result

    async def run(
        self,
        request: Mapping[str, Any] | Job,
        *,
        timeout_s: float | None = None,
        **options: Unpack[JobOptions],
    ) -> Result:
        """Submit and await. Raises as `submit` and `result`."""
        begun = await self._begin(job_of(request, options))
        job_id = await self._finish(begun)
        if begun.slot is None:
            raise JobInvalid("a job without a reply cannot be awaited: use submit")
        return await self._started().result(job_id, begun.slot, timeout_s)

    async def cancel(self, job_id: UUID, *, reply: bool = True) -> None:
        """Call off a job of this application, whoever submitted it; return when Kafka has acknowledged that.

        How it ended is then awaited with `result`, unless `reply` is False: as `Cancelled`, or as what came
        first. A call under way is cut off and charged in full. A job that has not come yet is called off when
        it comes; one that never comes has no result. Again, or after the end, it does nothing.

        Raises as `submit`, but for JobInvalid and JobTooLarge.
        """
        topic = topics.jobs(Lane.INTERACTIVE, self.application if self._own_topics else None)
        await self._finish(await self._send(topic, job_id, b"", reply=reply, content_type=headers.CANCEL))

    async def missed(self) -> AsyncGenerator[Result, None]:
        """Results that came for a named instance while it was away, and others that nobody here awaits.

        Ends when it has caught up; ask again for more. Each is handed over once in a life, and at least once
        in all: after a crash, what the last half second handed over may come again.

        Raises ConfigurationError where the instance keeps no position; KafkaUnavailable.
        """
        async for result in self._started().missed():
            yield result

    def forget(self, job_id: UUID) -> None:
        """Stop awaiting a job; it goes on. Raises NotOpen."""
        self._started().forget(job_id)

    def job_id(self, idempotency_key: str) -> UUID:
        """What a job with this key is called in this application."""
        return derived_job_id(self.application, idempotency_key)

    async def _open_mailbox(self) -> Mailbox:
        topic = topics.replies(self.application)
        partitions = await self._publisher.partitions(topic)
        if partitions == 0:
            raise TopicsMissing(
                f"topic {topic} is not there: `headworks apps create {self.application}` makes it, or, where "
                "that application exists, `headworks topics apply`"
            )
        group = f"headworks.client.{self.application}.{self._instance}" if self._remembers else None
        reply_to = address(self.application, self._instance, partitions)
        mailbox = Mailbox(self._kafka, reply_to, self._inbox, group)
        await mailbox.start()
        return mailbox

    async def _begin(self, job: Job) -> _Begun:
        self._started()
        check(job)
        job_id = self._identified(job)
        value = encode(job)
        lane = self._lane if job.lane is None else _lane(job.lane)
        topic = topics.jobs(lane, self.application if self._own_topics else None)
        return await self._send(topic, job_id, value, reply=job.reply, traceparent=job.traceparent)

    async def _send(
        self,
        topic: str,
        job_id: UUID,
        value: bytes,
        *,
        reply: bool,
        traceparent: str | None = None,
        content_type: str = headers.JSON,
    ) -> _Begun:
        mailbox = self._started()
        slot = mailbox.open(job_id, value) if reply else None
        address_ = mailbox.address if reply else ""
        outgoing = Outgoing(topic, job_id, value, address_, traceparent, content_type)
        try:
            return _Begun(await self._publisher.publish(outgoing), slot)
        except BaseException:
            if slot is not None:
                self._inbox.withdraw(job_id, slot)
            raise

    async def _finish(self, begun: _Begun) -> UUID:
        try:
            await self._publisher.acknowledged(begun.publication)
        except BaseException:
            self._withdraw(begun)
            raise
        return begun.publication.job_id

    def _withdraw(self, begun: _Begun) -> None:
        begun.publication.abandon()
        if begun.slot is not None:
            self._inbox.withdraw(begun.publication.job_id, begun.slot)

    def _identified(self, job: Job) -> UUID:
        if job.job_id is not None:
            return job.job_id
        if job.idempotency_key is not None:
            return self.job_id(job.idempotency_key)
        return fresh_job_id(time.time_ns() // 1_000_000, secrets.token_bytes(10))

    def _started(self) -> Mailbox:
        if self._mailbox is None:
            raise ClientClosed("the client is not started: use `async with Client(...)`")
        return self._mailbox


def _instance(given: str | None) -> str:
    if given is None:
        return f"c-{secrets.token_hex(8)}"
    if _INSTANCE.fullmatch(given) is None:
        raise SettingsInvalid("an instance's name is 1 to 64 letters, digits, dots, hyphens and underscores")
    return given


def _lane(given: Lane | str) -> Lane:
    try:
        return Lane(given)
    except ValueError:
        raise JobInvalid(f"lane: must be one of {', '.join(Lane)}") from None


async def _each(source: Iterable[_T] | AsyncIterable[_T]) -> AsyncIterator[_T]:
    if isinstance(source, AsyncIterable):
        async for item in source:
            yield item
    else:
        for item in source:
            yield item
