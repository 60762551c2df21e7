"""A record whose work lasts, while what came behind it is done, gets a successor and holds nothing up."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

import pytest

from tests.unit.workers.engine.memory import MemoryRecord, MemorySource
from tests.unit.workers.engine.test_pump import LIMITS, P0, P1, Away, Poisoned
from tests.unit.workers.engine.turning import until
from workers.engine.lane import Flow, Lane, Piece
from workers.engine.pump import Pump
from workers.engine.rehoming import Rehoming
from workers.engine.slots import Slots
from workers.engine.source import Partition

_QUICK: Final[Sequence[bytes]] = (b"quick",) * 3 * LIMITS.span_max

Handle = Callable[[MemoryRecord], Awaitable[Awaitable[None] | None]]


class Work:
    """Does what is slow when the gate is open, and all else at once. Successors go to the log's end."""

    def __init__(self, values: Sequence[bytes | None], beside: Sequence[bytes | None] = ()) -> None:
        self.source = MemorySource({P0: [*values], P1: [*beside]})
        self.gate = asyncio.Event()
        self.done: list[int] = []
        self.rehomed: list[int] = []
        self.troubles: list[BaseException] = []
        self.failures = 0
        """How often no successor can be published."""

    async def handle(self, record: MemoryRecord) -> Awaitable[None] | None:
        if record.value == b"slow":
            await self.gate.wait()
        self.done.append(record.offset)
        return None

    async def rehome(self, record: MemoryRecord) -> None:
        if self.failures:
            self.failures -= 1
            raise Away
        self.rehomed.append(record.offset)
        self.source.append(Partition(record.topic, record.partition), b"successor")

    def committed(self) -> int:
        return self.source.committed.get(P0, 0)


class Late(Work):
    """Its successors are published when `publish` is set."""

    def __init__(self, values: Sequence[bytes | None]) -> None:
        super().__init__(values)
        self.asked, self.publish = asyncio.Event(), asyncio.Event()

    async def rehome(self, record: MemoryRecord) -> None:
        self.asked.set()
        await self.publish.wait()
        await super().rehome(record)


class Seen:
    """Rehoming by itself, of flows of which all has been read; `stuck`: where no successor is published."""

    def __init__(self) -> None:
        self.now = 0.0
        self.rehomed: list[tuple[Partition, int]] = []
        self.stuck: Partition | None = None
        self.rehoming: Rehoming[MemoryRecord] = Rehoming(
            self._rehome, lambda _: None, after_s=0.05, clock=lambda: self.now
        )

    async def _rehome(self, record: MemoryRecord) -> None:
        if Partition(record.topic, record.partition) == self.stuck:
            await _forever()
        self.rehomed.append((Partition(record.topic, record.partition), record.offset))

    def flow(self, partition: Partition, *unfinished: int) -> Flow[MemoryRecord]:
        lane: Lane[MemoryRecord] = Lane("bulk", MemorySource({}), 1, 1)
        flow = Flow(partition, lane, span_max=100, waiting_bytes_max=1)
        for offset in range(flow.span_max):
            flow.tracker.register(offset)
        for offset in {*range(flow.span_max)}.difference(unfinished):
            flow.tracker.finish(offset)
        return flow

    def begin(self, flow: Flow[MemoryRecord], offset: int) -> Piece[MemoryRecord]:
        piece = Piece(flow, MemoryRecord(*flow.partition, offset, b""))
        self.rehoming.begin(piece)
        return piece

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        looks = asyncio.create_task(self.rehoming.look_always())
        try:
            yield
        finally:
            looks.cancel()
            await asyncio.wait([looks])


async def _forever() -> None:
    await asyncio.Event().wait()


@asynccontextmanager
async def running(work: Work, after_s: float = 0.01, handle: Handle | None = None) -> AsyncIterator[None]:
    limits = replace(LIMITS, batch_max=1, under_way_max=1000, rehome_after_s=after_s)
    act = handle or work.handle
    pump: Pump[MemoryRecord] = Pump(
        "calls",
        {"bulk": work.source},
        lambda records: act(records[0]),
        Poisoned(),
        Slots(1000, {"bulk": 1}),
        limits,
        work.troubles.append,
    )
    pump.rehome_by(work.rehome)
    await pump.start()
    try:
        yield
    finally:
        await pump.stop(5)


async def test_what_lasts_does_not_hold_up_what_is_behind_it() -> None:
    work = Work([b"slow", *_QUICK])
    async with running(work):
        await until(lambda: work.committed() == 1 + len(_QUICK) + 1)
        assert work.rehomed == [0]
        assert 0 not in work.done
        work.gate.set()
        await until(lambda: 0 in work.done)
    assert sorted(work.done) == [*range(2 + len(_QUICK))]
    assert work.committed() == 2 + len(_QUICK)


async def test_what_has_begun_a_moment_ago_is_left_alone() -> None:
    work = Work([b"slow", *_QUICK])
    async with running(work, after_s=1000):
        await until(lambda: len(work.done) == LIMITS.span_max - 1)
        assert work.rehomed == []
        work.gate.set()
        await until(lambda: work.committed() == 1 + len(_QUICK))


async def test_what_holds_up_little_is_left_alone() -> None:
    """Also when another partition, which is held up, is relieved."""
    few = LIMITS.span_max // 10
    work = Work([b"slow", *_QUICK[:few]], beside=[b"quick", b"slow"])
    async with running(work):
        await until(lambda: len(work.done) == few + 1)
        work.source.append(P1, *_QUICK[:few])
        work.source.append(P1, b"quick")
        await until(lambda: work.rehomed == [1])
        work.source.append(P0, b"quick")
        await until(lambda: work.rehomed == [1, 0])
        work.gate.set()
        await until(lambda: work.committed() == few + 3)


async def test_a_successor_that_cannot_be_published_is_tried_again() -> None:
    work = Work([b"slow", *_QUICK])
    work.failures = 3
    async with running(work):
        await until(lambda: work.committed() == 2 + len(_QUICK))
        work.gate.set()
    assert work.rehomed == [0]
    assert [type(error) for error in work.troubles] == [Away] * 3


async def test_what_is_to_be_done_again_is_left_to_its_successor() -> None:
    work = Work([b"again", *_QUICK])
    tries = 0

    async def handle(record: MemoryRecord) -> Awaitable[None] | None:
        nonlocal tries
        if record.value == b"again":
            tries += 1
            return asyncio.sleep(0)
        return await work.handle(record)

    async with running(work, handle=handle):
        await until(lambda: work.rehomed == [0])
        await until(lambda: work.committed() == 2 + len(_QUICK))
        last = tries
        for _ in range(20):
            await asyncio.sleep(0)
        assert tries <= last + 1


async def test_what_waits_to_be_done_again_is_let_go_when_it_has_a_successor() -> None:
    """Else each successor in turn would wait for the same call, and be under way for as long."""
    work = Work([b"wait", *_QUICK])
    waits: list[asyncio.Task[None]] = []

    async def handle(record: MemoryRecord) -> Awaitable[None] | None:
        if record.value != b"wait":
            return await work.handle(record)
        waits.append(asyncio.create_task(_forever()))
        return waits[-1]

    async with running(work, handle=handle):
        await until(lambda: work.committed() == 2 + len(_QUICK))
        await until(waits[0].done)
    assert (len(waits), work.rehomed) == (1, [0])


async def test_nothing_behind_what_has_begun_a_moment_ago_gets_a_successor() -> None:
    """It would free nothing: the first keeps all behind it from being committed."""
    seen = Seen()
    flow = seen.flow(P0, 0, 1, 2)
    seen.begin(flow, 0)
    seen.begin(flow, 2)
    seen.now = 10.0
    seen.begin(flow, 1)
    async with seen.looking():
        await until(lambda: bool(seen.rehomed))
        assert seen.rehomed == [(P0, 0)]
        seen.now = 20.0
        await until(lambda: len(seen.rehomed) == 3)
        await until(lambda: flow.tracker.commit_point == flow.span_max)


async def test_successors_that_cannot_be_published_hold_up_their_partition_alone() -> None:
    seen = Seen()
    seen.stuck = P0
    stuck, free = seen.flow(P0, 0), seen.flow(P1, 0)
    seen.begin(stuck, 0)
    seen.begin(free, 0)
    seen.now = 10.0
    async with seen.looking():
        await until(lambda: free.tracker.commit_point == free.span_max)
    assert stuck.tracker.commit_point == 0


async def succeeded() -> tuple[Seen, Flow[MemoryRecord], Piece[MemoryRecord]]:
    """A record under way that has a successor."""
    seen = Seen()
    flow = seen.flow(P0, 0)
    piece = seen.begin(flow, 0)
    seen.now = 10.0
    async with seen.looking():
        await until(lambda: flow.tracker.commit_point == flow.span_max)
    return seen, flow, piece


async def test_what_is_in_line_again_is_left_to_its_successor() -> None:
    seen, flow, piece = await succeeded()
    assert not seen.rehoming.goes_on(piece)
    assert seen.rehoming.goes_on(seen.begin(flow, 0))


async def test_what_comes_back_with_a_successor_waits_for_nothing() -> None:
    seen, _, piece = await succeeded()
    waits = asyncio.create_task(seen.rehoming.wait(piece, _forever()))
    await asyncio.wait([waits], timeout=10)
    assert waits.cancelled()


async def test_of_a_batch_nothing_is_let_go() -> None:
    pump: Pump[MemoryRecord] = Pump(
        "calls", {}, lambda records: Work([]).handle(records[0]), Poisoned(), Slots(1, {"bulk": 1}), LIMITS
    )
    with pytest.raises(ValueError, match="batch"):
        pump.rehome_by(Work([]).rehome)


async def test_what_ends_while_its_successor_is_published_is_finished_once() -> None:
    work = Late([b"slow", *_QUICK])
    async with running(work):
        await work.asked.wait()
        work.gate.set()
        await until(lambda: 0 in work.done)
        work.publish.set()
        await until(lambda: work.committed() == 2 + len(_QUICK))
