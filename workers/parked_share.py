"""Which partitions of `parked` a worker looks after.

Those with the numbers that it has of `retry.1s`, by which the group shares them out; and where `parked` has
more, as it may if partitions were added to it alone, each of the others goes with the number that it has
when they are counted round and round.
"""

from collections.abc import Collection

from broker.kafka.producing import Producer
from schemas import topics
from schemas.topics import RetryDelay

SHARED_BY = topics.retry(RetryDelay.SECOND)
_LOOK_EVERY_MS = 10_000


class ParkedShare:
    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._shared = self._parked = 0
        self._look_ms = 0

    async def of(self, held: Collection[int], now_ms: int) -> list[int]:
        """`held`: the numbers of the partitions of `retry.1s` that this worker has. Raises KafkaUnavailable.

        Of partitions that were added a moment ago two workers may each believe that they look after them.
        """
        if now_ms >= self._look_ms:
            self._shared = await self._grown(SHARED_BY, self._shared)
            self._parked = await self._grown(topics.PARKED, self._parked)
            self._look_ms = now_ms + _LOOK_EVERY_MS
        return looked_after(held, self._shared, self._parked)

    async def _grown(self, topic: str, known: int) -> int:
        """How many partitions there are; to ask for more than are known looks again."""
        return await self._producer.partitions(topic, known + 1) or known


def looked_after(held: Collection[int], shared: int, parked: int) -> list[int]:
    """Of `parked` partitions those that go with the ones held of `shared`. Pure."""
    every = max((shared, *(number + 1 for number in held)))
    return sorted({*held, *(number for number in range(parked) if number % every in held)}) if held else []
