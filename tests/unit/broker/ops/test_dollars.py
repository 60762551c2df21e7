"""Dollars and nano-dollars."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import SettingsInvalid
from broker.ops.dollars import to_dollars, to_nanodollars
from broker.quota.limits import NUMBER_MAX

AMOUNTS = st.integers(0, NUMBER_MAX)


@given(AMOUNTS)
def test_they_come_back_exactly(nanodollars: int) -> None:
    assert to_nanodollars(to_dollars(nanodollars)) == nanodollars


@given(AMOUNTS)
def test_they_say_the_same_number(nanodollars: int) -> None:
    assert Decimal(to_dollars(nanodollars).removeprefix("$")) * 10**9 == nanodollars


@pytest.mark.parametrize(
    ("text", "nanodollars"),
    [("25", 25 * 10**9), ("0.5", 5 * 10**8), ("$12.50", 125 * 10**8), ("0.000000001", 1), ("0", 0)],
)
def test_people_write_them_so(text: str, nanodollars: int) -> None:
    assert to_nanodollars(text) == nanodollars


@pytest.mark.parametrize(
    "text", ["", "-1", "1.0000000001", "1e3", "1,000", ".5", "5.", "ten", "٣", "9007200", "99999999", "NaN"]
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(SettingsInvalid):
        to_nanodollars(text)


@pytest.mark.parametrize(
    ("nanodollars", "text"),
    [
        (0, "$0.00"),
        (25 * 10**9, "$25.00"),
        (5 * 10**8, "$0.50"),
        (1, "$0.000000001"),
        (1234567890, "$1.23456789"),
        (-500_000_000, "-$0.50"),
    ],
)
def test_they_are_shown_so(nanodollars: int, text: str) -> None:
    assert to_dollars(nanodollars) == text
