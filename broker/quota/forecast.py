"""When a budget runs out, if it is used on as of late. Pure."""

from typing import NamedTuple


class Pace(NamedTuple):
    """What was used (nanodollars, or tokens) in a time that has just passed."""

    used: int
    within_ms: int


def runs_out_ms(left: int, pace: Pace, now_ms: int, window_ends_ms: int) -> int | None:
    """When nothing is left of what the window allows; None where it lasts until the window ends.

    By the mean of `pace`: what is left, divided by what was used in a millisecond, rounded up.
    """
    if left <= 0:
        return now_ms
    if pace.used <= 0:
        return None
    at_ms = now_ms - (-left * pace.within_ms // pace.used)
    return at_ms if at_ms < window_ends_ms else None
