"""How lanes share what a target takes: who may have a place, and who is next. Pure.

While the limit is lowered, a lane may only have a part of it together with the lanes below it (CEILINGS), so
that a flood of `bulk` leaves places that `standard` and `interactive` find free. Of the lanes that wait for a
place, the next is found by stride scheduling (Waldspurger and Weihl, 1995) with the lanes' weights, so that
under pressure bulk yields first, interactive last, and none starves.
"""

from collections.abc import Collection, Mapping
from itertools import accumulate
from typing import Final

CEILINGS: Final[Mapping[str, float]] = {"bulk": 0.8, "standard": 0.9, "interactive": 1.0}
"""From the lane that yields first to the last: the part of a lowered limit for it and those before it."""


class LaneShares:
    """Places under way by lane. `weights`: of each lane in CEILINGS."""

    def __init__(self, weights: Mapping[str, int]) -> None:
        self._weights = {lane: weights[lane] for lane in CEILINGS}
        self._used = dict.fromkeys(CEILINGS, 0)
        self._pass = dict.fromkeys(CEILINGS, 0.0)
        self._now = 0.0
        self.total = 0

    def fits(self, lane: str, limit: int, *, lowered: bool) -> bool:
        """Whether the lane may have one place more."""
        if self.total >= limit:
            return False
        if not lowered:
            return True
        concerned = False
        for (one, ceiling), used in zip(CEILINGS.items(), accumulate(self._used.values()), strict=True):
            concerned = concerned or one == lane
            if concerned and used >= max(1, int(ceiling * limit)):
                return False
        return True

    def take(self, lane: str) -> None:
        self.total += 1
        self._used[lane] += 1
        self._now = max(self._now, self._pass[lane])
        self._pass[lane] += 1 / self._weights[lane]

    def give_back(self, lane: str) -> None:
        self.total -= 1
        self._used[lane] -= 1

    def begin_to_wait(self, lane: str) -> None:
        """A lane that did not wait can have saved nothing up."""
        self._pass[lane] = max(self._pass[lane], self._now)

    def next(self, waiting: Collection[str], limit: int, *, lowered: bool) -> str | None:
        """Of the lanes that wait the one whose turn it is, if any may have a place."""
        able = [lane for lane in CEILINGS if lane in waiting and self.fits(lane, limit, lowered=lowered)]
        return min(able, key=self._pass.__getitem__) if able else None
