"""The windows that budgets are counted in: minutes, days and calendar months, and where they begin.

A minute is numbered from the Unix epoch, in UTC. A day is that of a time zone's date, numbered from
1970-01-01 whatever the zone; it begins with the first instant that has the date, and lasts 23 or 25 hours
where the clocks are changed. A month is numbered as `schemas.state.month_of` says. A hold and its charge
belong to the windows in which the hold was taken.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final
from zoneinfo import ZoneInfo

import orjson

from schemas.state import month_of

DAY_MS: Final = 86_400_000
MINUTE_MS: Final = 60_000
_EPOCH: Final = date(1970, 1, 1).toordinal()
_DAYS_BEFORE, _DAYS_AFTER = 2, 3
_MONTHS_BEFORE, _MONTHS_AFTER = 1, 1


@dataclass(frozen=True, slots=True)
class OpenWindows:
    """Those that are still counted in: the present ones, yesterday, and its month.

    Yesterday stays open for calls that ran over midnight.
    """

    first_day: int
    first_month: int
    first_month_day: int
    """The day that the month begins with."""
    first_month_ms: int
    """The instant."""
    day: int
    minute: int


class Calendar:
    """Of one time zone, by its IANA name. Raises ZoneInfoNotFoundError, ValueError."""

    def __init__(self, time_zone: str = "UTC") -> None:
        self._zone = ZoneInfo(time_zone)
        self._today_ms = range(0)
        self._packed = orjson.Fragment(b"")

    def around(self, now_ms: int) -> orjson.Fragment:
        """What the scripts find the present windows in, whose own clock says what the present is:
        `[day, [start, ...], month, [start, ...]]`, the first number of each and where it and those after it
        begin, in milliseconds since the epoch. The last start is but the end of the one before.
        """
        if now_ms not in self._today_ms:
            self._turn(now_ms)
        return self._packed

    def open_at(self, now_ms: int) -> OpenWindows:
        day = self.day(now_ms)
        first_month = month_of(day - 1)
        first_month_day = _first_of(first_month)
        return OpenWindows(
            day - 1,
            first_month,
            first_month_day,
            self.start_ms(first_month_day),
            day,
            now_ms // MINUTE_MS,
        )

    def day(self, now_ms: int) -> int:
        return datetime.fromtimestamp(now_ms // 1000, UTC).astimezone(self._zone).toordinal() - _EPOCH

    def start_ms(self, day: int) -> int:
        found = date.fromordinal(_EPOCH + day)
        # Where the clocks skip midnight, the offset before it gives the instant of the change; where they
        # repeat it, fold 0 is the first time.
        return int(datetime(found.year, found.month, found.day, tzinfo=self._zone).timestamp()) * 1000

    def _turn(self, now_ms: int) -> None:
        today = self.day(now_ms)
        month = month_of(today)
        days = range(today - _DAYS_BEFORE, today + _DAYS_AFTER + 2)
        months = range(month - _MONTHS_BEFORE, month + _MONTHS_AFTER + 2)
        day_starts = [self.start_ms(day) for day in days]
        month_starts = [self.start_ms(_first_of(each)) for each in months]
        self._packed = orjson.Fragment(orjson.dumps([days[0], day_starts, months[0], month_starts]))
        self._today_ms = range(day_starts[_DAYS_BEFORE], day_starts[_DAYS_BEFORE + 1])


def _first_of(month: int) -> int:
    year, index = divmod(month, 12)
    return date(year, index + 1, 1).toordinal() - _EPOCH
