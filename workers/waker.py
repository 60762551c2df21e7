"""Parked jobs go on when their time has come, or when there is room for them.

parked   its time has come                      → admitted.<lane>
         there is room: under a hold taken here → admitted.<lane>
         called off, or past its deadline       → outcomes
        it waits for a reviewer                → as `review` says

The hold is taken here, and not by RESERVE alone, so that a job that was woken counts at once: else, while
RESERVE is slow or away, the same room would be given again and again.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from broker.errors import NotBelieved
from broker.kafka.reading import CoordinateReader
from broker.quota.gate import Granted, Over
from broker.quota.lines import is_crowded, line_at
from broker.records import Inner, Outgoing
from broker.store.parking import REVIEW, Line, ParkedRow, Parking, Place
from schemas import topics
from schemas.topics import Coordinate
from workers.crowds import Room
from workers.insistence import insist
from workers.parked_share import ParkedShare
from workers.retry import ended, onward
from workers.review import Rulings
from workers.tools import Tools

_WAKE_MAX = 500
_WAKE_BYTES_MAX = 16 * 1024 * 1024
"""Of the records that are read at once, unless the first alone is more."""
_COUNT_EVERY_MS = 10_000


class _Parked(NamedTuple):
    place: Place
    inner: Inner


class _Read(NamedTuple):
    """`going`: the jobs that go on; `out`: the last of those that do not; `waiting`: where others stay."""

    going: list[_Parked]
    out: list[Outgoing]
    waiting: set[Place]


class Waker:
    """Wakes best lane first, then oldest, a bounded number at a time."""

    def __init__(
        self,
        tools: Tools,
        parking: Parking,
        reader: CoordinateReader,
        room: Room,
        rulings: Rulings,
        every_s: float,
        held: Callable[[], Collection[int]],
    ) -> None:
        """`held`: the numbers of the partitions of `retry.1s` that this worker has, and no other."""
        self._parking = parking
        self._reader = reader
        self._room = room
        self._rulings = rulings
        self._producer = tools.producer
        self._sealer = tools.sealer
        self._clock = tools.clock
        self._metrics = tools.metrics
        self._every_s = every_s
        self._count_due_ms = 0
        self._held = held
        self._share = ParkedShare(tools.producer)
        self._outlets = tools.outlets
        self._tombstones = tools.tombstones

    async def run(self) -> None:
        """Until cancelled. What is away is waited for. After a round that failed otherwise there is another:
        nobody else wakes what is parked here.
        """
        while True:
            try:
                is_more = await insist(self.wake, self._metrics, "retry")
            except Exception as error:  # noqa: BLE001 - counted and logged
                self._metrics.trouble("retry", error)
                is_more = False
            if not is_more:
                await asyncio.sleep(self._every_s)

    async def wake(self) -> bool:
        """One round: first those whose time has come, which is done without the gate. Whether there may be
        more of these.

        A worker that dies between publishing and forgetting wakes the same jobs again, which is harmless:
        RESERVE and DISPATCH know a hold and an attempt by their names.
        """
        await self._count()
        partitions = await self._share.of(self._held(), self._clock())
        due = await self._parking.due(partitions, self._clock(), _WAKE_MAX)
        woken = affordable(due, _WAKE_BYTES_MAX)
        await self._let_go(woken)
        async for line in self._room.lines(partitions, _WAKE_MAX):
            await self._let_in(affordable(line, _WAKE_BYTES_MAX))
        return len(woken) == _WAKE_MAX or len(woken) < len(due)

    async def _let_go(self, rows: Sequence[ParkedRow]) -> None:
        parked, out, waiting = await self._read(rows)
        out += [onward(each.inner, self._outlets) for each in parked]
        await self._send(out, [row.place for row in rows if row.place not in waiting])

    async def _let_in(self, rows: Sequence[ParkedRow]) -> None:
        """What finds no room after all keeps its place, or stands in the line of the limit that stops it now;
        what is over a limit of another kind RESERVE is to judge.
        """
        parked, out, staying = await self._read(rows)
        verdicts = await self._room.take([each.inner.state for each in parked])
        lines = {row.place: row.line for row in rows}
        moved: dict[Place, Line] = {}
        for each, verdict in zip(parked, verdicts, strict=True):
            if isinstance(verdict, Over) and is_crowded(verdict):
                staying.add(each.place)
                line = Line(line_at(each.inner.state, verdict.level), verdict.code)
                if line.name != lines[each.place]:
                    moved[each.place] = line
            else:
                hold = verdict.hold if isinstance(verdict, Granted) else None
                out.append(onward(each.inner, self._outlets, hold))
        await self._parking.move(moved)
        await self._send(out, [row.place for row in rows if row.place not in staying])

    async def _send(self, out: Sequence[Outgoing], places: Sequence[Place]) -> None:
        if out:
            await self._producer.send_all(out)
        await self._parking.unpark(places)

    async def _count(self) -> None:
        now_ms = self._clock()
        if now_ms >= self._count_due_ms:
            self._count_due_ms = now_ms + _COUNT_EVERY_MS
            self._metrics.parked(await self._parking.count())
            self._metrics.reviews(await self._rulings.count())

    async def _read(self, rows: Sequence[ParkedRow]) -> _Read:
        """One whose record is gone is nowhere in it."""
        coordinates = {Coordinate(topics.PARKED, *row.place): row.place for row in rows}
        found = await self._reader.read(coordinates) if rows else {}
        read = _Read([], [], set())
        held: list[_Parked] = []
        for at, place in coordinates.items():
            if (record := found.get(at)) is None:
                continue
            try:
                each = _Parked(place, self._sealer.open(record))
            except NotBelieved as error:
                self._metrics.dead_letter("retry", error.reason)
                read.out.append(self._outlets.dead_record(record, "retry", error.reason.value))
                continue
            held.append(each) if each.inner.state.parked_for == REVIEW else self._judge(each, read)
        await self._follow(held, read)
        return read

    def _judge(self, each: _Parked, read: _Read) -> None:
        is_off = self._tombstones.covers(each.inner.state)
        end = ended(each.inner, self._outlets, self._clock(), is_off=is_off)
        if end is None:
            read.going.append(each)
        else:
            read.out.append(end)

    async def _follow(self, held: Sequence[_Parked], read: _Read) -> None:
        for each, way in zip(held, await self._rulings.follow([one.inner for one in held]), strict=True):
            if way is None:
                read.waiting.add(each.place)
            elif isinstance(way, Inner):
                self._judge(each._replace(inner=way), read)
            else:
                read.out.append(way)


def affordable(rows: Sequence[ParkedRow], bytes_max: int) -> Sequence[ParkedRow]:
    """The first ones whose records are so many bytes together; one at least. Pure."""
    total = 0
    for number, row in enumerate(rows):
        total += row.record_bytes
        if number and total > bytes_max:
            return rows[:number]
    return rows
