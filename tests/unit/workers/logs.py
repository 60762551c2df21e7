"""Topics in memory, for a worker's pumps."""

from collections.abc import Mapping, Sequence

from broker.records import Incoming
from tests.unit.workers.engine.memory import MemorySource
from tests.unit.workers.memory import Received
from workers.engine.source import Assignment, Fetched, Partition


class Log:
    """Topics of one partition each, in memory."""

    def __init__(self, records: Mapping[str, Sequence[Received]]) -> None:
        self.records = {Partition(topic, 0): found for topic, found in records.items()}
        self.offsets = MemorySource({place: [b""] * len(found) for place, found in self.records.items()})

    async def start(self, assignment: Assignment) -> None:
        await self.offsets.start(assignment)

    async def fetch(self, partition: Partition, records_max: int, wait_ms: int) -> Fetched[Incoming]:
        fetched = await self.offsets.fetch(partition, records_max, wait_ms)
        return Fetched([self.records[partition][one.offset] for one in fetched.records])

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        await self.offsets.commit(offsets)

    def end(self, partition: Partition) -> int | None:
        return self.offsets.end(partition)

    async def stop(self) -> None:
        await self.offsets.stop()

    def append(self, topic: str, record: Received) -> None:
        place = Partition(topic, 0)
        self.records[place] = [*self.records[place], record]
        self.offsets.append(place, b"")
