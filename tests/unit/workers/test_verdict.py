"""What an attempt's end means for its job, as rules over whole lives of jobs."""

from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.envelope import ATTEMPTS_MAX, RetryPolicy
from schemas.reasons import Failure
from schemas.state import State
from schemas.topics import RetryDelay
from tests.unit.workers.memory import NOW_MS, charge, state
from workers.verdict import (
    Again,
    CalledOff,
    GiveUp,
    Late,
    Step,
    TooSlow,
    Unresolved,
    after_failure,
    backoff_ms,
    tier,
)

FREE = {
    Failure.HOLD_LAPSED,
    Failure.CONNECT_FAILED,
    Failure.RATE_LIMITED,
    Failure.DEADLINE_PASSED,
    Failure.CANCELLED,
}
WAITING = FREE - {Failure.CANCELLED}
UNPAID_KEPT = 20


class End(NamedTuple):
    """How one attempt ended."""

    failure: Failure
    unknown: bool = False
    wait_ms: int = 0
    nanodollars: int = 0


ends = st.builds(
    End,
    st.sampled_from(Failure),
    st.booleans(),
    st.integers(0, 20_000),
    st.one_of(st.just(0), st.integers(1, 10**12)),
)
policies = st.builds(
    RetryPolicy, attempts_max=st.integers(1, ATTEMPTS_MAX), at_most_once=st.just(False) | st.booleans()
)


class Life:
    """A job from its first attempt to its end, or as far as `ends` go. Time stands still but for waits."""

    def __init__(self, policy: RetryPolicy, ends: list[End], deadline_ms: int = NOW_MS + 60_000) -> None:
        self.states = [state(retry=policy, deadline_ms=deadline_ms)]
        self.steps: list[Step] = []
        self.ends: list[End] = []
        self.now_ms = NOW_MS
        for end in ends:
            if not self._go_on(end):
                return

    def _go_on(self, end: End) -> bool:
        before = self.states[-1]
        step = after_failure(
            before,
            charge(before.attempt, end.nanodollars, verdict="unknown" if end.unknown else "failed"),
            end.failure,
            unknown=end.unknown,
            due_ms=self.now_ms + end.wait_ms,
            now_ms=self.now_ms,
        )
        self.ends.append(end)
        self.steps.append(step)
        self.states.append(step.state)
        self.now_ms += end.wait_ms
        return isinstance(step, Again)

    @property
    def counting(self) -> int:
        return sum(end.failure not in FREE for end in self.ends)


lives = st.builds(Life, policies, st.lists(ends, min_size=1, max_size=40))


@given(lives)
def test_no_more_attempts_count_than_the_job_allows(life: Life) -> None:
    attempts_max = life.states[0].retry.attempts_max
    assert life.counting <= attempts_max
    for step in life.steps:
        if isinstance(step, Again):
            assert sum(failure not in FREE for failure in step.state.failures) < attempts_max


@given(lives)
def test_a_job_gives_up_for_its_last_failure_and_not_before(life: Life) -> None:
    last = life.steps[-1]
    if isinstance(last, GiveUp) and last.reason is not Failure.INTERNAL_ERROR:
        assert life.counting == life.states[0].retry.attempts_max
        assert last.reason is life.ends[-1].failure
        assert last.reason not in FREE


@given(lives)
def test_after_an_error_of_our_own_nothing_is_tried_again(life: Life) -> None:
    for end, step in zip(life.ends, life.steps, strict=True):
        if end.failure is Failure.INTERNAL_ERROR:
            assert isinstance(step, GiveUp | Unresolved)


@given(st.lists(ends.filter(lambda end: end.failure in WAITING and not end.unknown), min_size=1, max_size=60))
def test_while_nobody_was_asked_a_job_waits_until_its_deadline(waits: list[End]) -> None:
    life = Life(RetryPolicy(attempts_max=1), waits, deadline_ms=NOW_MS + 10**9)
    assert all(isinstance(step, Again) for step in life.steps)
    assert len(life.states[-1].failures) == 1


@given(lives)
def test_each_attempt_is_the_next_one_and_takes_a_hold_of_its_own(life: Life) -> None:
    for before, step in zip(life.states, life.steps, strict=False):
        assert step.state.attempt == before.attempt + isinstance(step, Again)
        assert step.state.hold is None


@given(lives)
def test_nothing_is_tried_past_the_deadline(life: Life) -> None:
    for step in life.steps:
        due_ms = step.state.due_ms
        assert due_ms is not None
        if isinstance(step, Again):
            assert due_ms < step.state.deadline_ms
        if isinstance(step, Late):
            assert due_ms >= step.state.deadline_ms


@pytest.mark.parametrize(("before_ms", "kind"), [(1, Again), (0, Late)])
def test_an_attempt_that_is_due_at_the_deadline_is_late(before_ms: int, kind: type[Step]) -> None:
    last = state()
    due_ms = last.deadline_ms - before_ms
    step = after_failure(last, charge(), Failure.TIMEOUT, unknown=True, due_ms=due_ms, now_ms=NOW_MS)
    assert isinstance(step, kind)


@given(lives)
def test_a_wait_goes_by_the_shortest_tier_that_covers_it(life: Life) -> None:
    for end, step in zip(life.ends, life.steps, strict=True):
        if isinstance(step, Again):
            assert step.delay == (tier(end.wait_ms) if end.wait_ms else None)


@given(st.integers(-(10**12), 0))
def test_what_was_due_before_now_goes_at_once(late_ms: int) -> None:
    """As when a verdict is found again by another process."""
    step = after_failure(
        state(), charge(), Failure.TIMEOUT, unknown=True, due_ms=NOW_MS + late_ms, now_ms=NOW_MS
    )
    assert isinstance(step, Again)
    assert step.delay is None


@given(st.lists(ends, min_size=1, max_size=40), st.integers(1, ATTEMPTS_MAX))
def test_an_at_most_once_job_is_never_tried_again_after_an_unknown_outcome(
    given_ends: list[End], attempts_max: int
) -> None:
    life = Life(RetryPolicy(attempts_max=attempts_max, at_most_once=True), given_ends)
    for end, step in zip(life.ends, life.steps, strict=True):
        is_off = end.failure is Failure.CANCELLED
        assert isinstance(step, Unresolved) == (end.unknown and not is_off)
    assert not any(end.unknown for end in life.ends[:-1])


@given(lives)
def test_a_job_that_is_called_off_ends_so_and_no_other_does(life: Life) -> None:
    for end, step in zip(life.ends, life.steps, strict=True):
        assert isinstance(step, CalledOff) == (end.failure is Failure.CANCELLED)


@given(lives)
def test_only_an_at_most_once_job_ends_unresolved(life: Life) -> None:
    assert life.states[0].retry.at_most_once or not any(isinstance(step, Unresolved) for step in life.steps)


@given(lives)
@example(Life(RetryPolicy(), [End(Failure.RATE_LIMITED)] * (UNPAID_KEPT + 2)))
@example(Life(RetryPolicy(), [End(Failure.TIMEOUT, True, 0, 5), *[End(Failure.RATE_LIMITED)] * 30]))
def test_what_was_paid_travels_on_and_of_the_rest_the_last(life: Life) -> None:
    charged = [(number, end.nanodollars) for number, end in enumerate(life.ends, 1)]
    paid = [one for one in charged if one[1]]
    unpaid = [one for one in charged if not one[1]]
    kept = [(one.attempt, one.nanodollars) for one in life.states[-1].charges]
    assert kept == sorted(paid + unpaid[-UNPAID_KEPT:])


@given(lives)
def test_failures_that_count_are_all_told_and_of_the_others_the_last(life: Life) -> None:
    failures = [end.failure for end in life.ends]
    counting = [failure for failure in failures[:-1] if failure not in FREE]
    assert life.states[-1].failures == (*counting, failures[-1])


@given(lives)
def test_nothing_else_of_the_job_changes(life: Life) -> None:
    changing = {"attempt", "charges", "failures", "hold", "due_ms"}
    fixed = [each.model_dump(exclude=changing) for each in life.states]
    assert all(each == fixed[0] for each in fixed)


@pytest.mark.parametrize(
    ("end", "due_ms", "kind"),
    [
        (End(Failure.TIMEOUT, unknown=True), NOW_MS + 10**9, Unresolved),
        (End(Failure.PROVIDER_ERROR), NOW_MS + 10**9, GiveUp),
        (End(Failure.RATE_LIMITED), NOW_MS + 10**9, Late),
        (End(Failure.TIMEOUT, unknown=True), None, Unresolved),
        (End(Failure.PROVIDER_ERROR), None, GiveUp),
        (End(Failure.RATE_LIMITED), None, TooSlow),
    ],
)
def test_of_several_ends_the_graver_one_is_told(end: End, due_ms: int | None, kind: type[Step]) -> None:
    last: State = state(retry=RetryPolicy(attempts_max=1, at_most_once=True))
    step = after_failure(last, charge(), end.failure, unknown=end.unknown, due_ms=due_ms, now_ms=NOW_MS)
    assert isinstance(step, kind)


# tiers and backoff


@given(st.integers(1, 10**9))
def test_a_tier_covers_its_wait_and_is_the_shortest_that_does(wait_ms: int) -> None:
    chosen = tier(wait_ms)
    shorter = [delay for delay in RetryDelay if delay.ms < chosen.ms]
    assert wait_ms <= chosen.ms or chosen is RetryDelay.TEN_MINUTES
    assert all(delay.ms < wait_ms for delay in shorter)


waits = st.tuples(st.integers(1, 10_000), st.integers(1, 10**6), st.integers(1, 10**7), st.floats(0, 1))


@given(waits, st.none() | st.integers(-(10**6), 10**9))
def test_backoff_stays_within_its_bounds(
    wait: tuple[int, int, int, float], retry_after_ms: int | None
) -> None:
    attempt, base_ms, max_ms, jitter = wait
    ms = backoff_ms(attempt, base_ms, max_ms, retry_after_ms, jitter)
    ceiling = min(max_ms, base_ms * 2 ** min(attempt - 1, 30))
    assert ceiling // 2 <= ms <= max_ms
    assert ms >= min(retry_after_ms or 0, max_ms)
    assert ms <= max(ceiling, retry_after_ms or 0)


@given(waits)
def test_backoff_doubles_until_it_is_at_its_most(wait: tuple[int, int, int, float]) -> None:
    attempt, base_ms, max_ms, _ = wait
    one, next_one = (backoff_ms(number, base_ms, max_ms, None, 1.0) for number in (attempt, attempt + 1))
    assert abs(next_one - min(max_ms, 2 * one)) <= 2


def test_backoff_in_figures() -> None:
    assert backoff_ms(1, 1_000, 600_000, None, 0.0) == 500
    assert backoff_ms(1, 1_000, 600_000, None, 1.0) == 1_000
    assert backoff_ms(4, 1_000, 600_000, None, 0.5) == 6_000
    assert backoff_ms(1, 1_000, 600_000, 30_000, 0.0) == 30_000
    assert backoff_ms(1, 1_000, 600_000, 3_600_000, 0.0) == 600_000
