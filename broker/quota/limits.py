"""What a budget allows, and the windows that it is counted in.

Windows are numbered since the Unix epoch, in UTC: days and minutes. A hold and its charge belong to the
windows in which the hold was taken.
"""

from dataclasses import dataclass
from typing import Literal

DAY_MS = 86_400_000
MINUTE_MS = 60_000
NUMBER_MAX = 2**53 - 1
"""Redis scripts count in doubles, which hold integers exactly up to here. It is the cap where none is set."""

Reason = Literal["nanodollars_per_day", "requests_per_minute", "jobs_in_flight"]
"""The limit that stands in the way, by its name in `Limits`."""

REASONS: tuple[Reason, ...] = ("nanodollars_per_day", "requests_per_minute", "jobs_in_flight")
"""In the order in which the scripts number them, from 1."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one node of the budget tree; None sets no limit."""

    nanodollars_per_day: int | None = None
    requests_per_minute: int | None = None
    jobs_in_flight: int | None = None
    """Holds at the same time, held or started."""

    def caps(self) -> tuple[int, ...]:
        """One number a limit, in the order of `REASONS`."""
        return tuple(
            NUMBER_MAX if cap is None else min(cap, NUMBER_MAX)
            for cap in (self.nanodollars_per_day, self.requests_per_minute, self.jobs_in_flight)
        )


def day_of(now_ms: int) -> int:
    return now_ms // DAY_MS


def minute_of(now_ms: int) -> int:
    return now_ms // MINUTE_MS


def first_open_day(now_ms: int) -> int:
    """Counters of this day and later ones are kept; what is settled for an earlier one changes nothing.

    Yesterday stays open for calls that ran over midnight.
    """
    return day_of(now_ms) - 1
