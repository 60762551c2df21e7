"""What calls cost that are turned away by chance, each with a Retry-After of its own, that fail by chance, or
are long by chance; and what it costs a target that bears only so many calls to be told apart from one that
turns away by chance. By simulation.
"""

import heapq
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from broker.health.target import Rules, TargetHealth
from broker.providers.provider import Answer, Failed, Result
from schemas.reasons import Disbelief, Failure
from workers.lanes import LANE_WEIGHTS

LANE = "standard"
RETRY_AFTER_S = 1
SERVED = Answer(200, b"{}", Disbelief.USAGE_MISSING, "0" * 64, 5)
TURNED_AWAY = Failed(Failure.RATE_LIMITED, False, 20, 429, RETRY_AFTER_S * 1_000)
TURNED_AWAY_S = 0.02
FAILED = Failed(Failure.PROVIDER_ERROR, False, 20, 500)


@dataclass
class Target:
    """Calls take `latency_s` on average, about `spread` of it more or less; `chance` of them and those above
    `at_once_max` are turned away, `failing` of them fail.
    """

    chance: float = 0.0
    failing: float = 0.0
    at_once_max: int = 10**9
    latency_s: float = 1.0
    spread: float = 0.5
    most: int = 400
    seed: int = 1
    served: int = 0
    turned_away: int = 0
    failed: int = 0
    now: float = 0.0
    _at_once: int = 0
    _events: list[tuple[float, int, str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.health = TargetHealth(Rules(1, self.most, 2.0, 0.5, 60.0), LANE_WEIGHTS)
        self._random = random.Random(self.seed)
        self._waiting = 0
        self._numbers = iter(range(10**9))

    @property
    def waiting(self) -> int:
        """Jobs that wait for a place."""
        return self._waiting

    def stream(self, per_s: float, until_s: float) -> None:
        """Jobs come at random, so many a second on average; what was not served comes again."""
        at = self.now
        while (at := at + self._random.expovariate(per_s)) < until_s:
            self._push(at, "comes")
        self._run(until_s)

    def backlog(self, jobs: int, until_s: float) -> None:
        """So many jobs wait or are under way all the time."""
        self._waiting = jobs
        for tick in range(int(until_s * 20)):
            self._push(tick / 20, "look")
        self._run(until_s, refill=1)

    def _run(self, until_s: float, refill: int = 0) -> None:
        for kind, began in self._until(until_s):
            if kind == "comes":
                self._waiting += 1
            elif kind == "served":
                self._at_once -= 1
                self._waiting += refill
                self._end(SERVED, began)
            elif kind == "failed":
                self._at_once -= 1
                self._push(self.now + self._random.random() / 2, "comes")
                self._end(FAILED, began)
            elif kind == "turned away":
                self._push(self.now + RETRY_AFTER_S * (1 + self._random.random() / 2), "comes")
                self._end(TURNED_AWAY, began)
            while self._waiting and self.health.enter(LANE, self.now):
                self._waiting -= 1
                self._begin()

    def _until(self, until_s: float) -> Iterator[tuple[str, float]]:
        while self._events and self._events[0][0] < until_s:
            self.now, _, kind, began = heapq.heappop(self._events)
            yield kind, began

    def _begin(self) -> None:
        if self._at_once >= self.at_once_max or self._random.random() < self.chance:
            self._push(self.now + TURNED_AWAY_S, "turned away")
            return
        self._at_once += 1
        kind = "failed" if self._random.random() < self.failing else "served"
        took_s = self.latency_s * self._random.lognormvariate(-(self.spread**2) / 2, self.spread)
        self._push(self.now + took_s, kind)

    def _end(self, result: Result, began: float) -> None:
        self.served += result is SERVED
        self.turned_away += result is TURNED_AWAY
        self.failed += result is FAILED
        self.health.ended(result, began, self.now)
        self.health.leave(LANE)

    def _push(self, at: float, kind: str) -> None:
        heapq.heappush(self._events, (at, next(self._numbers), kind, self.now))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("per_s", [3, 30, 200])
def test_a_stream_of_which_two_in_a_hundred_are_turned_away_by_chance_flows_on(per_s: int, seed: int) -> None:
    target = Target(chance=0.02, seed=seed)
    target.stream(per_s, 120)
    assert target.served > 0.9 * per_s * 119 - 3 * (per_s * 119) ** 0.5
    assert target.turned_away > 0


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("most", [10, 100, 400])
def test_a_backlog_of_which_two_in_a_hundred_are_turned_away_by_chance_is_worked_off(
    most: int, seed: int
) -> None:
    well, by_chance = Target(most=most, seed=seed), Target(chance=0.02, most=most, seed=seed)
    for target in (well, by_chance):
        target.backlog(2 * most, 60)
    assert by_chance.served > 0.9 * well.served


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("per_s", [3, 30, 200])
def test_a_stream_of_which_one_in_ten_fails_by_chance_and_some_take_long_flows_on(
    per_s: int, seed: int
) -> None:
    target = Target(chance=0.02, failing=0.1, latency_s=0.3, spread=1.0, seed=seed)
    target.stream(per_s, 120)
    assert target.served > 0.95 * per_s * 119 - 3 * (per_s * 119) ** 0.5
    assert target.failed > 0


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("most", [2, 10, 100])
def test_a_backlog_of_which_one_in_ten_fails_by_chance_and_some_take_long_is_worked_off(
    most: int, seed: int
) -> None:
    target = Target(failing=0.1, latency_s=0.3, spread=1.0, most=most, seed=seed)
    target.backlog(2 * most, 60)
    assert target.served + target.failed > 0.8 * 60 * most / 0.3


@pytest.mark.parametrize("seed", range(3))
def test_a_stream_flows_as_before_soon_after_its_target_was_down(seed: int) -> None:
    target = Target(latency_s=0.3, spread=1.0, seed=seed)
    target.stream(30, 60)
    target.failing, target.latency_s = 1.0, 0.02
    target.stream(30, 70)
    target.failing, target.latency_s = 0.0, 0.3
    target.stream(30, 90)
    served = target.served
    target.stream(30, 120)
    assert target.served - served > 0.9 * 30 * 30
    assert target.waiting < 30


@pytest.mark.parametrize(("at_once_max", "latency_s"), [(10, 0.1), (50, 0.1), (50, 1.0), (200, 1.0)])
def test_of_a_target_that_bears_only_so_many_at_once_few_calls_are_turned_away(
    at_once_max: int, latency_s: float
) -> None:
    target = Target(at_once_max=at_once_max, latency_s=latency_s)
    target.backlog(800, 30)
    served, turned_away = target.served, target.turned_away
    target.backlog(800, 90)
    assert target.turned_away - turned_away < 0.02 * (target.served - served)
    assert target.served - served > 0.6 * 60 * at_once_max / latency_s


def test_a_target_that_is_closed_is_left_alone_but_for_a_call_now_and_then() -> None:
    target = Target(most=100)
    target.backlog(200, 10)
    target.chance = 1.0
    served = target.served
    target.now = 10.0
    target.backlog(200, 70)
    assert target.served - served <= 100
    assert target.turned_away < 100 + 2 * 60
