"""Rules that hold whatever is asked for: never over capacity, reserves kept, no lane starved, fair shares."""

import asyncio
from collections import Counter, deque
from collections.abc import Mapping
from itertools import permutations
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.workers.engine.thorough import THOROUGH
from workers.engine.slots import Slots

WEIGHTS = {"interactive": 16, "standard": 4, "bulk": 1}
LANES = list(WEIGHTS)
CAPACITY = 8


class Ask(NamedTuple):
    lane: str
    wanted: int


class End(NamedTuple):
    """One of those that work ends, or gives up waiting."""

    which: int


steps = st.lists(
    st.builds(Ask, st.sampled_from(LANES), st.integers(1, 12)) | st.builds(End, st.integers(0, 99)),
    max_size=50,
)
reserves = st.dictionaries(st.sampled_from(LANES), st.integers(0, 3), max_size=2)


class Work:
    """One unit of work: waits for its slots, then has them until it is ended."""

    def __init__(self, slots: Slots, lane: str, wanted: int) -> None:
        self.lane = lane
        self.cost = slots.cost(lane, wanted)
        self._slots = slots
        self._over = asyncio.Event()
        self.has_slots = False
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        await self._slots.acquire(self.lane, self.cost)
        self.has_slots = True
        await self._over.wait()
        self.has_slots = False
        self._slots.release(self.lane, self.cost)

    def end(self) -> None:
        if self.has_slots:
            self._over.set()
        else:
            self.task.cancel()


async def quiet() -> None:
    for _ in range(6):
        await asyncio.sleep(0)


class Bench:
    def __init__(self, reserved: Mapping[str, int] | None = None) -> None:
        self.reserved = dict(reserved or {})
        self.slots = Slots(CAPACITY, WEIGHTS, self.reserved)
        self.works: list[Work] = []

    async def play(self, step: Ask | End) -> None:
        if isinstance(step, Ask):
            self.works.append(Work(self.slots, *step))
        elif self.works:
            self.works.pop(step.which % len(self.works)).end()
        await quiet()

    async def finish(self) -> None:
        """Whoever has slots ends, again and again, until everybody has had them."""
        for _ in range(len(self.works)):
            for work in [work for work in self.works if work.has_slots]:
                work.end()
                self.works.remove(work)
            await quiet()
        assert self.works == []
        assert self.slots.in_use == 0

    def used(self, lane: str) -> int:
        return sum(work.cost for work in self.works if work.lane == lane and work.has_slots)

    def check(self) -> None:
        used = {lane: self.used(lane) for lane in LANES}
        assert self.slots.in_use == sum(used.values()) <= CAPACITY
        kept = sum(max(0, count - used[lane]) for lane, count in self.reserved.items())
        assert CAPACITY - self.slots.in_use >= kept


@THOROUGH
@given(steps, reserves)
def test_never_over_capacity_and_what_is_reserved_is_kept(
    history: list[Ask | End], reserved: dict[str, int]
) -> None:
    async def scenario() -> None:
        bench = Bench(reserved)
        for step in history:
            await bench.play(step)
            bench.check()
        await bench.finish()

    asyncio.run(scenario())


@THOROUGH
@given(steps, st.integers(1, 3))
def test_a_lane_finds_its_reserve_free_at_once(history: list[Ask | End], count: int) -> None:
    async def scenario() -> None:
        bench = Bench({"interactive": count})
        for step in history:
            if not isinstance(step, Ask) or step.lane != "interactive":
                await bench.play(step)
        for _ in range(count):
            await bench.play(Ask("interactive", 1))
            assert bench.works[-1].has_slots
        await bench.finish()

    asyncio.run(scenario())


@THOROUGH
@given(steps)
def test_slots_stand_idle_only_for_one_whose_turn_it_is(history: list[Ask | End]) -> None:
    async def scenario() -> None:
        bench = Bench()
        for step in history:
            await bench.play(step)
            waiting = [work.cost for work in bench.works if not work.has_slots]
            assert not waiting or max(waiting) > CAPACITY - bench.slots.in_use
        await bench.finish()

    asyncio.run(scenario())


class Flood:
    """Every lane always has more work waiting; what began first ends first."""

    def __init__(self, costs: Mapping[str, list[int]], reserved: Mapping[str, int] | None = None) -> None:
        self.slots = Slots(CAPACITY, WEIGHTS, reserved)
        self.running: deque[tuple[str, int]] = deque()
        self.granted: Counter[str] = Counter()
        self._costs: dict[str, deque[int]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        for lane, wanted in costs.items():
            self.join(lane, wanted)

    def join(self, lane: str, wanted: list[int]) -> None:
        self._costs[lane] = deque(wanted)
        self._tasks |= {asyncio.create_task(self._ask(lane)) for _ in range(2 * CAPACITY)}

    async def _ask(self, lane: str) -> None:
        while True:
            self._costs[lane].rotate(-1)
            cost = self.slots.cost(lane, self._costs[lane][0])
            await self.slots.acquire(lane, cost)
            self.granted[lane] += cost
            self.running.append((lane, cost))
            await asyncio.sleep(0)

    async def run(self, ends: int) -> None:
        for _ in range(ends):
            await quiet()
            self.slots.release(*self.running.popleft())
            assert self.slots.in_use <= CAPACITY

    async def stop(self) -> None:
        """Raises what a task met."""
        for task in self._tasks:
            task.cancel()
        for ended in await asyncio.gather(*self._tasks, return_exceptions=True):
            assert isinstance(ended, asyncio.CancelledError)


costs = st.lists(st.integers(1, CAPACITY), min_size=1, max_size=5)
demands = st.fixed_dictionaries(dict.fromkeys(LANES, costs))


@THOROUGH
@given(demands)
@example({"interactive": [1], "standard": [1], "bulk": [CAPACITY]})
@example({"interactive": [CAPACITY], "standard": [1], "bulk": [1]})
def test_no_lane_falls_behind_its_share_by_more_than_its_next_unit_of_work(
    demand: dict[str, list[int]],
) -> None:
    """The bound of stride scheduling: by cost over weight, two lanes are never further apart than what one
    unit of work of each adds.
    """

    async def scenario() -> None:
        flood = Flood(demand)
        await flood.run(1)
        before = flood.granted.copy()
        for _ in range(20):
            await flood.run(8)
            passes = {lane: (flood.granted[lane] - before[lane]) / WEIGHTS[lane] for lane in LANES}
            for one, other in permutations(LANES, 2):
                bound = CAPACITY / WEIGHTS[one] + CAPACITY / WEIGHTS[other]
                assert passes[one] - passes[other] <= bound
        await flood.stop()

    asyncio.run(scenario())


@pytest.mark.parametrize("lane", LANES)
async def test_work_that_needs_all_slots_is_not_kept_waiting_by_work_that_needs_few(lane: str) -> None:
    reserved = {"interactive": 2}
    flood = Flood({each: [CAPACITY if each == lane else 1] for each in LANES}, reserved)
    await flood.run(40 * CAPACITY)
    assert all(flood.granted[each] > 0 for each in LANES)
    await flood.stop()


async def test_a_lane_that_was_idle_has_saved_nothing_up() -> None:
    flood = Flood({"standard": [1]})
    await flood.run(400)
    flood.join("bulk", [1])
    before = flood.granted["standard"]
    await flood.run(50)
    assert flood.granted["standard"] - before == pytest.approx(40, abs=2)
    assert flood.granted["bulk"] == pytest.approx(10, abs=2)
    await flood.stop()


async def test_who_comes_later_does_not_take_the_slots_that_another_waits_to_gather() -> None:
    bench = Bench()
    await bench.play(Ask("standard", 5))
    await bench.play(Ask("bulk", 6))
    await bench.play(Ask("standard", 1))
    first, bulk, later = bench.works
    assert (bulk.has_slots, later.has_slots) == (False, False)
    first.end()
    await quiet()
    assert (bulk.has_slots, later.has_slots) == (True, True)
    bench.works.remove(first)
    await bench.finish()


async def test_who_waits_for_many_slots_keeps_nobody_from_those_that_are_reserved_for_them() -> None:
    bench = Bench({"interactive": 2})
    await bench.play(Ask("interactive", 1))
    await bench.play(End(0))
    await bench.play(Ask("standard", 6))
    await bench.play(Ask("bulk", 6))
    await bench.play(Ask("interactive", 1))
    standard, bulk, interactive = bench.works
    assert (standard.has_slots, bulk.has_slots, interactive.has_slots) == (True, False, True)
    await bench.finish()


async def test_a_wait_that_was_cancelled_as_slots_came_free_is_simply_cancelled() -> None:
    """The future is cancelled at once, its task hears of it a turn later; a release may come in between."""
    bench = Bench()
    await bench.play(Ask("bulk", CAPACITY))
    await bench.play(Ask("standard", 1))
    await bench.play(Ask("standard", 2))
    first, waiting, behind = bench.works
    waiting.task.cancel()
    bench.slots.release("bulk", CAPACITY)
    with pytest.raises(asyncio.CancelledError):
        await waiting.task
    await quiet()
    assert behind.has_slots
    assert bench.slots.in_use == 2
    first.task.cancel()
    behind.task.cancel()


async def test_a_wait_cancelled_after_its_grant_gives_back() -> None:
    bench = Bench()
    await bench.play(Ask("bulk", CAPACITY))
    await bench.play(Ask("standard", 1))
    _, waiting = bench.works
    bench.slots.release("bulk", CAPACITY)
    waiting.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting.task
    assert bench.slots.in_use == 0
    bench.works[0].task.cancel()


def test_reserving_everything_is_refused() -> None:
    with pytest.raises(ValueError, match="none to share"):
        Slots(2, WEIGHTS, {"interactive": 2})
