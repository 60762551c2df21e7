"""The health of one target, as this process knows it: limit, places, until when it is closed. Pure.

The one home of what is known of a target: whatever else is to hold calls back belongs here. Times are seconds
of a monotonic clock.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from broker.health.lanes import LaneShares
from broker.health.limit import LOAD_FACTOR, AdaptiveLimit, Cut, Ending
from broker.providers.provider import Answer, Failed, Rejected, Result
from schemas.reasons import Failure

NOTHING_LEFT_S_MAX: Final = 1.0
"""How long an answer which says that nothing is left holds calls back: such limits refill all the time, and
what they tell is the time until they are full. Where more is needed, Retry-After will say so."""
SAME_TROUBLE_S: Final = 1.0
_BUSY_STATUS: Final = frozenset({429, 503, 529})


@dataclass(frozen=True, slots=True)
class Rules:
    """`retry_after_s_max` bounds how long a target may close itself; for the others see AdaptiveLimit."""

    least: int
    most: int
    tolerance: float
    window_s: float
    retry_after_s_max: float


class Verdict(NamedTuple):
    """What a result says of its target."""

    ending: Ending
    closed_s: float = 0.0
    """For how long the target asks to be left alone."""


class Change(NamedTuple):
    """What a call's end has changed."""

    cut: Cut | None
    closed: bool
    """It is closed for longer now than it was, because it said so by Retry-After."""


class Signal(NamedTuple):
    """What other processes ought to know of a target. Times by the clock of the process that reads it."""

    limit: int
    lowered: bool
    """Whether the limit is below its ceiling."""
    closed_until: float
    cut_at: float
    """Of the last cut that the process found necessary by itself; -inf where there was none."""
    factor: float
    """Of the cut that lowers its limit, or lowered it last."""


class TargetHealth:
    def __init__(self, rules: Rules, weights: Mapping[str, int]) -> None:
        self._rules = rules
        self._limit = AdaptiveLimit(rules.least, rules.most, rules.tolerance, rules.window_s)
        self._shares = LaneShares(weights)
        self._closed_until = -math.inf
        self._own_cut_at = -math.inf

    @property
    def places(self) -> int:
        """Taken now."""
        return self._shares.total

    def limit(self, now: float) -> int:
        return self._limit.at(now)

    def is_lowered(self, now: float) -> bool:
        return self._limit.at(now) < self._rules.most

    def closed_for(self, now: float) -> float:
        """Seconds until calls may be started again; 0 where they may."""
        return max(0.0, self._closed_until - now)

    # places

    def enter(self, lane: str, now: float) -> bool:
        """Take a place, if one is free to the lane."""
        if now < self._closed_until:
            return False
        limit = self._limit.at(now)
        if not self._shares.fits(lane, limit, lowered=limit < self._rules.most):
            return False
        self._shares.take(lane)
        return True

    def leave(self, lane: str) -> None:
        self._shares.give_back(lane)

    def begin_to_wait(self, lane: str) -> None:
        """Of a lane in which nobody waited."""
        self._shares.begin_to_wait(lane)

    def admit(self, waiting: Collection[str], now: float) -> str | None:
        """Take a place for one of the lanes that wait: which, or None where there is none."""
        if now < self._closed_until:
            return None
        limit = self._limit.at(now)
        lane = self._shares.next(waiting, limit, lowered=limit < self._rules.most)
        if lane is not None:
            self._shares.take(lane)
        return lane

    # what calls and other processes tell

    def ended(self, result: Result, began: float, now: float, *, is_timed: bool = True) -> Change:
        """Call it before the call's place is left. `is_timed`: its latency tells of the target.

        A target that serves others meanwhile is not closed by one call that it asks to come again later.
        """
        ending, closed_s = read(result)
        is_proven = self._limit.is_proven(now)
        cut = self._limit.ended(ending, began, now, self.places, is_timed=is_timed)
        if cut is not None:
            self._own_cut_at = now
        if ending is Ending.SERVED:
            closed_s = min(closed_s, NOTHING_LEFT_S_MAX) if began >= self._closed_until else 0.0
        elif is_proven and cut is None:
            closed_s = 0.0
        closed = self._close(closed_s, now) and ending is not Ending.SERVED
        return Change(cut, closed)

    def follow(self, other: Signal, now: float, *, is_news: bool) -> Change:
        """Heed another process's signal; `is_news`: its cut was not heeded before.

        What happened here about the same time or later is the answer to the same trouble.
        """
        closed = self._close(other.closed_until - now, now)
        last = self._limit.cut
        if not is_news or not other.lowered or (last is not None and last.at > other.cut_at - SAME_TROUBLE_S):
            return Change(None, closed)
        return Change(self._limit.follow(other.factor, other.limit, now, self.places), closed)

    def signal(self, now: float) -> Signal:
        limit, cut = self._limit.at(now), self._limit.cut
        factor = LOAD_FACTOR if cut is None else cut.factor
        return Signal(limit, limit < self._rules.most, self._closed_until, self._own_cut_at, factor)

    def _close(self, seconds: float, now: float) -> bool:
        until = now + min(seconds, self._rules.retry_after_s_max)
        if seconds <= 0 or until <= self._closed_until:
            return False
        self._closed_until = until
        return True


def read(result: Result) -> Verdict:
    """A refusal says nothing of a target's health: it is alive, but did no work to be timed."""
    match result:
        case Answer(nothing_left_ms=ms):
            return Verdict(Ending.SERVED, (ms or 0) / 1000)
        case Rejected():
            return Verdict(Ending.NOTHING)
        case Failed(failure=failure, status=status, retry_after_ms=ms):
            if failure is Failure.RATE_LIMITED or (status in _BUSY_STATUS and ms):
                return Verdict(Ending.OVERLOADED, (ms or 0) / 1000)
            if failure in _OF_THE_ANSWER:
                return Verdict(Ending.NOTHING)
            return Verdict(Ending.FAILED, (ms or 0) / 1000)


_OF_THE_ANSWER: Final = frozenset({Failure.BROKEN_ANSWER, Failure.ANSWER_TOO_LARGE})
