"""Projects that have as many jobs in flight as they may: the rest of their jobs wait, parked, for room.

So RESERVE passes on only what DISPATCH can soon start, and no flood of one project stands before the others.
Jobs of the interactive lane count, and wait for nobody: waiting for room takes a second or so.
"""

import asyncio
from collections.abc import Collection
from contextlib import suppress
from types import TracebackType
from typing import Protocol, Self

from broker.errors import Unavailable
from broker.identity.directory import Directory
from broker.quota.gate import Gate, ProjectOf
from broker.store.crowds import CROWDED, Waiting
from broker.store.parking import ParkedRow
from broker.telemetry.metrics import Metrics
from schemas.state import State
from schemas.topics import Lane


class Source(Protocol):
    async def projects(self) -> list[int]: ...


class Crowds:
    """Which projects have jobs that wait, as this process knows it: asked of memory, never of a server.

    A job of such a project stands behind those that wait already, so that none is overtaken for ever.
    `async with Crowds(...)` keeps up; what it knows is `every_s` old at most.
    """

    def __init__(self, source: Source, every_s: float, metrics: Metrics) -> None:
        self._source = source
        self._every_s = every_s
        self._metrics = metrics
        self._projects: set[int] = set()
        self._following: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._following = asyncio.create_task(self._follow(), name="crowds")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        following, self._following = self._following, None
        if following is not None:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following

    def stand_before(self, state: State) -> bool:
        """Whether others of its project come first. Who was woken, as there was room, has waited."""
        return (
            state.project_id in self._projects
            and state.lane is not Lane.INTERACTIVE
            and state.parked_for != CROWDED
        )

    def joined(self, project_id: int) -> None:
        """A job of the project begins to wait."""
        self._projects.add(project_id)

    async def refresh(self) -> None:
        """Raises DatabaseUnavailable."""
        self._projects = set(await self._source.projects())

    async def _follow(self) -> None:
        """A ledger that is away changes no crowd: what waits, waits on."""
        while True:
            try:
                await self.refresh()
            except Unavailable as error:
                self._metrics.trouble("reserve", error)
            await asyncio.sleep(self._every_s)


class Room:
    """Which of those that wait may go on now."""

    def __init__(self, waiting: Waiting, gate: Gate, directory: Directory, jobs_in_flight_max: int) -> None:
        self._waiting = waiting
        self._gate = gate
        self._directory = directory
        self._jobs_in_flight_max = jobs_in_flight_max

    async def first(self, partitions: Collection[int], limit: int) -> list[ParkedRow]:
        """At most `limit` a project, of these partitions of `parked`. Raises Unavailable."""
        projects = await self._waiting.projects()
        whose = [ProjectOf(each, self._directory.project(each).organization_id) for each in projects]
        rows: list[ParkedRow] = []
        for project, in_flight in zip(projects, await self._gate.jobs_in_flight(whose), strict=True):
            room = min(self._jobs_in_flight_max - in_flight, limit)
            if room > 0:
                rows += await self._waiting.first(project, sorted(partitions), room)
        return rows
