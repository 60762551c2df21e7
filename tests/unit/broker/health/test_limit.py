"""The rule by which a limit falls and rises, under any course of calls and under courses that have a name."""

import heapq
import math
import random
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.health.limit import FORGET_S, RISE_S, AdaptiveLimit, Cause, Ending

MOST = 400

steps = st.tuples(
    st.sampled_from(Ending),
    st.floats(0, 30, allow_nan=False),  # how long the call took
    st.floats(0, 5, allow_nan=False),  # since the call before it ended
    st.integers(1, 2 * MOST),  # under way
)


def limit(least: int = 1, most: int = MOST) -> AdaptiveLimit:
    return AdaptiveLimit(least, most, tolerance=2.0, window_s=0.5)


@given(st.integers(1, 20), st.lists(steps, max_size=200))
def test_it_stays_in_its_bounds_and_no_end_of_a_call_raises_it_at_once(
    least: int, course: list[tuple[Ending, float, float, int]]
) -> None:
    rule, now = limit(least), 0.0
    for ending, took_s, later_s, under_way in course:
        now += later_s
        before = rule.at(now)
        undone = rule.cut is not None and rule.cut.per_s is not None
        cut = rule.ended(ending, now - took_s, now, under_way)
        after = rule.at(now)
        assert least <= after <= MOST
        assert after <= before or undone
        if cut is not None and before > least:
            assert after <= max(least, math.ceil(before * 0.7))


def played(course: list[tuple[Ending, float, float, int]]) -> tuple[AdaptiveLimit, float]:
    """A limit after the course, and when."""
    rule, now = limit(), 0.0
    for ending, call_s, later_s, number in course:
        now += later_s
        rule.ended(ending, now - call_s, now, number)
    return rule, now


@given(st.lists(steps, max_size=100), st.floats(0, 1, exclude_min=True), st.integers(1, MOST))
def test_enough_calls_in_a_row_that_are_turned_away_always_lower_it(
    course: list[tuple[Ending, float, float, int]], took_s: float, under_way: int
) -> None:
    """Three, or a twentieth of what is under way."""
    rule, now = played(course)
    before = rule.at(now)
    enough = max(3, math.ceil(under_way / 20))
    cuts = []
    for _ in range(enough):
        began, now = now + 0.001, now + 0.001 + took_s
        before = rule.at(now)
        if (cut := rule.ended(Ending.OVERLOADED, began, now, under_way)) is not None:
            cuts.append(cut)
            break
    [cut] = cuts
    assert cut.cause is Cause.OVERLOADED
    assert int(min(before, under_way) * 0.7) <= rule.at(now) <= max(1, int(before * 0.7))


@pytest.mark.parametrize(("trouble", "served_least"), [(Ending.OVERLOADED, 10), (Ending.FAILED, 4)])
@given(st.lists(steps, max_size=100), st.lists(st.integers(0, 20), max_size=60), st.integers(1, MOST))
def test_single_calls_in_trouble_among_enough_that_are_served_never_lower_it(
    trouble: Ending,
    served_least: int,
    course: list[tuple[Ending, float, float, int]],
    gaps: list[int],
    under_way: int,
) -> None:
    """Ten where one is turned away, four where one fails."""
    rule, now = played(course)
    for number in range(MOST):
        rule.ended(Ending.SERVED, now, now + number / 100, under_way)
    now += FORGET_S + 1
    before = rule.at(now)
    for gap in gaps:
        assert rule.ended(trouble, now, now, under_way) is None
        for _ in range(served_least + gap):
            rule.ended(Ending.SERVED, now, now, under_way)
    assert rule.at(now) == before == MOST


@given(st.lists(steps, max_size=100))
def test_after_any_course_it_recovers_once_calls_are_served(
    course: list[tuple[Ending, float, float, int]],
) -> None:
    rule, now = limit(), 0.0
    for ending, call_s, later_s, number in course:
        now += later_s
        rule.ended(ending, now - call_s, now, number)
    rule.ended(Ending.SERVED, now, now + 0.01, 1)
    last = 0
    for tick in range(int(10 * RISE_S)):
        at = rule.at(now + 1 + tick)
        assert at >= last
        last = at
    assert last == MOST


@given(st.lists(steps, max_size=100), st.floats(0, 1, exclude_min=True), st.integers(1, MOST))
def test_enough_calls_in_a_row_that_fail_always_lower_it(
    course: list[tuple[Ending, float, float, int]], took_s: float, under_way: int
) -> None:
    """Eight, or a twentieth of what is under way."""
    rule, now = played(course)
    before = rule.at(now)
    cuts = []
    for _ in range(max(8, math.ceil(under_way / 20))):
        began, now = now + 0.001, now + 0.001 + took_s
        before = rule.at(now)
        if (cut := rule.ended(Ending.FAILED, began, now, under_way)) is not None:
            cuts.append(cut)
            break
    [cut] = cuts
    assert cut.cause is Cause.FAILURES
    assert rule.at(now) == max(1, int(min(before, under_way) * 0.5))


def test_trouble_with_little_under_way_leaves_room_for_twice_that_soon() -> None:
    rule = limit()
    for number in range(8):
        rule.ended(Ending.FAILED, 0.0, 1.0 + number / 100, 20)
    assert rule.at(1.1) == 10
    rule.ended(Ending.SERVED, 1.2, 2.0, 10)
    assert rule.at(4.0) > 20
    assert rule.at(2.0 + RISE_S) == 40


def test_the_limit_of_a_quick_target_rises_sooner() -> None:
    found = []
    for latency_s in (0.05, 0.5, 5.0):
        rule, now = limit(), 0.0
        for _ in range(400):
            now += latency_s / 10
            rule.ended(Ending.SERVED, now - latency_s, now, 10)
        for _ in range(8):
            now += 0.1
            rule.ended(Ending.FAILED, now - 0.01, now, 10)
        rule.ended(Ending.SERVED, now, now + latency_s, 1)
        found.append([rule.at(now + latency_s + later_s) for later_s in (2.0, 5.0, 10.0)])
    assert found[0][0] == found[1][1] == found[2][2] == 20
    assert found[0][1] > found[1][1] > found[2][1]


@pytest.mark.parametrize("ending", [Ending.FAILED, Ending.OVERLOADED])
def test_what_a_target_bore_a_moment_ago_it_is_soon_given_again(ending: Ending) -> None:
    rule, now = limit(), 0.0
    for _ in range(200):
        now += 0.05
        rule.ended(Ending.SERVED, now - 0.5, now, 30)
    for _ in range(100):
        now += 0.05
        rule.ended(ending, now - 0.01, now, 1)
    assert rule.at(now) == 1
    rule.ended(Ending.SERVED, now, now + 0.1, 1)
    assert 15 < rule.at(now + 0.1 + RISE_S) <= 60


def test_calls_turned_away_together_cut_once() -> None:
    rule = limit()
    cuts = [rule.ended(Ending.OVERLOADED, 0.0, 1.0 + number / 1000, 100 - number) for number in range(100)]
    assert [cut is not None for cut in cuts] == [False] * 4 + [True] + [False] * 95
    assert rule.at(1.2) == 10


@pytest.mark.parametrize(("turned_away", "low"), [(4, MOST), (5, 70), (30, 70), (60, 40), (99, 10)])
def test_of_calls_under_way_together_those_that_were_served_say_how_many_it_bears(
    turned_away: int, low: int
) -> None:
    rule = limit()
    for number in range(turned_away):
        rule.ended(Ending.OVERLOADED, 0.0, 1.0 + number / 1000, 100 - number)
    for _ in range(100 - turned_away):
        rule.ended(Ending.SERVED, 0.0, 2.0, 5)
    assert rule.at(2.0) == low


def test_it_stays_low_until_a_call_is_served_and_is_forgotten_with_time() -> None:
    rule = limit()
    for number in range(5):
        rule.ended(Ending.OVERLOADED, 0.0, 1.0, 100 - number)
    assert rule.at(60.0) == 70
    assert rule.at(1.0 + FORGET_S) == 70
    assert rule.at(1.1 + FORGET_S) == MOST


def test_failures_cut_where_they_are_a_fifth_and_not_where_they_are_chance() -> None:
    rule = limit()
    for number in range(1_000):
        ending = Ending.FAILED if number % 20 == 0 else Ending.SERVED
        assert rule.ended(ending, number * 0.01, number * 0.01 + 0.2, 20) is None
    assert rule.at(11.0) == MOST
    cuts = [rule.ended(Ending.FAILED, 11.0, 11.5 + number / 100, 20) for number in range(40)]
    assert [cut.cause for cut in cuts if cut is not None] == [Cause.FAILURES]


def test_a_target_that_was_down_is_back_at_work_within_seconds() -> None:
    rule, now = limit(), 0.0
    for _ in range(200):
        now += 0.05
        rule.ended(Ending.FAILED, now - 0.01, now, max(1, rule.at(now)))
    assert rule.at(now) == 1
    rule.ended(Ending.SERVED, now, now + 0.1, 1)
    assert rule.at(now + 2) > 30
    assert rule.at(now + RISE_S + 1) > 100


def always(latency_s: float, _: int) -> float:
    return latency_s


class Target:
    """A simulated target under a standing backlog: `latency_s(under way)` of calls as they begin."""

    def __init__(self, rule: AdaptiveLimit, latency_s: Callable[[int], float], seed: int = 1) -> None:
        self.rule = rule
        self.latency_s = latency_s
        self.turns_away_above = 10**9
        self.now = 0.0
        self.served = self.turned_away = 0
        self.most_under_way = 0
        self._random = random.Random(seed)
        self._under_way: list[tuple[float, float, bool]] = []

    def run(self, until: float, offered: int = 10**6) -> None:
        """`offered`: so many calls at once at most."""
        while self.now < until:
            while len(self._under_way) < min(offered, self.rule.at(self.now)):
                self._begin()
            ends, began, turned_away = heapq.heappop(self._under_way)
            self.now = max(self.now, ends)
            ending = Ending.OVERLOADED if turned_away else Ending.SERVED
            self.rule.ended(ending, began, self.now, len(self._under_way) + 1)
            self.served += not turned_away
            self.turned_away += turned_away

    def _begin(self) -> None:
        number = len(self._under_way) + 1
        turned_away = number > self.turns_away_above
        took_s = 0.02 if turned_away else self.latency_s(number) * self._random.lognormvariate(0, 0.5)
        heapq.heappush(self._under_way, (self.now + took_s, self.now, turned_away))


def test_a_target_that_queues_is_kept_near_what_it_bears() -> None:
    """It serves 20 calls at once in 100 ms; more take longer in proportion."""
    rule = limit()
    target = Target(rule, lambda under_way: 0.1 * max(1.0, under_way / 20))
    target.run(5, offered=15)
    assert rule.at(target.now) == MOST
    target.run(60)
    assert 20 <= rule.at(target.now) <= 100
    served = target.served
    target.run(90)
    assert (target.served - served) / 30 > 0.8 * 200 / math.exp(0.125)


def test_a_target_that_turns_calls_away_soon_turns_few_away() -> None:
    rule = limit()
    target = Target(rule, lambda _: 0.1)
    target.turns_away_above = 50
    target.run(30)
    served, turned_away = target.served, target.turned_away
    target.run(90)
    assert (target.turned_away - turned_away) / (target.served - served) < 0.02
    assert target.served - served > 0.7 * 60 * 50 / (0.1 * math.exp(0.125))


@pytest.mark.parametrize("longer", [3.0, 10.0])
def test_answers_that_grow_longer_without_load_as_their_cause_cost_a_moment(longer: float) -> None:
    rule = limit()
    target = Target(rule, lambda _: 0.1)
    target.run(20)
    target.latency_s = lambda _: 0.1 * longer
    target.run(20 + 100 * longer)
    assert rule.at(target.now) == MOST
    assert rule.baseline_s is not None
    assert rule.baseline_s > 0.08 * longer


def test_a_target_that_is_not_pressed_may_take_what_time_it_likes() -> None:
    rule = limit()
    target = Target(rule, lambda _: 0.1)
    for latency_s in (0.1, 3.0, 0.1, 0.5):
        target.latency_s = partial(always, latency_s)
        target.run(target.now + 60, offered=MOST // 2 - 1)
        assert rule.at(target.now) == MOST


@pytest.mark.parametrize("seed", range(5))
def test_a_healthy_target_with_a_long_tail_is_never_limited(seed: int) -> None:
    rule = limit()
    target = Target(rule, lambda _: 0.2, seed)
    target.run(120)
    assert rule.cut is None


@given(st.integers(1, MOST), st.integers(0, MOST), st.floats(0.3, 0.9))
def test_to_follow_another_process_never_raises_it_and_goes_no_lower_than_theirs(
    theirs: int, under_way: int, factor: float
) -> None:
    rule = limit()
    before = rule.at(1.0)
    cut = rule.follow(factor, theirs, 1.0, under_way)
    after = rule.at(1.0)
    assert after <= before
    assert after >= min(before, theirs)
    assert (cut is None) == (after == before)
