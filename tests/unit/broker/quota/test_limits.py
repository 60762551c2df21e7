from hypothesis import given
from hypothesis import strategies as st

from broker.quota.limits import (
    DAY_MS,
    MINUTE_MS,
    NUMBER_MAX,
    REASONS,
    Limits,
    day_of,
    first_open_day,
    minute_of,
)

times = st.integers(0, 2**43)


@given(times)
def test_windows_begin_where_they_are_numbered(now_ms: int) -> None:
    assert day_of(now_ms) * DAY_MS <= now_ms < (day_of(now_ms) + 1) * DAY_MS
    assert minute_of(now_ms) * MINUTE_MS <= now_ms < (minute_of(now_ms) + 1) * MINUTE_MS
    assert minute_of(now_ms) // 1440 == day_of(now_ms)


def test_yesterday_is_open_and_the_day_before_is_closed() -> None:
    midnight = 20_000 * DAY_MS
    assert first_open_day(midnight - 1) == 19_998
    assert first_open_day(midnight) == 19_999


def test_reasons_are_the_limits_by_name_and_in_order() -> None:
    assert tuple(Limits.__dataclass_fields__) == REASONS
    assert Limits(nanodollars_per_day=5, requests_per_minute=6, jobs_in_flight=7).caps() == (5, 6, 7)


def test_no_limit_is_the_greatest_number_that_the_scripts_count_to() -> None:
    assert Limits().caps() == (NUMBER_MAX,) * 3
    assert Limits(2**60, 2**60, 2**60).caps() == (NUMBER_MAX,) * 3
    assert float(NUMBER_MAX) + 1 != float(NUMBER_MAX)
