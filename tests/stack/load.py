"""Jobs that one client keeps under way, so many at a time, while something is done to the workers."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self
from uuid import UUID, uuid4

from headworks import Client
from headworks.client.errors import NotDelivered
from headworks.client.results import Result
from tests.stack.waiting import DEADLINE_S

JOB_TIMEOUT_S = 60.0
"""From a job's publish to its reply, whatever is done in between."""


class Load:
    """`async with Load(client, requests, open_max) as load`: leaving it waits for the last result."""

    def __init__(
        self, client: Client, requests: Iterable[dict[str, Any]], open_max: int, **options: Any
    ) -> None:
        """`requests` may be endless; `enough` ends them."""
        self._client = client
        self._requests = iter(requests)
        self._open_max = open_max
        self._options = options
        self._enough = False
        self._ended = asyncio.Condition()
        self._runners: asyncio.Future[list[None]] | None = None
        self.job_ids: set[UUID] = set()
        """Of all that were submitted."""
        self.results: list[Result] = []
        """In the order in which they were handed over."""

    async def __aenter__(self) -> Self:
        self._runners = asyncio.gather(*(self._run() for _ in range(self._open_max)))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runners is None:
            return
        if kind is not None:
            self._runners.cancel()
            with suppress(asyncio.CancelledError):
                await self._runners
        else:
            await self._runners

    def enough(self) -> None:
        """Submit no more."""
        self._enough = True

    async def reached(self, number: int) -> None:
        """Return when so many results were handed over."""
        async with asyncio.timeout(DEADLINE_S), self._ended:
            await self._ended.wait_for(lambda: len(self.results) >= number)

    async def _run(self) -> None:
        for request in self._requests:
            if self._enough:
                return
            job_id = uuid4()
            self.job_ids.add(job_id)
            result = await self._result(request, job_id)
            async with self._ended:
                self.results.append(result)
                self._ended.notify_all()

    async def _result(self, request: dict[str, Any], job_id: UUID) -> Result:
        """What Kafka did not acknowledge is submitted again under its id, as the client's error advises."""
        async with asyncio.timeout(JOB_TIMEOUT_S):
            while True:
                try:
                    return await self._client.run(request, job_id=job_id, **self._options)
                except NotDelivered:
                    continue
