"""Each delay waits by itself: what waits long holds up nothing that waits briefly."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

from broker.kafka.reading import CoordinateReader
from broker.records import Incoming
from broker.settings import Settings
from broker.store.parking import ParkedRow, Parking
from schemas import topics
from schemas.topics import Lane, RetryDelay
from tests.unit.workers.engine.turning import until
from tests.unit.workers.logs import Log
from tests.unit.workers.memory import NOW_MS, MemoryProducer, Received, received, rulings, state, tools
from tests.unit.workers.test_deadlines import Index
from workers.app import Worker
from workers.crowds import Room
from workers.engine.pump import Pump
from workers.engine.source import Source
from workers.parts import Parts
from workers.waker import Waker

LONG, BRIEF = topics.retry(RetryDelay.TEN_MINUTES), topics.retry(RetryDelay.SECOND)
MANY = 5_500
"""More than a process holds back."""
FEW = 500
TURNS = 50


class NoRoom:
    async def lines(self, partitions: Sequence[int], limit: int) -> AsyncIterator[list[ParkedRow]]:
        nobody: list[list[ParkedRow]] = []
        for line in nobody:
            yield line


class Delays(Worker):
    """RETRY of one process, with records of the longest delay: the first wait, the others are due at once."""

    def __init__(self, waiting: int, due: int = 0) -> None:
        super().__init__(Settings(), ["retry"])
        self.producer = MemoryProducer()
        self.looks = 0
        self.kit = replace(tools(self.producer), clock=self._look)
        self._parts = cast(Parts, SimpleNamespace(tools=self.kit, settings=self.settings))
        self.logs: dict[str, Log] = {}
        long = [self.sealed(LONG, NOW_MS + 600_000)] * waiting + [self.sealed(LONG, NOW_MS)] * due
        self.long = [record._replace(offset=offset) for offset, record in enumerate(long)]

    async def is_full(self) -> None:
        """Return when no more records are looked at."""
        before = -1
        while self.looks != before:
            before = self.looks
            for _ in range(TURNS):
                await asyncio.sleep(0)

    def bring(self, topic: str, record: Received) -> None:
        self.logs[topic].append(topic, record)

    def _look(self) -> int:
        self.looks += 1
        return NOW_MS

    def sealed(self, topic: str, due_ms: int) -> Received:
        return received(self.kit.sealer.seal(topic, state(due_ms=due_ms), b"{}"))

    def _source(self, group: str, *names: str, pattern: str | None = None) -> Source[Incoming]:
        log = Log({name: self.long if name == LONG else () for name in names})
        self.logs.update(dict.fromkeys(names, log))
        return log

    def _make_waker(self, parts: Parts, pump: Pump[Incoming]) -> Waker:
        index, reader = cast(Parking, Index()), cast(CoordinateReader, None)
        return Waker(
            parts.tools, index, reader, cast(Room, NoRoom()), rulings(parts.tools), 3_600.0, lambda: [0]
        )


async def test_records_that_wait_ten_minutes_do_not_hold_up_one_that_waits_a_second() -> None:
    worker = Delays(waiting=MANY)
    await worker.start()
    await worker.is_full()
    worker.bring(BRIEF, worker.sealed(BRIEF, NOW_MS))
    await until(lambda: bool(worker.producer.sent))
    await worker.stop()
    assert [sent.topic for sent in worker.producer.sent] == [topics.admitted(Lane.STANDARD)]


async def test_those_behind_a_few_that_wait_as_long_go_on_when_they_are_due() -> None:
    worker = Delays(waiting=FEW, due=FEW)
    await worker.start()
    await until(lambda: len(worker.producer.sent) == FEW)
    await worker.stop()
