"""Thresholds of budgets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.quota.thresholds import Crossing, Used, crossings

DAY = 20_000
LIMIT = "nanodollars_per_day"


@pytest.mark.parametrize(
    ("amount", "percent"),
    [(0, None), (49, None), (50, 50), (79, 50), (80, 80), (99, 80), (100, 100), (120, 100)],
)
def test_the_highest_that_is_reached(amount: int, percent: int | None) -> None:
    expected = [] if percent is None else [Crossing(LIMIT, DAY, percent, amount, 100)]
    assert crossings({LIMIT: Used(DAY, amount, 100)}) == expected


def test_each_limit_for_itself() -> None:
    used = {"nanodollars_per_day": Used(DAY, 8, 10), "tokens_per_month": Used(24_000, 100, 100)}
    assert [(each.limit, each.window, each.percent) for each in crossings(used)] == [
        ("nanodollars_per_day", DAY, 80),
        ("tokens_per_month", 24_000, 100),
    ]


def test_a_cap_of_nothing_is_reached_by_nothing() -> None:
    assert crossings({LIMIT: Used(DAY, 0, 0)}) == []


@given(st.integers(0, 2**53), st.integers(1, 2**53))
def test_a_threshold_is_reached_exactly(amount: int, cap: int) -> None:
    found = crossings({LIMIT: Used(DAY, amount, cap)})
    for percent in (50, 80, 100):
        assert (amount * 100 >= cap * percent) == any(each.percent >= percent for each in found)
