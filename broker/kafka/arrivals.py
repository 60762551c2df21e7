"""Which of a consumer's partitions has records at hand, so that a fetch wakes the readers of those alone.

aiokafka wakes whoever waits in `getmany` whenever anything comes. With a reader for each partition most were
woken for nothing, which took up to a twentieth of a worker's CPU where jobs come one at a time.
"""

import asyncio
from collections.abc import Collection

from aiokafka import AIOKafkaConsumer, TopicPartition


class Arrivals:
    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        """Of a consumer that is started."""
        self._fetcher = consumer._fetcher  # noqa: SLF001  # aiokafka tells of what it has fetched nowhere else
        self._waiting: dict[TopicPartition, asyncio.Future[None]] = {}
        self._watch: asyncio.Task[None] | None = None

    async def wait(self, partition: TopicPartition, wait_s: float) -> None:
        """Until there are records of the partition to be had, or an error; for so long at the most, which is
        the same for all. One waits for a partition at a time. Raises what ends the consumer.
        """
        if partition in self._at_hand():
            return
        arrival: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[partition] = arrival
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._watch_always(wait_s), name="arrivals")
        try:
            await arrival
        finally:
            if self._waiting.get(partition) is arrival:
                del self._waiting[partition]

    def close(self) -> None:
        """Let go whoever waits."""
        if self._watch is not None:
            self._watch.cancel()
        self._let_go(list(self._waiting))

    def _at_hand(self) -> Collection[TopicPartition]:
        found: Collection[TopicPartition] = self._fetcher._records  # noqa: SLF001
        return found

    async def _watch_always(self, wait_s: float) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_s
        try:
            while self._waiting:
                anything = self._fetcher._create_fetch_waiter()  # noqa: SLF001
                try:
                    done, _ = await asyncio.wait((anything,), timeout=until - loop.time())
                finally:
                    anything.cancel()
                if done:
                    anything.result()
                if loop.time() >= until:
                    self._let_go(list(self._waiting))
                    until = loop.time() + wait_s
                else:
                    self._let_go([partition for partition in self._at_hand() if partition in self._waiting])
        except Exception as error:  # noqa: BLE001  # raised where they wait
            for arrival in self._waiting.values():
                if not arrival.done():
                    arrival.set_exception(error)

    def _let_go(self, partitions: Collection[TopicPartition]) -> None:
        for partition in partitions:
            arrival = self._waiting.pop(partition)
            if not arrival.done():
                arrival.set_result(None)
