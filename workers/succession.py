"""When may a worker take over what another began? After SETTLE has seen all that the other can have sent."""

import asyncio
from collections.abc import Awaitable

from broker.kafka.producing import Producer
from broker.kafka.reading import CoordinateReader
from broker.records import partition_of
from broker.store.settlement import Settlements
from schemas import topics
from schemas.state import State


class Succession:
    def __init__(
        self, producer: Producer, reader: CoordinateReader, settlements: Settlements, check_s: float
    ) -> None:
        self._producer = producer
        self._reader = reader
        self._settlements = settlements
        self._check_s = check_s

    def wait(self) -> Awaitable[None]:
        return asyncio.sleep(self._check_s)

    async def settled_up_to_now(self, state: State) -> bool:
        """Whether SETTLE's stored position has come to the present end of the job's partition of outcomes.

        Ask only once the owner is dead: what it had acknowledged by then lies before that end.
        """
        topic = topics.outcomes(state.lane)
        partitions = await self._producer.partitions(topic)
        partition = partition_of(state.job_id.bytes, partitions or 1)
        end = await self._reader.end(topic, partition)
        position = await self._settlements.position(topic, partition)
        return position.next_offset >= end
