"""Who has a place at a target and which lane is next; no place is lost, whoever goes away when."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.providers.provider import Failed
from broker.providers.routes import Routes
from broker.settings import ConcurrencySettings, DispatchSettings
from schemas.reasons import Failure
from tests.unit.workers.dispatching import answered
from tests.unit.workers.memory import TARGET, targets
from workers.targets import Targets

DEADLINE_S = 10.0
LIMITED = Failed(Failure.RATE_LIMITED, False, 5, 429)
LANES = ("bulk", "standard", "interactive")


class Nobody:
    """Providers whose calls the tests make up."""

    routes = Routes({"own": TARGET})


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def made(clock: Clock, most: int = 10, least: int = 1) -> Targets:
    return targets(
        Nobody(),
        clock,
        dispatch=DispatchSettings(slots=most, slots_interactive=0),
        concurrency=ConcurrencySettings(calls_min=least),
    )


class Line:
    """A lane with so many jobs for the target; each holds its place until it is ended."""

    def __init__(self, places: Targets, lane: str, jobs: int) -> None:
        self.places = places
        self.lane = lane
        self.jobs = jobs
        self.under_way = 0
        self.granted = asyncio.Event()

    def enter(self) -> bool:
        entered = self.places.enter("own", self.lane, self._granted)
        self._take(entered)
        return entered

    def fill(self) -> None:
        while self.jobs and self.enter():
            pass

    def end(self) -> None:
        self.under_way -= 1
        self.places.leave("own", self.lane)

    def _granted(self) -> bool:
        self._take(True)
        self.granted.set()
        return self.jobs > 0

    def _take(self, entered: bool) -> None:
        self.jobs -= entered
        self.under_way += entered


def lowered_to(places: Targets, clock: Clock, limit: int) -> None:
    """Turned away, call after call, until the limit is there."""
    while places.health["own"].limit(clock()) > limit:
        clock.now += 1
        line = Line(places, "interactive", 1)
        assert line.enter()
        places.ended("own", LIMITED, clock())
        line.end()


async def test_whoever_finds_a_place_enters_and_the_next_is_told_when_one_is_left() -> None:
    places = made(Clock(), most=2)
    line = Line(places, "standard", 5)
    line.fill()
    assert (line.under_way, line.jobs) == (2, 3)
    line.end()
    assert (line.under_way, line.jobs) == (2, 2)
    assert places.health["own"].places == 2


async def test_who_withdraws_is_told_of_nothing() -> None:
    places = made(Clock(), most=1)
    line = Line(places, "standard", 5)
    line.fill()
    places.withdraw("own", "standard")
    line.end()
    assert line.under_way == 0
    assert places.health["own"].places == 0


async def test_a_place_that_was_told_of_is_taken_and_nobody_else_gets_it() -> None:
    places = made(Clock(), most=1)
    first, second = Line(places, "standard", 2), Line(places, "interactive", 1)
    first.fill()
    first.end()
    assert not second.enter()
    assert (first.under_way, second.under_way, places.health["own"].places) == (1, 0, 1)
    first.end()
    assert (first.under_way, second.under_way, places.health["own"].places) == (0, 1, 1)


async def test_a_rest_ends_by_itself_for_those_in_line() -> None:
    clock = Clock()
    places = made(clock)
    line = Line(places, "standard", 2)
    assert line.enter()
    places.ended("own", Failed(Failure.RATE_LIMITED, False, 5, 429, 2_000), clock())
    line.end()
    assert not line.enter()
    clock.now += 2.5
    async with asyncio.timeout(DEADLINE_S):
        await line.granted.wait()
    assert line.under_way == 1


async def test_other_processes_hear_of_trouble_at_once_and_of_nothing_else() -> None:
    clock, news = Clock(), []
    places = made(clock)
    places.on_news = lambda: news.append(clock())
    assert Line(places, "standard", 1).enter()
    places.ended("own", answered(5), clock())
    assert news == []
    lowered_to(places, clock, 9)
    assert len(news) == 1


@pytest.mark.parametrize("burst", [1, 7])
async def test_under_pressure_places_go_to_the_lanes_by_weight(burst: int) -> None:
    """Also where several are left before any lane comes for one."""
    clock = Clock()
    places = made(clock, most=100)
    lowered_to(places, clock, 10)
    lines = [Line(places, lane, 200) for lane in LANES]
    for line in lines:
        line.fill()
    served: Counter[str] = Counter()
    for _ in range(126 // burst):
        before = {line.lane: line.jobs for line in lines}
        for _ in range(burst):
            max(lines, key=lambda line: line.under_way).end()
        served.update({line.lane: before[line.lane] - line.jobs for line in lines})
    assert served["interactive"] > 3 * served["standard"] > 6 * served["bulk"] > 0
    assert sum(served.values()) == 126


@pytest.mark.parametrize(("lag_s", "limit"), [(0.1, 10), (0.0, 5)])
async def test_latency_that_is_the_event_loops_own_does_not_lower_a_limit(lag_s: float, limit: int) -> None:
    """Calls become ten times as slow, in a loop that is late and in one that is not."""
    clock = Clock()
    places = made(clock, most=10)
    places.lag.seconds = lag_s
    line = Line(places, "standard", 10**6)
    for latency_s in [0.05] * 60 + [0.5] * 60:
        began = clock.now
        if places.health["own"].limit(began) < 10:
            break
        line.fill()
        assert line.under_way == 10
        clock.now += latency_s
        for _ in range(10):
            places.ended("own", answered(5), began)
        line.jobs = 0
        while line.under_way:
            line.end()
        places.withdraw("own", "standard")
        line.jobs = 10**6
    assert places.health["own"].limit(clock.now) == limit


moves = st.tuples(
    st.sampled_from(("enter", "end", "withdraw", "served", "turned away", "later")),
    st.integers(0, 12),
    st.sampled_from(range(3)),
)


@settings(max_examples=200)
@given(st.lists(moves, max_size=80))
def test_whatever_happens_places_are_within_the_limit_and_none_is_lost(
    course: list[tuple[str, int, int]],
) -> None:
    async def run() -> None:
        clock = Clock()
        places = made(clock, most=5)
        health = places.health["own"]
        lines = [Line(places, lane, 0) for lane in LANES]
        for move, number, which in course:
            line, before = lines[which], health.places
            if move == "enter":
                line.jobs = max(1, number)
                line.enter()
                assert health.places <= max(before, health.limit(clock()))
            elif move == "withdraw":
                places.withdraw("own", line.lane)
            elif move == "later":
                clock.now += number
            elif move == "end" and line.under_way:
                line.end()
            elif line.under_way:
                places.ended("own", answered(5) if move == "served" else LIMITED, clock() - 0.01)
            assert health.places == sum(each.under_way for each in lines)
        for line in lines:
            places.withdraw("own", line.lane)
            while line.under_way:
                line.end()
        assert health.places == 0

    asyncio.run(run())
