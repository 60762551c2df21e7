"""How far a budget has been used: what its owner is told of before it ends. Pure."""

from collections.abc import Mapping
from typing import Final, NamedTuple

THRESHOLDS_PERCENT: Final = (100, 80, 50)


class Used(NamedTuple):
    """What counts against a cap in one window, spent and held together."""

    window: int
    """The number of its day or month."""
    amount: int
    cap: int


class Crossing(NamedTuple):
    """`percent` of the cap was reached in that window."""

    limit: str
    window: int
    percent: int
    amount: int
    cap: int


def crossings(used: Mapping[str, Used]) -> list[Crossing]:
    """Of each limit (by name) the highest threshold that is reached.

    A cap of nothing has no part of it that could be reached.
    """
    return [
        Crossing(limit, each.window, percent, each.amount, each.cap)
        for limit, each in used.items()
        if each.cap > 0 and (percent := _reached(each)) is not None
    ]


def _reached(used: Used) -> int | None:
    return next((each for each in THRESHOLDS_PERCENT if used.amount * 100 >= used.cap * each), None)
