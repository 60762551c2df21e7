"""Days and months where they begin: by the clocks of a place, whatever is done to them."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.quota.calendar import DAY_MS, MINUTE_MS, Calendar
from schemas.state import month_of

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Apia", "Africa/Cairo"]
HOUR_MS = 3_600_000
_EPOCH = date(1970, 1, 1)
times = st.integers(0, 4_000_000_000_000)
zones = st.sampled_from(ZONES)


def day(year: int, month: int, number: int) -> int:
    return (date(year, month, number) - _EPOCH).days


def at(year: int, month: int, number: int, hour: int = 0, minute: int = 0, second: int = 0) -> int:
    return int(datetime(year, month, number, hour, minute, second, tzinfo=UTC).timestamp()) * 1000


def packed(calendar: Calendar, now_ms: int) -> Any:
    return orjson.loads(orjson.dumps(calendar.around(now_ms)))


@given(times)
def test_in_utc_days_are_multiples_of_a_day(now_ms: int) -> None:
    calendar = Calendar()
    assert calendar.day(now_ms) == now_ms // DAY_MS
    assert calendar.start_ms(now_ms // DAY_MS) == now_ms // DAY_MS * DAY_MS


@given(times, zones)
def test_a_day_holds_its_instants_and_no_others(now_ms: int, zone: str) -> None:
    calendar = Calendar(zone)
    today = calendar.day(now_ms)
    assert calendar.start_ms(today) <= now_ms < calendar.start_ms(today + 1)
    assert _EPOCH + timedelta(days=today) == datetime.fromtimestamp(now_ms // 1000, ZoneInfo(zone)).date()


@given(times, zones)
def test_a_calendar_holds_now_the_day_before_and_what_comes_next(now_ms: int, zone: str) -> None:
    calendar = Calendar(zone)
    first_day, days, first_month, months = packed(calendar, now_ms)
    today = calendar.day(now_ms)
    index = today - first_day
    assert index >= 2
    assert days[index] <= now_ms < days[index + 1]
    assert days == sorted(days)
    assert days == [calendar.start_ms(first_day + place) for place in range(len(days))]
    place = month_of(today) - first_month
    assert place >= 1
    assert months[0] <= days[index - 1]
    assert months[place] <= now_ms < months[place + 1]


def test_a_calendar_turns_at_midnight_and_not_before() -> None:
    calendar = Calendar("Europe/Berlin")
    midnight = at(2026, 6, 30, 22)
    assert packed(calendar, midnight - 1)[0] + 1 == packed(calendar, midnight)[0]
    assert calendar.around(midnight) is calendar.around(midnight + 24 * HOUR_MS - 1)
    assert packed(calendar, midnight - 1)[0] + 1 == packed(calendar, midnight)[0]


@pytest.mark.parametrize(
    ("zone", "number", "hours"),
    [
        ("Europe/Berlin", day(2026, 3, 29), 23),
        ("Europe/Berlin", day(2026, 10, 25), 25),
        ("America/New_York", day(2026, 3, 8), 23),
        ("America/New_York", day(2026, 11, 1), 25),
        ("Africa/Cairo", day(2026, 4, 24), 23),  # the clocks skip the hour after midnight
        ("America/Havana", day(2026, 11, 1), 25),  # they repeat it
        ("Australia/Lord_Howe", day(2026, 4, 5), 24.5),
        ("Pacific/Apia", day(2011, 12, 30), 0),  # the date line was moved over it
        ("UTC", day(2026, 3, 29), 24),
    ],
)
def test_days_on_which_clocks_are_changed_are_as_long_as_they_are(
    zone: str, number: int, hours: float
) -> None:
    calendar = Calendar(zone)
    assert calendar.start_ms(number + 1) - calendar.start_ms(number) == hours * HOUR_MS


def test_a_month_is_numbered_by_its_year() -> None:
    assert month_of(day(1970, 1, 1)) == 1970 * 12
    assert month_of(day(2024, 2, 29)) == 2024 * 12 + 1
    assert month_of(day(2026, 12, 31)) + 1 == month_of(day(2027, 1, 1))


@pytest.mark.parametrize(
    ("now_ms", "first_day", "first_month_day"),
    [
        (at(2026, 3, 1, 12), day(2026, 2, 28), day(2026, 2, 1)),
        (at(2026, 3, 2, 12), day(2026, 3, 1), day(2026, 3, 1)),
        (at(2027, 1, 1, 12), day(2026, 12, 31), day(2026, 12, 1)),
    ],
)
def test_yesterday_is_open_and_so_is_its_month(now_ms: int, first_day: int, first_month_day: int) -> None:
    windows = Calendar().open_at(now_ms)
    assert (windows.first_day, windows.first_month_day) == (first_day, first_month_day)
    assert windows.first_month == month_of(first_month_day)
    assert windows.first_month_ms == first_month_day * DAY_MS
    assert (windows.day, windows.minute) == (first_day + 1, now_ms // MINUTE_MS)
