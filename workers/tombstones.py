"""The jobs that are called off, as this process knows them: asked of memory, never of a server.

The snapshot asks the ledger every so often for what is new there, once a process and not once a job. So it
lags behind by that interval: a call that begins meanwhile is cut off as soon as the snapshot knows.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Protocol, Self, TypeVar

from broker import tasks
from broker.store.cancels import Cancel
from broker.store.keys import JobKey
from broker.telemetry.metrics import Metrics
from schemas.state import State

T = TypeVar("T")
Clock = Callable[[], int]
"""Milliseconds since the Unix epoch."""
_FORGET_EVERY_MS = 60_000


class Source(Protocol):
    async def beyond(self, revision: int) -> list[Cancel]: ...


class Tombstones:
    """`async with Tombstones(...)` loads them and keeps up. Entering raises Unavailable."""

    def __init__(self, source: Source, refresh_ms: int, clock: Clock, metrics: Metrics) -> None:
        self._source = source
        self._refresh_ms = refresh_ms
        self._clock = clock
        self._metrics = metrics
        self._until_ms: dict[JobKey, int] = {}
        self._in_force: Counter[int] = Counter()
        self._revision = 0
        self._forgotten_ms = 0
        self._under_way: dict[JobKey, list[asyncio.Timeout]] = {}
        self._following: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.refresh()
        self._following = asyncio.create_task(self._follow(), name="tombstones")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        following, self._following = self._following, None
        await tasks.end(following)

    def covers(self, state: State) -> bool:
        """Whether the job is called off."""
        return bool(self._until_ms) and key_of(state) in self._until_ms

    def in_force(self, application_id: int) -> int:
        """How many of an application's jobs are called off, and maybe not at their deadlines yet."""
        return self._in_force[application_id]

    def cover(self, key: JobKey) -> bool:
        return key in self._until_ms

    async def unless_cancelled(self, state: State, act: Awaitable[T]) -> T | None:
        """What `act` comes to; None as soon as the job is called off, when `act` is cut off."""
        key, loop = key_of(state), asyncio.get_running_loop()
        cut = asyncio.timeout(None)
        self._under_way.setdefault(key, []).append(cut)
        try:
            async with cut:
                if key in self._until_ms:
                    cut.reschedule(loop.time())
                return await act
        except TimeoutError:
            if cut.expired():
                return None
            raise
        finally:
            self._leave(key, cut)

    async def refresh(self) -> None:
        """Look for what is new now. Raises Unavailable where the database is away."""
        for cancel in await self._source.beyond(self._revision):
            self._revision = max(self._revision, cancel.revision)
            if cancel.key not in self._until_ms:
                self._learn(cancel)
        self._forget(self._clock())

    def __len__(self) -> int:
        return len(self._until_ms)

    def _learn(self, cancel: Cancel) -> None:
        self._until_ms[cancel.key] = cancel.until_ms
        self._in_force[cancel.key.application_id] += 1
        for cut in self._under_way.get(cancel.key, ()):
            cut.reschedule(asyncio.get_running_loop().time())

    def _forget(self, now_ms: int) -> None:
        """Those whose job's deadline has passed: it expires by itself."""
        if self._until_ms and now_ms >= self._forgotten_ms + _FORGET_EVERY_MS:
            self._forgotten_ms = now_ms
            self._until_ms = {key: until for key, until in self._until_ms.items() if until > now_ms}
            self._in_force = Counter(key.application_id for key in self._until_ms)

    def _leave(self, key: JobKey, cut: asyncio.Timeout) -> None:
        cuts = self._under_way[key]
        cuts.remove(cut)
        if not cuts:
            del self._under_way[key]

    async def _follow(self) -> None:
        """Whatever a look comes to, another follows: without it no cancellation would be seen again."""
        while True:
            await asyncio.sleep(self._refresh_ms / 1000)
            try:
                await self.refresh()
            except Exception as error:  # noqa: BLE001 - counted and logged
                self._metrics.trouble("cancels", error)


def key_of(state: State) -> JobKey:
    return JobKey(state.application_id, state.job_id)
