"""The partitions that are assigned to a pump: each is read from then on, until it is taken away.

A reader must not let fetched records lie in the client, which fetches nothing for any other partition
meanwhile.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Generic

from workers.engine.committing import commit
from workers.engine.lane import Flow, Lane
from workers.engine.limits import Limits
from workers.engine.source import Assignment, Fetched, Partition, R, Unreadable
from workers.engine.trying import Trying

_FETCH_MAX = 500


class Assignments(Generic[R]):
    """`name`: the pump's; `crash` is told what has ended a reader."""

    def __init__(
        self,
        name: str,
        limits: Limits,
        trying: Trying,
        on_trouble: Callable[[BaseException], None],
        crash: Callable[[Exception], None],
    ) -> None:
        self._name = name
        self._limits = limits
        self._insist = trying.insist
        self._on_trouble = on_trouble
        self._crash = crash
        self._flows: dict[Partition, Flow[R]] = {}

    def __iter__(self) -> Iterator[Flow[R]]:
        return iter(self._flows.values())

    def get(self, partition: Partition) -> Flow[R] | None:
        return self._flows.get(partition)

    def of(self, lane: Lane[R]) -> Assignment:
        """What the lane's source tells of partitions that come and go."""
        return _LaneAssignment(self, lane)

    async def assign(self, lane: Lane[R], partitions: Collection[Partition]) -> None:
        for partition in partitions:
            flow: Flow[R] = Flow(partition, lane, self._limits.span_max, self._limits.waiting_bytes_max)
            flow.room.set()
            self._flows[partition] = flow
            flow.reader = asyncio.create_task(self._read(flow), name=f"{self._name}-read-{partition}")
        lane.fetched_at = time.monotonic()

    async def revoke(self, partitions: Collection[Partition]) -> None:
        flows = [flow for partition in partitions if (flow := self._flows.get(partition)) is not None]
        for flow in flows:
            flow.end()
        await settle_down(self._limits.revoke_wait_s, flows)
        await commit(flows, self._on_trouble)
        for flow in flows:
            flow.tracker.close()
            self._flows.pop(flow.partition, None)

    async def commit_always(self) -> None:
        while True:
            await asyncio.sleep(self._limits.commit_interval_s)
            await commit(list(self), self._on_trouble)

    async def _read(self, flow: Flow[R]) -> None:
        try:
            while True:
                await flow.room.wait()
                fetched = await self._insist(lambda: self._fetch(flow))
                flow.lane.fetched_at = time.monotonic()
                if flow.ended:
                    return
                self._take(flow, fetched)
        except Exception as error:
            self._crash(error)

    def _fetch(self, flow: Flow[R]) -> Awaitable[Fetched[R]]:
        limits = self._limits
        room = max(1, min(_FETCH_MAX, limits.span_max - flow.tracker.span))
        return flow.lane.source.fetch(flow.partition, room, limits.fetch_wait_ms)

    def _take(self, flow: Flow[R], fetched: Fetched[R]) -> None:
        taken: list[R | Unreadable] = [*fetched.records]
        if fetched.unreadable is not None:
            taken.append(fetched.unreadable)
        for record in taken:
            flow.tracker.register(record.offset)
        flow.lane.add(flow, taken)
        flow.look()


@dataclass
class _LaneAssignment(Generic[R]):
    assignments: Assignments[R]
    lane: Lane[R]

    async def assigned(self, partitions: Collection[Partition]) -> None:
        await self.assignments.assign(self.lane, partitions)

    async def revoked(self, partitions: Collection[Partition]) -> None:
        await self.assignments.revoke(partitions)


async def settle_down(
    within_s: float, flows: Collection[Flow[R]], beside: Collection[asyncio.Task[None]] = ()
) -> None:
    """Wait for the work on what came with these assignments, of other pumps too."""
    deadline = time.monotonic() + within_s
    while tasks := {*beside, *(task for flow in flows for task in flow.tasks)}:
        if (left := deadline - time.monotonic()) <= 0:
            return
        await asyncio.wait(tasks, timeout=left)
