"""RETRY: hold back what may be tried later, and wake what was parked. Always by way of RESERVE.

retry.<delay>   each record waits until it is due   → admitted.<lane>
parked          woken by its index, in order        → admitted.<lane>
called off, or past its deadline                    → outcomes
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence

from broker.errors import NotBelieved
from broker.kafka.reading import CoordinateReader
from broker.records import Incoming, Inner, Outgoing
from broker.store.crowds import CROWDED
from broker.store.parking import ParkedRow, Parking
from schemas import topics
from schemas.topics import Coordinate
from workers.crowds import Room
from workers.insistence import insist
from workers.outlets import Outlets
from workers.tools import Tools

WAITING_MAX = 1_000
"""Records of one delay that a process holds back at a time. Those behind them are read when the first are
due, and none passes later than its delay's longest wait after it was appended: all before it are due by then.
"""
_WAKE_MAX = 500
_COUNT_EVERY_MS = 10_000


class Retry:
    """One record at a time, without a slot while it waits."""

    def __init__(self, tools: Tools) -> None:
        self._producer = tools.producer
        self._sealer = tools.sealer
        self._clock = tools.clock
        self._metrics = tools.metrics
        self._outlets = tools.outlets
        self._tombstones = tools.tombstones

    async def handle(self, records: Sequence[Incoming]) -> Awaitable[None] | None:
        (record,) = records
        try:
            inner = self._sealer.open(record)
        except NotBelieved as error:
            self._metrics.dead_letter("retry", error.reason)
            await self._producer.send(self._outlets.dead_record(record, "retry", error.reason.value))
            return None
        wait_ms = (inner.state.due_ms or 0) - self._clock()
        is_off = self._tombstones.covers(inner.state)
        if wait_ms > 0 and not is_off:
            return self._tombstones.unless_cancelled(inner.state, asyncio.sleep(wait_ms / 1000))
        await self._producer.send(back(inner, self._outlets, self._clock(), is_off=is_off))
        return None


class Waker:
    """Wakes parked jobs whose time has come, or for whom there is room: best lane first, then oldest, a
    bounded number at a time.
    """

    def __init__(
        self,
        tools: Tools,
        parking: Parking,
        reader: CoordinateReader,
        room: Room,
        every_s: float,
        partitions: Callable[[], Collection[int]],
    ) -> None:
        """`partitions`: those of `parked` that this worker looks after; no two workers share one."""
        self._parking = parking
        self._reader = reader
        self._room = room
        self._producer = tools.producer
        self._sealer = tools.sealer
        self._clock = tools.clock
        self._metrics = tools.metrics
        self._every_s = every_s
        self._count_due_ms = 0
        self._partitions = partitions
        self._outlets = tools.outlets
        self._tombstones = tools.tombstones

    async def run(self) -> None:
        """Until cancelled. What is away is waited for. After a round that failed otherwise there is another:
        nobody else wakes what is parked here.
        """
        while True:
            try:
                woken = await insist(self.wake, self._metrics, "retry")
            except Exception as error:  # noqa: BLE001 - counted and logged
                self._metrics.trouble("retry", error)
                woken = 0
            if woken < _WAKE_MAX:
                await asyncio.sleep(self._every_s)

    async def wake(self) -> int:
        """One round; how many were woken because of the time, which is done without the gate.

        A worker that dies between publishing and forgetting wakes the same jobs again, which is harmless:
        RESERVE and DISPATCH know a hold and an attempt by their names.
        """
        await self._count()
        partitions = sorted(self._partitions())
        due = await self._parking.due(partitions, self._clock(), _WAKE_MAX)
        await self._let_go(due)
        await self._let_go(await self._room.first(partitions, _WAKE_MAX))
        return len(due)

    async def _let_go(self, rows: Sequence[ParkedRow]) -> None:
        if rows:
            places = [row.place for row in rows]
            await self._producer.send_all(await self._read([Coordinate(topics.PARKED, *at) for at in places]))
            await self._parking.unpark(places)

    async def _count(self) -> None:
        now_ms = self._clock()
        if now_ms >= self._count_due_ms:
            self._count_due_ms = now_ms + _COUNT_EVERY_MS
            self._metrics.parked(await self._parking.count())

    async def _read(self, places: Sequence[Coordinate]) -> list[Outgoing]:
        found = await self._reader.read(places)
        return [self._back(found[at]) for at in places if at in found]

    def _back(self, record: Incoming) -> Outgoing:
        try:
            inner = self._sealer.open(record)
            is_off = self._tombstones.covers(inner.state)
            return back(inner, self._outlets, self._clock(), is_off=is_off)
        except NotBelieved as error:
            self._metrics.dead_letter("retry", error.reason)
            return self._outlets.dead_record(record, "retry", error.reason.value)


def back(inner: Inner, outlets: Outlets, now_ms: int, *, is_off: bool) -> Outgoing:
    """To RESERVE, or out when it is called off or too late. Who waited for room keeps the place in line."""
    if is_off:
        return outlets.cancelled(inner.state, "retry")
    if now_ms >= inner.state.deadline_ms:
        return outlets.expired(inner.state, "retry")
    in_line = CROWDED if inner.state.parked_for == CROWDED else None
    state = inner.state.model_copy(update={"due_ms": None, "parked_for": in_line})
    return outlets.onward(topics.admitted(state.lane), inner, state)
