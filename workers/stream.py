"""One group's consumer as a source of the engine's."""

from collections.abc import Mapping
from typing import cast

from broker.kafka.consuming import GroupSource, Owner, Place
from broker.records import Incoming
from workers.engine.source import Assignment, Fetched, Partition, Unreadable


class Stream:
    """Implements `workers.engine.source.Source`. Partitions are equal on both sides."""

    def __init__(self, source: GroupSource) -> None:
        self._source = source

    async def start(self, assignment: Assignment) -> None:
        await self._source.start(cast(Owner, assignment))

    async def fetch(self, partition: Partition, records_max: int, wait_ms: int) -> Fetched[Incoming]:
        records, unread = await self._source.fetch(Place(*partition), records_max, wait_ms)
        return Fetched(records, None if unread is None else Unreadable(*unread))

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        await self._source.commit({Place(*partition): offset for partition, offset in offsets.items()})

    def end(self, partition: Partition) -> int | None:
        return self._source.end(Place(*partition))

    async def stop(self) -> None:
        await self._source.stop()
