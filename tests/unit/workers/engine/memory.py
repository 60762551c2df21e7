"""The engine's source in memory: partitions are lists."""

import asyncio
from collections.abc import Mapping
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
