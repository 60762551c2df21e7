"""Forecasts of when a budget runs out."""

from hypothesis import given
from hypothesis import strategies as st

from broker.quota.forecast import Pace, runs_out_ms

HOUR_MS = 3_600_000
NOW_MS = 1_700_000_000_000
amounts = st.integers(0, 2**53)


def test_at_the_pace_of_late() -> None:
    assert runs_out_ms(20, Pace(10, HOUR_MS), NOW_MS, NOW_MS + 3 * HOUR_MS) == NOW_MS + 2 * HOUR_MS


def test_what_lasts_until_the_window_ends() -> None:
    assert runs_out_ms(20, Pace(10, HOUR_MS), NOW_MS, NOW_MS + 2 * HOUR_MS) is None
    assert runs_out_ms(20, Pace(0, HOUR_MS), NOW_MS, NOW_MS + HOUR_MS) is None


def test_what_is_used_up_has_run_out() -> None:
    assert runs_out_ms(0, Pace(0, HOUR_MS), NOW_MS, NOW_MS + HOUR_MS) == NOW_MS
    assert runs_out_ms(-5, Pace(10, HOUR_MS), NOW_MS, NOW_MS + HOUR_MS) == NOW_MS


@given(amounts, amounts, st.integers(1, HOUR_MS), st.integers(1, 31 * 24 * HOUR_MS))
def test_by_then_the_pace_has_used_what_is_left_and_not_before(
    left: int, used: int, within_ms: int, open_ms: int
) -> None:
    at_ms = runs_out_ms(left, Pace(used, within_ms), NOW_MS, NOW_MS + open_ms)
    if at_ms is not None and left:
        passed_ms = at_ms - NOW_MS
        assert used * passed_ms >= left * within_ms > used * (passed_ms - 1)
        assert at_ms < NOW_MS + open_ms


@given(amounts, amounts, amounts)
def test_more_left_lasts_no_shorter(one: int, more: int, used: int) -> None:
    ends_ms = NOW_MS + 10**18
    first = runs_out_ms(one, Pace(used, HOUR_MS), NOW_MS, ends_ms)
    second = runs_out_ms(one + more, Pace(used, HOUR_MS), NOW_MS, ends_ms)
    assert second is None or (first is not None and first <= second)
