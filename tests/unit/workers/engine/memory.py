"""The engine's seams in memory: a source whose partitions are lists, places that are counted."""

import asyncio
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from typing import NamedTuple

from workers.engine.source import Assignment, Fetched, Partition, Unreadable


class MemoryRecord(NamedTuple):
    topic: str
    partition: int
    offset: int
    value: bytes


class MemorySource:
    def __init__(self, logs: Mapping[Partition, list[bytes | None]]) -> None:
        """None stands for a record that cannot be decoded."""
        self.logs = dict(logs)
        self.committed: dict[Partition, int] = {}
        self.commits: list[dict[Partition, int]] = []
        self.stopped = False
        self._positions: dict[Partition, int] = {}
        self._owner: Assignment | None = None
        self._news = asyncio.Event()

    async def start(self, assignment: Assignment) -> None:
        self._owner = assignment
        await self.give(*self.logs)

    async def give(self, *partitions: Partition) -> None:
        assert self._owner is not None
        for partition in partitions:
            self._positions[partition] = self.committed.get(partition, 0)
        await self._owner.assigned(partitions)

    async def take(self, *partitions: Partition) -> None:
        assert self._owner is not None
        await self._owner.revoked(partitions)

    def append(self, partition: Partition, *values: bytes | None) -> None:
        self.logs[partition].extend(values)
        self._news.set()

    async def fetch(self, partition: Partition, records_max: int, wait_ms: int) -> Fetched[MemoryRecord]:
        if self._positions[partition] >= len(self.logs[partition]):
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), wait_ms / 1000)
            except TimeoutError:
                return Fetched(())
        log, start = self.logs[partition], self._positions[partition]
        records: list[MemoryRecord] = []
        for offset in range(start, min(len(log), start + records_max)):
            value = log[offset]
            self._positions[partition] = offset + 1
            if value is None:
                return Fetched(records, Unreadable(*partition, offset, "UnicodeDecodeError"))
            records.append(MemoryRecord(*partition, offset, value))
        return Fetched(records)

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        self.commits.append(dict(offsets))
        self.committed.update(offsets)

    def end(self, partition: Partition) -> int | None:
        return len(self.logs[partition])

    async def stop(self) -> None:
        self.stopped = True


class MemoryPlaces:
    """So many places at each resource; lanes in line are served in the order in which they came."""

    def __init__(self, free: Mapping[Hashable, int]) -> None:
        self.free = dict(free)
        self.taken: Counter[Hashable] = Counter()
        self.in_line: dict[tuple[Hashable, str], Callable[[], bool]] = {}

    def enter(self, resource: Hashable, lane: str, granted: Callable[[], bool]) -> bool:
        assert (resource, lane) not in self.in_line
        if self.free[resource] > 0:
            self._take(resource)
            return True
        self.in_line[resource, lane] = granted
        return False

    def withdraw(self, resource: Hashable, lane: str) -> None:
        self.in_line.pop((resource, lane), None)

    def leave(self, resource: Hashable, lane: str) -> None:
        assert self.taken[resource] > 0
        self.taken[resource] -= 1
        self.open(resource, 1)

    def open(self, resource: Hashable, more: int) -> None:
        """So many places more."""
        self.free[resource] += more
        for each in [each for each in self.in_line if each[0] == resource]:
            while self.free[resource] > 0 and each in self.in_line:
                self._take(resource)
                if not self.in_line[each]():
                    del self.in_line[each]

    def _take(self, resource: Hashable) -> None:
        self.free[resource] -= 1
        self.taken[resource] += 1
