"""A target's health: what results say of it, when it is closed, what other processes tell."""

import hashlib
import math

import pytest

from broker.health.limit import Cause, Ending
from broker.health.target import NOTHING_LEFT_S_MAX, Rules, Signal, TargetHealth, read
from broker.providers.provider import Answer, Failed, Rejected, Result
from schemas.reasons import Disbelief, Failure, Refusal
from workers.lanes import LANE_WEIGHTS

RULES = Rules(least=1, most=100, tolerance=2.0, window_s=0.5, retry_after_s_max=60.0)


def health() -> TargetHealth:
    return TargetHealth(RULES, LANE_WEIGHTS)


def answer(nothing_left_ms: int | None = None) -> Answer:
    return Answer(200, b"{}", Disbelief.USAGE_MISSING, hashlib.sha256(b"{}").hexdigest(), 5, nothing_left_ms)


def failed(failure: Failure, status: int | None = None, retry_after_ms: int | None = None) -> Failed:
    return Failed(failure, False, 5, status, retry_after_ms)


LIMITED = failed(Failure.RATE_LIMITED, 429, 2_000)


@pytest.mark.parametrize(
    ("result", "ending", "closed_s"),
    [
        (answer(), Ending.SERVED, 0.0),
        (answer(300), Ending.SERVED, 0.3),
        (Rejected(Refusal.PROVIDER_REFUSED, 400, 5), Ending.NOTHING, 0.0),
        (failed(Failure.RATE_LIMITED, 429), Ending.OVERLOADED, 0.0),
        (LIMITED, Ending.OVERLOADED, 2.0),
        (failed(Failure.PROVIDER_ERROR, 503, 3_000), Ending.OVERLOADED, 3.0),
        (failed(Failure.PROVIDER_ERROR, 503), Ending.FAILED, 0.0),
        (failed(Failure.PROVIDER_ERROR, 500), Ending.FAILED, 0.0),
        (failed(Failure.PROVIDER_ERROR, 500, 3_000), Ending.FAILED, 3.0),
        (failed(Failure.TIMEOUT), Ending.FAILED, 0.0),
        (failed(Failure.CONNECT_FAILED), Ending.FAILED, 0.0),
        (failed(Failure.BROKEN_ANSWER, 200), Ending.NOTHING, 0.0),
    ],
)
def test_what_a_result_says_of_its_target(result: Result, ending: Ending, closed_s: float) -> None:
    assert read(result) == (ending, closed_s)


def test_nobody_enters_before_the_rest_that_it_asked_for_is_over() -> None:
    target = health()
    assert target.enter("bulk", 0.0)
    change = target.ended(LIMITED, 0.0, 1.0)
    assert change.closed
    target.leave("bulk")
    assert not target.enter("interactive", 2.9)
    assert target.admit(["interactive"], 2.9) is None
    assert target.closed_for(2.5) == 0.5
    assert target.enter("interactive", 3.0)


def test_while_it_serves_others_one_call_turned_away_closes_nothing_and_calls_in_a_row_do() -> None:
    target = health()
    target.ended(answer(), 0.0, 1.0)
    assert target.ended(LIMITED, 0.0, 1.5) == (None, False)
    assert target.closed_for(1.5) == 0.0
    for _ in range(10):
        target.ended(answer(), 0.0, 2.0)
    changes = [target.ended(LIMITED, 0.0, 2.5) for _ in range(4)]
    assert [change.closed for change in changes] == [False, False, True, False]
    assert changes[2].cut is not None
    assert target.closed_for(2.5) == 2.0


@pytest.mark.parametrize("served_at", [None, 0.0])
def test_where_none_was_served_of_late_one_call_turned_away_closes_it_and_lowers_nothing(
    served_at: float | None,
) -> None:
    target = health()
    if served_at is not None:
        target.ended(answer(), served_at, served_at)
    change = target.ended(LIMITED, 99.0, 100.0)
    assert (change.cut, change.closed) == (None, True)
    assert target.limit(100.0) == RULES.most


def test_calls_turned_away_with_those_that_closed_it_close_it_for_longer() -> None:
    target = health()
    target.ended(answer(), 0.0, 1.0)
    for _ in range(3):
        target.ended(LIMITED, 1.0, 2.0)
    assert target.ended(failed(Failure.RATE_LIMITED, 429, 9_000), 1.0, 2.1).closed
    assert target.closed_for(2.1) == 9.0


def test_a_rest_is_bounded_and_a_shorter_one_does_not_end_it() -> None:
    target = health()
    target.ended(failed(Failure.RATE_LIMITED, 429, 3_600_000), 0.0, 1.0)
    assert target.closed_for(1.0) == 60.0
    assert not target.ended(LIMITED, 0.5, 2.0).closed
    assert target.closed_for(2.0) == 59.0


def test_an_answer_that_leaves_nothing_holds_calls_back_a_moment_and_once() -> None:
    """The calls that began before that moment ended knew no more."""
    target = health()
    assert not target.ended(answer(30_000), 0.0, 1.0).closed
    assert target.closed_for(1.0) == NOTHING_LEFT_S_MAX
    target.ended(answer(30_000), 0.5, 1.9)
    assert target.closed_for(2.0) == 0.0
    target.ended(answer(200), 2.0, 2.5)
    assert target.closed_for(2.5) == pytest.approx(0.2)


def busy(places: int = 50) -> TargetHealth:
    target = health()
    for _ in range(places):
        assert target.enter("standard", 0.0)
    return target


def turned_away(target: TargetHealth, began: float, now: float) -> None:
    """As many calls together as it takes to be no chance."""
    for _ in range(3):
        target.ended(LIMITED, began, now)


def told(limit: int = 20, cut_at: float = 5.0, closed_until: float = -math.inf) -> Signal:
    return Signal(limit, lowered=True, closed_until=closed_until, cut_at=cut_at, factor=0.7)


def test_what_another_process_met_lowers_the_limit_here_once() -> None:
    target = busy()
    change = target.follow(told(), 5.2, is_news=True)
    assert change.cut is not None
    assert (change.cut.cause, target.limit(5.2)) == (Cause.OTHERS, 35)
    assert target.follow(told(), 5.7, is_news=False) == (None, False)


def test_trouble_that_was_met_here_at_about_the_same_time_is_not_answered_twice() -> None:
    target = busy()
    turned_away(target, 4.0, 4.8)
    limit = target.limit(5.2)
    assert target.follow(told(cut_at=5.0), 5.2, is_news=True).cut is None
    assert target.limit(5.2) == limit
    assert target.follow(told(cut_at=7.0), 7.2, is_news=True).cut is not None


def test_a_process_with_nothing_to_do_takes_the_other_limit_and_its_rest() -> None:
    target = health()
    change = target.follow(told(limit=20, closed_until=9.0), 5.2, is_news=True)
    assert change.closed
    assert target.limit(5.2) == 20
    assert target.closed_for(5.2) == pytest.approx(3.8)


def test_what_it_heeded_it_does_not_tell_as_its_own() -> None:
    target = busy()
    target.follow(told(), 5.2, is_news=True)
    assert target.signal(5.3).cut_at == -math.inf
    assert target.signal(5.3).lowered
    turned_away(target, 6.0, 7.0)
    assert target.signal(7.1).cut_at == 7.0
