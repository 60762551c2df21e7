"""Jobs that one client keeps under way, so many at a time, while something is done to the workers."""

import asyncio
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self
from uuid import UUID, uuid4

from headworks import Client, Job
from headworks.client.results import Result
from tests.stack.waiting import DEADLINE_S

JOB_TIMEOUT_S = 60.0
"""From a job's publish to its reply, whatever is done in between."""


class Load:
    """`async with Load(client, requests, open_max) as load`: leaving it waits for the last result."""

    def __init__(
        self, client: Client, requests: Iterable[dict[str, Any]], open_max: int, **options: Any
    ) -> None:
        self._client = client
        self._jobs = [Job(request, job_id=uuid4(), **options) for request in requests]
        self._slots = asyncio.Semaphore(open_max)
        self._ended = asyncio.Condition()
        self._running: asyncio.Future[list[Result]] | None = None
        self.results: list[Result] = []
        """In the order in which they were handed over."""

    @property
    def job_ids(self) -> set[UUID]:
        return {job.job_id for job in self._jobs if job.job_id is not None}

    async def __aenter__(self) -> Self:
        self._running = asyncio.gather(*(self._run(job) for job in self._jobs))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._running is None:
            return
        if kind is not None:
            self._running.cancel()
            await asyncio.wait((self._running,))
        else:
            await self._running

    async def reached(self, number: int) -> None:
        """Return when so many results were handed over."""
        async with asyncio.timeout(DEADLINE_S), self._ended:
            await self._ended.wait_for(lambda: len(self.results) >= number)

    async def _run(self, job: Job) -> Result:
        async with self._slots:
            result = await self._client.run(job, timeout_s=JOB_TIMEOUT_S)
        async with self._ended:
            self.results.append(result)
            self._ended.notify_all()
        return result
