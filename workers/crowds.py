"""Organizations, projects and keys that have as many jobs in flight as they may: the rest of their jobs wait,
parked, in a line for room.

So RESERVE passes on only what DISPATCH can soon start, and no flood of one project stands before the others.
Jobs of the interactive lane count, and wait for nobody: waiting for room takes a second or so.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from types import TracebackType
from typing import Protocol, Self

from broker import tasks
from broker.identity.directory import Directory
from broker.quota.budget import key_of, project_of
from broker.quota.counters import NodeOf
from broker.quota.gate import Gate, Granted, Over, Settled
from broker.quota.limits import LEVELS, NUMBER_MAX, Level, Limits
from broker.quota.lines import line_at, waits_for_room
from broker.settings import ReserveSettings
from broker.store.crowds import Waiting
from broker.store.parking import ParkedRow
from broker.telemetry.metrics import Metrics
from schemas.state import State
from schemas.topics import Lane
from workers.requests import Requests


class Source(Protocol):
    async def crowded(self) -> list[str]:
        """The lines in which the jobs that wait come before others that would join them."""
        ...


class Crowds:
    """In which lines jobs wait that others stand behind, as this process knows it: asked of memory, never of
    a server.

    A job that belongs in such a line stands behind those that wait already, so that none is overtaken for
    ever.
    `async with Crowds(...)` keeps up; what it knows is `every_s` old at most.
    """

    def __init__(self, source: Source, every_s: float, metrics: Metrics) -> None:
        self._source = source
        self._every_s = every_s
        self._metrics = metrics
        self._lines: set[str] = set()
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
        await tasks.end(following)

    def before(self, state: State) -> Level | None:
        """On which level others come first. Who was woken, as there was room, has waited; so has who comes
        for another attempt.
        """
        if state.lane is Lane.INTERACTIVE or state.attempt > 1 or waits_for_room(state.parked_for):
            return None
        return next((level for level in LEVELS if line_at(state, level) in self._lines), None)

    def joined(self, line: str) -> None:
        """A job begins to wait."""
        self._lines.add(line)

    async def refresh(self) -> None:
        """Raises what the source raises."""
        self._lines = set(await self._source.crowded())

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

    async def crowded(self) -> list[str]:
        """The lines whose node has more than half as many jobs in flight as it may. With fewer, who comes now
        takes nobody's room; and a line that is short, or longer than is woken in a second, would else never
        end. Raises Unavailable.
        """
        return [str(node) for node, in_flight in await self._in_flight() if 2 * in_flight > self._most(node)]

    async def lines(self, partitions: Collection[int], limit: int) -> AsyncIterator[list[ParkedRow]]:
        """Of each line for which there is room as many as there is room for, and `limit` at most, as far as
        they are in these partitions of `parked`. Raises Unavailable.
        """
        for node, in_flight in await self._in_flight():
            room = min(self._most(node) - in_flight, limit)
            if room > 0 and (rows := await self._waiting.first(str(node), sorted(partitions), room)):
                yield rows

    async def take(self, states: Sequence[State]) -> list[Granted | Over | Settled]:
        """Hold what these jobs need: one answer a job, in order. Raises Unavailable."""
        return await self._gate.reserve([self._requests.of(state) for state in states]) if states else []

    def _most(self, node: NodeOf) -> int:
        own = self._limits(node).jobs_in_flight
        most = NUMBER_MAX if project_of(node.node) is None else self._jobs_in_flight_max
        return most if own is None else min(own, most)

    def _limits(self, node: NodeOf) -> Limits:
        """Raises DirectoryBehind."""
        if (project_id := project_of(node.node)) is not None:
            return self._directory.project(project_id).settings
        if (key_id := key_of(node.node)) is not None:
            return self._directory.budget(key_id).key
        return self._directory.organization(node.organization_id).settings

    async def _in_flight(self) -> list[tuple[NodeOf, int]]:
        """Of each node whose line has jobs, how many it has in flight."""
        nodes = [NodeOf.parse(line) for line in await self._waiting.lines()]
        return list(zip(nodes, await self._gate.jobs_in_flight(nodes), strict=True))
