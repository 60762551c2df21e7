"""Who has a place at a target and who waits for one; no place is lost, whoever goes away when."""

import asyncio
from collections.abc import Awaitable
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.providers.provider import Failed
from broker.providers.routes import Routes
from broker.settings import ConcurrencySettings, DispatchSettings
from broker.store.keys import AttemptKey
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


def key(number: int) -> AttemptKey:
    return AttemptKey(1, UUID(int=number), 1, 1)


def made(clock: Clock, most: int = 10, least: int = 1) -> Targets:
    return targets(
        Nobody(),
        clock,
        dispatch=DispatchSettings(slots=most, slots_interactive=0),
        concurrency=ConcurrencySettings(calls_min=least),
    )


def enter(places: Targets, number: int, lane: str = "standard") -> Awaitable[None] | None:
    return places.enter(key(number), "own", lane, DEADLINE_S)


def lowered_to(places: Targets, clock: Clock, limit: int) -> None:
    """Turned away, call after call, until the limit is there."""
    while places.health["own"].limit(clock()) > limit:
        clock.now += 1
        assert enter(places, 10**6) is None
        places.ended(key(10**6), LIMITED, clock())


async def test_whoever_finds_a_place_enters_and_the_next_waits_until_one_is_left() -> None:
    clock = Clock()
    places = made(clock, most=2)
    assert enter(places, 1) is None
    assert enter(places, 1) is None
    assert enter(places, 2) is None
    turn = enter(places, 3)
    assert turn is not None
    assert places.is_waiting(key(3))
    places.leave(key(1))
    await turn
    assert enter(places, 3) is None
    assert not places.is_waiting(key(3))


async def test_a_place_is_kept_for_whoever_was_let_in() -> None:
    places = made(Clock(), most=1)
    assert enter(places, 1) is None
    first, second = enter(places, 2), enter(places, 3)
    assert first is not None
    assert second is not None
    places.leave(key(1))
    third = enter(places, 4)
    assert third is not None
    assert enter(places, 2) is None
    assert places.health["own"].places == 1
    for number in (2, 3, 4):
        places.leave(key(number))
    await asyncio.gather(first, second, third)


async def test_who_waits_in_vain_is_woken_in_time() -> None:
    places = made(Clock(), most=1)
    assert enter(places, 1) is None
    turn = places.enter(key(2), "own", "bulk", 0.0)
    assert turn is not None
    await turn
    assert places.is_waiting(key(2))
    places.leave(key(2))
    places.leave(key(1))
    assert places.health["own"].places == 0


async def test_two_records_of_one_attempt_wait_for_one_place() -> None:
    places = made(Clock(), most=1)
    assert enter(places, 1) is None
    turns = [enter(places, 2), enter(places, 2)]
    places.leave(key(1))
    for turn in turns:
        assert turn is not None
        await asyncio.wait_for(turn, DEADLINE_S)
    assert places.health["own"].places == 1


async def test_a_rest_ends_by_itself_for_those_who_wait() -> None:
    clock = Clock()
    places = made(clock)
    assert enter(places, 1) is None
    places.ended(key(1), Failed(Failure.RATE_LIMITED, False, 5, 429, 2_000), clock())
    turn = enter(places, 2)
    assert turn is not None
    clock.now += 2.5
    async with asyncio.timeout(DEADLINE_S):
        await turn
    assert enter(places, 2) is None


async def test_other_processes_hear_of_trouble_at_once_and_of_nothing_else() -> None:
    clock, news = Clock(), []
    places = made(clock)
    places.on_news = lambda: news.append(clock())
    assert enter(places, 1) is None
    places.ended(key(1), answered(5), clock())
    assert news == []
    assert enter(places, 1) is None
    places.ended(key(1), LIMITED, clock())
    assert len(news) == 1


async def test_under_pressure_places_go_to_the_lanes_by_weight() -> None:
    clock = Clock()
    places = made(clock, most=100)
    lowered_to(places, clock, 10)
    turns = [enter(places, number, LANES[number % 3]) for number in range(150)]
    taken = [number for number, turn in enumerate(turns) if turn is None]
    served = dict.fromkeys(LANES, 0)
    for _ in range(63):
        ended = taken.pop(0)
        before = {number for number in range(150) if places.is_waiting(key(number))}
        places.leave(key(ended))
        for number in before:
            if not places.is_waiting(key(number)):
                served[LANES[number % 3]] += 1
                taken.append(number)
    assert served["interactive"] > 3 * served["standard"] > 6 * served["bulk"] > 0
    for number in range(150):
        places.leave(key(number))
    await asyncio.gather(*(turn for turn in turns if turn is not None))


@pytest.mark.parametrize(("lag_s", "limit"), [(0.1, 10), (0.0, 5)])
async def test_latency_that_is_the_event_loops_own_does_not_lower_a_limit(lag_s: float, limit: int) -> None:
    """Calls become ten times as slow, in a loop that is late and in one that is not."""
    clock = Clock()
    places = made(clock, most=10)
    places.lag.seconds = lag_s
    for latency_s in [0.05] * 60 + [0.5] * 60:
        began = clock.now
        if places.health["own"].limit(began) < 10:
            break
        for number in range(10):
            assert enter(places, number) is None
        clock.now += latency_s
        for number in range(10):
            places.ended(key(number), answered(5), began)
    assert places.health["own"].limit(clock.now) == limit


moves = st.tuples(
    st.sampled_from(("enter", "leave", "served", "turned away", "later")),
    st.integers(0, 12),
    st.sampled_from(LANES),
)


@settings(max_examples=200)
@given(st.lists(moves, max_size=80))
def test_whatever_happens_places_are_within_the_limit_and_none_is_lost(
    course: list[tuple[str, int, str]],
) -> None:
    async def run() -> None:
        clock = Clock()
        places = made(clock, most=5)
        health = places.health["own"]
        for move, number, lane in course:
            before = health.places
            if move == "enter":
                if (turn := enter(places, number, lane)) is not None:
                    asyncio.ensure_future(turn).cancel()
                assert health.places <= max(before, health.limit(clock()))
            elif move == "leave":
                places.leave(key(number))
            elif move == "later":
                clock.now += number
            else:
                places.ended(key(number), answered(5) if move == "served" else LIMITED, clock() - 0.01)
        for number in range(13):
            places.leave(key(number))
        assert health.places == 0
        assert not any(places.is_waiting(key(number)) for number in range(13))

    asyncio.run(run())
