"""Projects that have as many jobs in flight as they may: the rest of their jobs wait, parked, for room.

So RESERVE passes on only what DISPATCH can soon start, and no flood of one project stands before the others.
Jobs of the interactive lane count, and wait for nobody: waiting for room takes a second or so.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Protocol, Self

from broker.identity.directory import Directory
from broker.quota.gate import Gate, Granted, Over, ProjectOf, Settled
from broker.settings import ReserveSettings
from broker.store.crowds import Waiting
from broker.store.parking import CROWDED, ParkedRow
from broker.telemetry.metrics import Metrics
from schemas.state import State
from schemas.topics import Lane
from workers.requests import Requests


class Source(Protocol):
    async def projects(self) -> list[int]:
        """Those whose jobs that wait come before others of theirs."""
        ...


class Crowds:
    """Which projects have jobs that others stand behind, as this process knows it: asked of memory, never of
    a server.

    A job of such a project stands behind those that wait already, so that none is overtaken for ever.
    `async with Crowds(...)` keeps up; what it knows is `every_s` old at most.
    """

    def __init__(self, source: Source, every_s: float, metrics: Metrics) -> None:
        self._source = source
        self._every_s = every_s
        self._metrics = metrics
        self._projects: set[int] = set()
        self._following: asyncio.Task[None] | None = None
        self._stopping = False
        """Not by cancelling alone: a Redis client may swallow that in the middle of a command."""

    async def __aenter__(self) -> Self:
        self._following = asyncio.create_task(self._follow(), name="crowds")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        following, self._following = self._following, None
        if following is not None:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following

    def stand_before(self, state: State) -> bool:
        """Whether others of its project come first. Who was woken, as there was room, has waited; so has who
        comes for another attempt.
        """
        return (
            state.project_id in self._projects
            and state.lane is not Lane.INTERACTIVE
            and state.attempt == 1
            and state.parked_for != CROWDED
        )

    def joined(self, project_id: int) -> None:
        """A job of the project begins to wait."""
        self._projects.add(project_id)

    async def refresh(self) -> None:
        """Raises what the source raises."""
        self._projects = set(await self._source.projects())

    async def _follow(self) -> None:
        """A source that is away, or fails, changes no crowd: what waits, waits on."""
        while not self._stopping:
            try:
                await self.refresh()
            except Exception as error:  # noqa: BLE001 - counted and logged
                self._metrics.trouble("reserve", error)
            if not self._stopping:
                await asyncio.sleep(self._every_s)


class Room:
    """How much there is for those that wait: which of them may go on now, and who must stand behind them."""

    def __init__(self, waiting: Waiting, gate: Gate, directory: Directory, settings: ReserveSettings) -> None:
        self._waiting = waiting
        self._gate = gate
        self._directory = directory
        self._requests = Requests(settings, directory)
        self._jobs_in_flight_max = settings.jobs_in_flight_max

    async def projects(self) -> list[int]:
        """Those that have jobs that wait, and more than half as many in flight as they may. With fewer, who
        comes now takes nobody's room; and a project whose line is short, or longer than is woken in a second,
        would else never get out of line. Raises Unavailable.
        """
        return [one for one, in_flight in await self._in_flight() if 2 * in_flight > self._most(one)]

    async def lines(self, partitions: Collection[int], limit: int) -> AsyncIterator[list[ParkedRow]]:
        """Of each project for which there is room as many as there is room for, and `limit` at most, of these
        partitions of `parked`. Raises Unavailable.
        """
        for project, in_flight in await self._in_flight():
            room = min(self._most(project) - in_flight, limit)
            if room > 0 and (rows := await self._waiting.first(project, sorted(partitions), room)):
                yield rows

    async def take(self, states: Sequence[State]) -> list[Granted | Over | Settled]:
        """Hold what these jobs need: one answer a job, in order. Raises Unavailable."""
        return await self._gate.reserve([self._requests.of(state) for state in states]) if states else []

    def _most(self, project_id: int) -> int:
        own = self._directory.project(project_id).settings.jobs_in_flight
        return self._jobs_in_flight_max if own is None else min(own, self._jobs_in_flight_max)

    async def _in_flight(self) -> list[tuple[int, int]]:
        """Of each project that has jobs that wait, how many are in flight."""
        projects = await self._waiting.projects()
        whose = [ProjectOf(each, self._directory.project(each).organization_id) for each in projects]
        return list(zip(projects, await self._gate.jobs_in_flight(whose), strict=True))
