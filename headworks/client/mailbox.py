"""The replies of one client instance: read, kept until they are asked for, handed over."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from uuid import UUID

from aiokafka import TopicPartition

from broker.errors import ConfigurationError
from broker.records import Incoming
from broker.settings import KafkaSettings
from headworks.client.errors import ClientClosed, NotOpen, ResultTimeout
from headworks.client.handover import Handover
from headworks.client.inbox import Inbox, Slot
from headworks.client.reading import PartitionReader
from headworks.client.replies import addressed_to, job_of, opened, unreadable
from headworks.client.results import Result
from schemas.topics import ReplyTo

_log = logging.getLogger(__name__)
_WAIT_MS = 500


class Mailbox:
    def __init__(self, kafka: KafkaSettings, reply_to: ReplyTo, inbox: Inbox, group: str | None) -> None:
        """With a group, positions are kept under it."""
        self.address = str(reply_to)
        self._kafka = kafka
        self._partition = TopicPartition(reply_to.topic, reply_to.partition)
        self._wanted = self.address.encode()
        self._inbox = inbox
        self._remembers = group is not None
        self._reader = PartitionReader(kafka, self._partition, group)
        self._handover: Handover | None = None
        self._saved: int | None = None
        self._save_at = 0.0
        self._task: asyncio.Task[None] | None = None
        self._ended: str | None = None

    async def start(self) -> None:
        """When it returns, no reply to a later submit can be missed.

        Raises KafkaUnavailable, SettingsInvalid.
        """
        await self._reader.start()
        try:
            await self._find_position()
        except BaseException:
            await self._reader.stop()
            raise
        self._task = asyncio.create_task(self._read_on(), name="headworks-replies")
        self._task.add_done_callback(self._reading_ended)

    async def stop(self) -> None:
        """Whoever waits is told that the client was closed."""
        self._end("the client was closed; the job goes on, its reply can be had again")
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
        await self._save_position()
        await self._reader.stop()

    def open(self, job_id: UUID, value: bytes) -> Slot:
        """As `Inbox.open`. Raises ClientClosed too."""
        if self._ended is not None:
            raise ClientClosed(self._ended)
        return self._inbox.open(job_id, value)

    async def result(self, job_id: UUID, slot: Slot, timeout_s: float | None) -> Result:
        """Raises ResultTimeout, ClientClosed, NotOpen (it was forgotten meanwhile)."""
        if not slot.arrival.done():
            await asyncio.wait((slot.arrival,), timeout=timeout_s)
        if not slot.arrival.done():
            raise ResultTimeout(job_id, timeout_s or 0)
        return self.handed_over(job_id, slot)

    def handed_over(self, job_id: UUID, slot: Slot) -> Result:
        """Of a slot whose arrival is done. Raises ClientClosed, NotOpen."""
        if slot.arrival.cancelled():
            raise NotOpen(job_id) if self._ended is None else ClientClosed(self._ended)
        result = slot.arrival.result()
        if self._inbox.hand_over(job_id, slot) and self._handover is not None:
            self._handover.handed(job_id, result.run)
        return result

    def forget(self, job_id: UUID) -> None:
        """Raises NotOpen."""
        slot = self._inbox.slot(job_id)
        self._inbox.hand_over(job_id, slot)
        slot.arrival.cancel()
        if self._handover is not None:
            self._handover.handed(job_id, 0)

    async def missed(self) -> AsyncGenerator[Result, None]:
        """From where this instance stopped, up to where it reads now. Raises ConfigurationError."""
        handover = self._handover
        if handover is None:
            raise ConfigurationError("only a named instance keeps its position: Client(instance=...)")
        if handover.owed_from is None:
            return
        reader = PartitionReader(self._kafka, self._partition)
        await reader.start()
        try:
            reader.begin_at(handover.owed_from)
            while not handover.caught_up_to(await reader.position()):
                for record in await reader.read(_WAIT_MS):
                    result = self._owed(handover, record)
                    if result is not None:
                        yield result
                    handover.caught_up_to(record.offset + 1)
        finally:
            await reader.stop()

    def _owed(self, handover: Handover, record: Incoming) -> Result | None:
        """What nobody awaits and nobody had; a job that was submitted again gets its reply another way."""
        if not addressed_to(record, self._wanted):
            return None
        job_id = job_of(record)
        if job_id is None or job_id in self._inbox:
            return None
        result = opened(record, job_id)
        if result is None or handover.was_handed(job_id, result.run):
            return None
        handover.handed(job_id, result.run)
        return result

    async def _find_position(self) -> None:
        end = await self._reader.end()
        if self._remembers:
            self._saved = await self._reader.committed()
            self._handover = Handover(self._saved, end)
        self._reader.begin_at(end)
        await self._save_position()

    async def _read_on(self) -> None:
        while True:
            records = await self._reader.read(_WAIT_MS)
            for record in records:
                if addressed_to(record, self._wanted):
                    self._arrived(record)
            if self._handover is not None:
                if records:
                    self._handover.read_up_to(records[-1].offset + 1)
                if asyncio.get_running_loop().time() >= self._save_at:
                    await self._save_position()
            await asyncio.sleep(0)  # a full buffer is handed out without a turn of the loop

    def _arrived(self, record: Incoming) -> None:
        job_id = job_of(record)
        if job_id is None:
            unreadable(record)
            return
        if job_id not in self._inbox:
            if self._handover is not None:
                self._handover.unclaimed(record.offset)
            return
        result = opened(record, job_id)
        if result is not None and self._inbox.arrive(result) and self._handover is not None:
            self._handover.arrived(job_id, record.offset)

    async def _save_position(self) -> None:
        if self._handover is None or self._handover.position == self._saved:
            return
        position = self._handover.position
        if await self._reader.commit(position):
            self._saved = position
        self._save_at = asyncio.get_running_loop().time() + self._kafka.commit_interval_ms / 1000

    def _reading_ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        _log.error("reading_ended", exc_info=error)
        self._end(f"reading replies ended on {type(error).__name__}; start the client again")

    def _end(self, why: str) -> None:
        self._ended = self._ended or why
        self._inbox.close()
