"""Parked jobs are woken whatever a round of the waker comes to, and no more than there is room for."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import RedisUnavailable
from broker.identity.directory import Directory
from broker.kafka.reading import CoordinateReader
from broker.quota.counters import NodeOf
from broker.quota.gate import Gate, Granted, Over, ReserveRequest
from broker.quota.lines import CROWDED
from broker.records import Incoming
from broker.settings import ReserveSettings
from broker.store.crowds import Waiting
from broker.store.parking import Line as Moved
from broker.store.parking import ParkedRow, Parking, Place
from schemas import topics
from schemas.outcomes import Cancelled, Expired
from schemas.state import State
from schemas.topics import Coordinate, Lane
from tests.unit.workers.dispatching import OneProject
from tests.unit.workers.engine.turning import until
from tests.unit.workers.memory import (
    HOLD,
    NOW_MS,
    MemoryCancels,
    MemoryProducer,
    received,
    rulings,
    state,
    tools,
)
from tests.unit.workers.test_deadlines import Index, OneRecord
from workers.crowds import Room
from workers.requests import hold_id
from workers.waker import Waker, affordable

ADMITTED, OUTCOMES = topics.admitted(Lane.STANDARD), topics.outcomes(Lane.STANDARD)
PROJECT = 3
LINE = f"2/p{PROJECT}"
MAX = 4


def row(offset: int, reason: str = CROWDED, record_bytes: int = 2) -> ParkedRow:
    job = UUID(int=offset)
    line = LINE if reason == CROWDED else None
    return ParkedRow(0, offset, 1, job, 1, 1, PROJECT, "standard", NOW_MS, reason, NOW_MS, record_bytes, line)


class NoRoom:
    """Nobody knows how much room there is, until `fault` is None."""

    def __init__(self, fault: Exception | None) -> None:
        self.fault = fault
        self.asked = 0

    async def lines(self, partitions: Sequence[int], limit: int) -> AsyncIterator[list[ParkedRow]]:
        self.asked += 1
        if self.fault is not None:
            raise self.fault
        nobody: list[list[ParkedRow]] = []
        for line in nobody:
            yield line


class Night:
    """A waker with one job that is due."""

    def __init__(self, room: NoRoom) -> None:
        self.producer = MemoryProducer()
        kit = tools(self.producer)
        record = received(kit.sealer.seal(topics.PARKED, state(), b"{}"))
        self.index = Index(row(0, "requests_per_minute"))
        reader, parking = cast(CoordinateReader, OneRecord(record)), cast(Parking, self.index)
        self.waker = Waker(kit, parking, reader, cast(Room, room), rulings(kit), 0.0, lambda: [0])


async def test_what_is_due_is_woken_while_the_gate_is_away() -> None:
    night = Night(NoRoom(RedisUnavailable("away")))
    with pytest.raises(RedisUnavailable):
        await night.waker.wake()
    assert [sent.topic for sent in night.producer.sent] == [ADMITTED]
    assert night.index.rows == []


async def test_a_round_that_fails_in_an_unforeseen_way_is_not_the_last() -> None:
    room = NoRoom(RuntimeError("nobody thought of it"))
    running = asyncio.create_task(Night(room).waker.run())
    await until(lambda: room.asked >= 2)
    room.fault, asked = None, room.asked
    await until(lambda: room.asked > asked)
    assert not running.done()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


# room


class Line(Index):
    """Jobs of one project that wait for room; none of them is due."""

    async def due(self, partitions: Sequence[int], at_ms: int, limit: int) -> list[ParkedRow]:
        return []

    async def lines(self) -> list[str]:
        return [LINE] if self.rows else []

    async def first(self, line: str, partitions: Sequence[int], limit: int) -> list[ParkedRow]:
        return [row for row in self.rows if row.line == line][:limit]

    async def move(self, places: Mapping[Place, Moved]) -> None:
        for index, row in enumerate(self.rows):
            line = places.get(row.place)
            if line is not None:
                self.rows[index] = replace(row, line=line.name, reason=line.reason)


class Narrow:
    """A gate with room for MAX jobs. `barred`: what it says of the others first."""

    def __init__(self) -> None:
        self.holds: set[str] = set()
        self.barred: dict[str, Over] = {}
        self.claims = MAX
        """Of how many in flight it tells too little, as it may be by the time that a hold is taken."""

    async def jobs_in_flight(self, nodes: Sequence[NodeOf]) -> list[int]:
        return [len(self.holds)]

    async def reserve(self, requests: Sequence[ReserveRequest]) -> list[Granted | Over]:
        return [self._reserve(request) for request in requests]

    def _reserve(self, request: ReserveRequest) -> Granted | Over:
        if request.hold_id in self.barred:
            return self.barred[request.hold_id]
        if request.hold_id not in self.holds and len(self.holds) >= self.claims:
            return Over(CROWDED, "project", NOW_MS, never=False, held=True)
        self.holds.add(request.hold_id)
        return Granted(HOLD.model_copy(update={"id": request.hold_id}), started=False)


class Records:
    """The topic `parked`; how much of it was read at a time."""

    def __init__(self) -> None:
        self.records: dict[int, Incoming] = {}
        self.read_at_once: list[int] = []

    async def read(self, places: Collection[Coordinate]) -> Mapping[Coordinate, Incoming]:
        self.read_at_once.append(len(places))
        return {at: self.records[at.offset] for at in places if at.offset in self.records}


class Crowd:
    """A line of jobs, and a waker of theirs. RESERVE does nothing."""

    def __init__(self, number: int, record_bytes: int = 2, **fields: Any) -> None:
        self.producer, self.gate, self.cancels = MemoryProducer(), Narrow(), MemoryCancels()
        self.kit = tools(self.producer, self.cancels)
        self.index, self.records = Line(), Records()
        for offset in range(number):
            self.join(offset, record_bytes, **fields)
        waiting, directory = cast(Waiting, self.index), cast(Directory, OneProject())
        settings = ReserveSettings(jobs_in_flight_max=MAX)
        room = Room(waiting, cast(Gate, self.gate), directory, settings)
        reader, parking = cast(CoordinateReader, self.records), cast(Parking, self.index)
        self.waker = Waker(self.kit, parking, reader, room, rulings(self.kit), 0.0, lambda: [0])

    def join(self, offset: int, record_bytes: int = 2, **fields: Any) -> None:
        waits = state(job_id=UUID(int=offset), hold=None, parked_for=CROWDED, **fields)
        self.records.records[offset] = received(self.kit.sealer.seal(topics.PARKED, waits, b"{}"), 0, offset)
        self.index.rows.append(row(offset, record_bytes=record_bytes))

    @property
    def sent(self) -> list[State]:
        return [self.kit.sealer.open(received(sent)).state for sent in self.producer.sent]

    @property
    def woken(self) -> list[int]:
        return [one.job_id.int for one in self.sent if one.outcome is None]

    @property
    def waiting(self) -> list[int]:
        return [one.offset for one in self.index.rows]


async def test_while_reserve_is_slow_no_more_are_woken_than_there_is_room_for() -> None:
    crowd = Crowd(10)
    for _ in range(5):
        await crowd.waker.wake()
    assert (crowd.woken, crowd.waiting) == ([0, 1, 2, 3], [4, 5, 6, 7, 8, 9])
    crowd.gate.holds.remove(hold_id(crowd.sent[2]))
    for _ in range(5):
        await crowd.waker.wake()
    assert (crowd.woken, crowd.waiting) == ([0, 1, 2, 3, 4], [5, 6, 7, 8, 9])


async def test_who_was_woken_goes_to_reserve_with_its_hold_and_is_not_sent_back() -> None:
    """Its end, should it be called off on the way, gives the hold back."""
    crowd = Crowd(1)
    await crowd.waker.wake()
    [woken] = crowd.sent
    assert [sent.topic for sent in crowd.producer.sent] == [ADMITTED]
    assert woken.hold is not None
    assert woken.hold.id == hold_id(woken)
    assert (woken.parked_for, woken.due_ms) == (CROWDED, None)


async def test_where_room_is_gone_by_the_time_they_keep_their_places() -> None:
    crowd = Crowd(6)
    crowd.gate.claims = 1
    await crowd.waker.wake()
    assert (crowd.woken, crowd.waiting) == ([0], [1, 2, 3, 4, 5])


async def test_who_is_stopped_on_another_level_now_stands_in_that_line_instead() -> None:
    """And goes neither to RESERVE nor through Kafka for it."""
    crowd = Crowd(2)
    first = hold_id(state(job_id=UUID(int=0)))
    crowd.gate.barred[first] = Over(CROWDED, "organization", NOW_MS, never=False, held=True)
    await crowd.waker.wake()
    assert (crowd.woken, crowd.waiting) == ([1], [0])
    [row] = crowd.index.rows
    assert (row.line, row.reason) == ("2/o", "organization_jobs_in_flight")


async def test_what_another_limit_bars_leaves_the_line_without_a_hold_for_reserve_to_judge() -> None:
    crowd = Crowd(2)
    first = hold_id(state(job_id=UUID(int=0)))
    crowd.gate.barred[first] = Over("nanodollars_per_day", "project", NOW_MS + 10**9, never=False, held=False)
    await crowd.waker.wake()
    assert (crowd.woken, crowd.waiting) == ([0, 1], [])
    assert [one.hold is None for one in crowd.sent] == [True, False]


@pytest.mark.parametrize("is_off", [True, False])
async def test_what_ends_takes_nobody_s_room(is_off: bool) -> None:
    crowd = Crowd(2, deadline_ms=NOW_MS + 60_000 if is_off else NOW_MS)
    if is_off:
        crowd.cancels.call_off(UUID(int=0))
        crowd.cancels.call_off(UUID(int=1))
        await crowd.kit.tombstones.refresh()
    await crowd.waker.wake()
    end = Cancelled(stage="retry") if is_off else Expired(stage="retry")
    assert [one.outcome for one in crowd.sent] == [end, end]
    assert (crowd.gate.holds, crowd.waiting) == (set(), [])


async def test_a_worker_that_died_before_it_forgot_wakes_them_again_under_the_same_holds() -> None:
    crowd = Crowd(2)
    await crowd.waker.wake()
    crowd.index.rows = [row(0), row(1)]
    await crowd.waker.wake()
    assert crowd.woken == [0, 1, 0, 1]
    assert len(crowd.gate.holds) == 2


# bytes

MEBIBYTE = 1024 * 1024


async def test_large_records_are_read_a_few_at_a_time() -> None:
    crowd = Crowd(4, record_bytes=7 * MEBIBYTE)
    await crowd.waker.wake()
    await crowd.waker.wake()
    assert crowd.records.read_at_once == [2, 2]
    assert crowd.woken == [0, 1, 2, 3]


async def test_what_is_due_is_read_a_few_at_a_time_too_and_another_round_follows_at_once() -> None:
    night = Night(NoRoom(None))
    night.index.rows = [row(offset, "requests_per_minute", 7 * MEBIBYTE) for offset in range(3)]
    assert await night.waker.wake()
    assert [one.offset for one in night.index.rows] == [2]
    assert not await night.waker.wake()


@given(st.lists(st.integers(0, 50), max_size=20), st.integers(0, 100))
def test_as_many_as_can_be_afforded_in_their_order_and_one_at_least(sizes: list[int], most: int) -> None:
    rows = [row(offset, record_bytes=size) for offset, size in enumerate(sizes)]
    taken = affordable(rows, most)
    assert taken == rows[: len(taken)]
    assert bool(taken) == bool(rows)
    assert len(taken) <= 1 or sum(sizes[: len(taken)]) <= most
    assert len(taken) == len(rows) or sum(sizes[: len(taken) + 1]) > most
