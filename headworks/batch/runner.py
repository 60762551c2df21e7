"""Running the lines of a file as jobs, a bounded number at a time."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol
from uuid import UUID

from broker.errors import Unavailable
from headworks.batch import output
from headworks.batch.files import Outputs
from headworks.batch.identity import Run
from headworks.batch.lines import Line
from headworks.batch.requests import Fault, Malformed, Request, parse
from headworks.batch.tally import Tally
from headworks.client import Answered, Job, JobInvalid, JobTooLarge, Result
from schemas.envelope import RetryPolicy

_RESUBMIT_AFTER_S = 1.0
_CUSTOM_ID_DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class Plan:
    run: Run
    in_flight: int
    ttl_s: int
    retry: RetryPolicy


class Task(NamedTuple):
    job_id: UUID
    request: Request


class Jobs(Protocol):
    async def run(self, request: Job, /) -> Result:
        """Submit and await, as `Client.run` does."""


class Runner:
    """Memory holds the open jobs, and 16 bytes each of every custom_id's digest (to find a second one) and of
    every line that an earlier session finished: with Python's own share some 100 bytes a line each.
    """

    def __init__(self, jobs: Jobs, plan: Plan, outputs: Outputs, tally: Tally) -> None:
        self._jobs = jobs
        self._plan = plan
        self._outputs = outputs
        self._tally = tally
        self._room = asyncio.Semaphore(plan.in_flight)
        self._custom_ids: set[bytes] = set()

    async def run(self, lines: AsyncIterator[Line]) -> None:
        """Return when every line is handled.

        Raises what ends a run: TopicsMissing, ClockWrong, ClientClosed, SettingsInvalid.
        """
        try:
            async with asyncio.TaskGroup() as group:
                async for line in lines:
                    task = self._task(line)
                    if task is not None:
                        await self._room.acquire()
                        group.create_task(self._handle(task))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    def _task(self, line: Line) -> Task | None:
        """What the line leaves to be done: nothing where it is malformed, or done already."""
        parsed = parse(line)
        if parsed is None:
            self._tally.blank += 1
            return None
        parsed = self._unique(parsed)
        line_id = self._plan.run.line_id(parsed.number, parsed.custom_id)
        if line_id.bytes in self._outputs.done:
            self._tally.earlier += 1
            return None
        if isinstance(parsed, Malformed):
            self._tally.malformed[parsed.fault] += 1
            self._outputs.error(output.malformed_line(self._plan.run.entry(line_id), parsed))
            return None
        return Task(line_id, parsed)

    def _unique(self, parsed: Request | Malformed) -> Request | Malformed:
        if isinstance(parsed, Malformed):
            return parsed
        digest = hashlib.sha256(parsed.custom_id.encode()).digest()[:_CUSTOM_ID_DIGEST_BYTES]
        if digest in self._custom_ids:
            message = "an earlier line has this custom_id"
            return Malformed(parsed.number, parsed.custom_id, Fault.DUPLICATE_CUSTOM_ID, message)
        self._custom_ids.add(digest)
        return parsed

    async def _handle(self, task: Task) -> None:
        self._tally.open += 1
        try:
            await self._run(task)
        finally:
            self._tally.open -= 1
            self._room.release()

    async def _run(self, task: Task) -> None:
        loop = asyncio.get_running_loop()
        request, entry = task.request, self._plan.run.entry(task.job_id)
        began = loop.time()
        try:
            result = await self._result(task)
        except (JobInvalid, JobTooLarge) as error:
            self._tally.refused[error.code] += 1
            line = output.refusal_line(entry, request.custom_id, request.number, error.code, str(error))
            self._outputs.error(line)
            return
        self._tally.ended(result, loop.time() - began)
        if isinstance(result, Answered):
            self._outputs.answer(output.answer_line(entry, request.custom_id, result))
        else:
            self._outputs.error(output.result_line(entry, request.custom_id, request.number, result))

    async def _result(self, task: Task) -> Result:
        """Submitted until it is acknowledged: a second record of the same job is harmless."""
        plan, request = self._plan, task.request
        job = Job(
            request.body,
            endpoint=request.endpoint,
            tags=request.tags,
            ttl_s=plan.ttl_s,
            retry=plan.retry,
            job_id=task.job_id,
        )
        while True:
            try:
                return await self._jobs.run(job)
            except Unavailable:
                self._tally.undelivered += 1
            await asyncio.sleep(_RESUBMIT_AFTER_S)
