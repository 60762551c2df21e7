"""How many calls a target may have under way at once. Pure; times are seconds of a monotonic clock.

The limit starts at its ceiling. Trouble cuts it, to a part of what was under way (multiplicative decrease):
calls that were turned away for load, failures where they are more than a fifth, latency where it is a
multiple of what it was. From the first call that is served after a cut the limit rises again along a
cubic: quickly at first, slowly about where the trouble was met, then faster and faster (after TCP CUBIC,
RFC 9438). With time alone a cut is forgotten.

One call that is turned away among many that are served may be chance. So each one fills a bucket, each call
served drains a little of it, and the bucket has to be full (as gRPC throttles retries, gRFC A6). It is after
three in a row; it hardly ever is while fewer than one in eleven are turned away. The more are under way, the
more it holds, for so many more come together by chance. Failures have a bucket of their own: full after eight
in a row, hardly ever while fewer than one in ten fail.

Where the trouble was met, says little if not half of the limit was under way, and nothing of failures: a
target that answers nothing but errors does so at once, and there is never much under way. The limit then
rises to what the target bore before, and the sooner, the less a call takes.

Latency is judged by windows, and against a baseline that follows it down at once and up only while the
target is not pressed, that is, while less than half of the limit is under way: what a target takes then is
not our doing. So nothing has to be held back to measure it. Where after a cut for latency fewer calls are
served in the same time, load was not its cause (answers grew longer), for fewer calls at once lose nothing to
a target that has a queue: the cut is undone, and the latency taken as the baseline. The mean of few calls is
off by much, so a window counts as slower or faster only by what it surely is.
The gradient of latencies is the idea of Netflix's concurrency-limits and Envoy's adaptive concurrency filter;
they differ in measuring the baseline by an average or by letting few calls through for a while.

Calls that began before the last cut tell of the time before it and cause none: a thousand calls that are
turned away together cut once. How many of them were, says how low the limit is to begin.
"""

import math
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum
from typing import Final

from broker.health.window import Window

LOAD_FACTOR: Final = 0.7
"""Of what is under way, where a call was turned away for load."""
TURNED_AWAY_LEAST: Final = 3
TURNED_AWAY_PART: Final = 0.05
"""What the bucket of calls turned away holds: so many, or that part of what is under way."""
SERVED_DRAINS: Final = 0.1
"""What each call served takes out of it."""
PROVEN_S: Final = 60.0
"""So long a call that was served speaks for its target."""
TOGETHER_LEAST: Final = 0.1
"""Of what was under way, however many of it were turned away together."""
FAILURE_FACTOR: Final = 0.5
LATENCY_FACTORS: Final = (0.5, 0.7)
"""Least and most: a smaller step could not be told from chance when its effect is looked for."""
BORE_KEPT: Final = 0.85
"""Of what a target bore, by each hundred calls served while less was under way, and by each cut."""
RISE_S: Final = 10.0
"""From the first call served after a cut until the limit is back where the trouble was, at most."""
RISE_S_LEAST: Final = 2.0
RISE_IN_LATENCIES: Final = 10.0
"""In between, so many times what a call takes, where the trouble does not say what the target bears."""
RISE_LEAST: Final = 4.0
FORGET_S: Final = 300.0
"""A cut older than this is forgotten."""
FAILED_LEAST: Final = 8
FAILED_PART: Final = 0.05
"""What the bucket of failures holds: so many, or that part of what is under way."""
FAILED_SHARE: Final = 0.2
"""Of what ends: with so many failures the bucket neither fills nor drains."""
SAMPLES: Final = (5, 100)
"""Least and most that a window needs; in between twice the limit. After half of WINDOW_S_MAX the least do."""
WINDOW_IN_LATENCIES: Final = 4.0
"""How much longer than its calls a window is at least: in a shorter one only the quick have ended."""
WINDOW_S_MAX: Final = 60.0
"""Or twice what it must last, where that is more. A window that is not full by then is begun anew."""
_DOWN, _UP = 0.3, 0.1
_SERVED_MAKES_GOOD: Final = FAILED_SHARE / (1 - FAILED_SHARE)


class Ending(Enum):
    """What the end of a call says of its target."""

    SERVED = "served"
    OVERLOADED = "overloaded"
    """Turned away for load."""
    FAILED = "failed"
    NOTHING = "nothing"


class Cause(StrEnum):
    """Why a limit was cut."""

    OVERLOADED = "overloaded"
    FAILURES = "failures"
    LATENCY = "latency"
    OTHERS = "others"
    """Another process met trouble."""


@dataclass(frozen=True, slots=True)
class Cut:
    at: float
    cause: Cause
    factor: float
    low: float
    """Where the limit is until a call is served."""
    reached: float
    """What was under way when the trouble was met."""
    aim: float
    """Where it rises to at first."""
    rise_s: float = RISE_S
    rising_since: float | None = None
    turned_away: int = 1
    """Of a cut for calls that were turned away: those that were under way together."""
    per_s: float | None = None
    """Of a cut for latency: calls served a second before it, until it is known whether it was right."""
    before: "Cut | None" = None
    """What to go back to if it was not."""

    def limit(self, now: float) -> float:
        if self.rising_since is None:
            return self.low
        rise = max(self.aim - self.low, RISE_LEAST)
        return max(self.low, self.aim + rise * ((now - self.rising_since) / self.rise_s - 1) ** 3)


@dataclass(slots=True)
class AdaptiveLimit:
    """`least` and `most`: its bounds, from 1. See the module."""

    least: int
    most: int
    tolerance: float
    """So many times the baseline is too slow; more than 1."""
    window_s: float
    """The shortest window."""
    cut: Cut | None = None
    baseline_s: float | None = None
    _epoch: float = -math.inf
    _served_at: float = -math.inf
    _turned_away: float = 0.0
    _failed: float = 0.0
    _bore: float = 0.0
    """How many calls were under way of late while others were served; fades by each window and cut."""
    _window: Window = field(default_factory=lambda: Window(-math.inf))

    def at(self, now: float) -> int:
        """The limit now, within its bounds."""
        cut = self.cut
        if cut is None:
            return self.most
        if now - cut.at > FORGET_S:
            self.cut = None
            return self.most
        return max(self.least, min(self.most, int(cut.limit(now))))

    def is_proven(self, now: float) -> bool:
        """Whether a call was served of late, and since the last cut."""
        return now - self._served_at <= PROVEN_S

    def ended(
        self, ending: Ending, began: float, now: float, under_way: int, *, is_timed: bool = True
    ) -> Cut | None:
        """A call has ended, with `under_way` calls under way, itself among them. The cut that it caused.

        `is_timed`: the target is what its latency tells of.
        """
        if began < self._epoch:
            if ending is Ending.OVERLOADED:
                self._turned_away_with_others()
            return None
        if ending is Ending.NOTHING:
            return None
        if ending is Ending.OVERLOADED:
            return self._overloaded(now, under_way)
        if ending is Ending.FAILED:
            return self._has_failed(now, under_way)
        self._served(now)
        return self._timed(now - began, now, under_way) if is_timed else None

    def follow(self, factor: float, theirs: int, now: float, under_way: int) -> Cut | None:
        """Another process cut by `factor`, to `theirs`. None where that is no less than the limit here.

        A process with little to do takes the other's limit: it knows nothing better.
        """
        limit = self.at(now)
        low = max(self.least, int(min(limit, under_way) * factor), theirs)
        if low >= limit:
            return None
        reached = min(limit, low / factor)
        aim = _aim(self._bears(Cause.OTHERS, reached), limit)
        self._bore *= BORE_KEPT
        return self._take(Cut(now, Cause.OTHERS, factor, low, reached, aim))

    def _overloaded(self, now: float, under_way: int) -> Cut | None:
        self._turned_away += 1
        together = math.ceil(self._turned_away)
        if self._turned_away < max(TURNED_AWAY_LEAST, TURNED_AWAY_PART * under_way):
            return None
        cut = self._lower(Cause.OVERLOADED, LOAD_FACTOR, now, under_way + together - 1)
        self.cut = replace(cut, turned_away=together)
        return self.cut

    def _turned_away_with_others(self) -> None:
        cut = self.cut
        if cut is None or cut.cause is not Cause.OVERLOADED or cut.rising_since is not None:
            return
        turned_away = cut.turned_away + 1
        low = max(TOGETHER_LEAST * cut.reached, min(cut.low, cut.reached - turned_away))
        self.cut = replace(cut, turned_away=turned_away, low=low)

    def _has_failed(self, now: float, under_way: int) -> Cut | None:
        self._failed += 1
        if self._failed < max(FAILED_LEAST, FAILED_PART * under_way):
            return None
        return self._lower(Cause.FAILURES, FAILURE_FACTOR, now, under_way)

    def _served(self, now: float) -> None:
        self._served_at = now
        self._turned_away = max(0.0, self._turned_away - SERVED_DRAINS)
        self._failed = max(0.0, self._failed - _SERVED_MAKES_GOOD)
        if self.cut is not None and self.cut.rising_since is None:
            self.cut = replace(self.cut, rising_since=now)

    def _timed(self, latency_s: float, now: float, under_way: int) -> Cut | None:
        window = self._window
        if now - window.began > max(WINDOW_S_MAX, 2 * WINDOW_IN_LATENCIES * (self.baseline_s or 0.0)):
            window = self._window = Window(now)
        window.note(latency_s)
        window.under_way = max(window.under_way, under_way)
        if not self._is_full(window, now):
            return None
        self._window = Window(now)
        return self._judge(window, now)

    def _is_full(self, window: Window, now: float) -> bool:
        fewest, enough = SAMPLES
        lasted_s = now - window.began
        wanted = fewest if lasted_s > WINDOW_S_MAX / 2 else min(enough, max(fewest, 2 * self.at(now)))
        if window.served < wanted:
            return False
        return lasted_s >= max(self.window_s, WINDOW_IN_LATENCIES * window.seconds / window.served)

    def _judge(self, window: Window, now: float) -> Cut | None:
        """A window is full."""
        latency_s, times_off = window.latency_s(), window.times_off()
        per_s = window.served / (now - window.began)
        pressed = 2 * window.under_way >= self.at(now)
        self._bore = max(window.under_way, self._bore * BORE_KEPT ** (window.served / 100))
        baseline_s = self.baseline_s
        if baseline_s is None:
            self.baseline_s = latency_s
            return None
        if self.cut is not None and self.cut.per_s is not None and pressed:
            if per_s < self.cut.per_s * (1 + self.cut.factor) / 2:
                self.cut, self.baseline_s = self.cut.before, latency_s
                return None
            self.cut = replace(self.cut, per_s=None, before=None)
        if latency_s > self.tolerance * baseline_s * times_off and pressed:
            least, most = LATENCY_FACTORS
            factor = min(most, max(least, self.tolerance * baseline_s / latency_s))
            return self._lower(Cause.LATENCY, factor, now, window.under_way, per_s)
        is_faster = latency_s * times_off < baseline_s
        if is_faster or not pressed:
            share = _DOWN if is_faster else _UP
            self.baseline_s = baseline_s * (latency_s / baseline_s) ** share
        return None

    def _lower(
        self, cause: Cause, factor: float, now: float, under_way: int, per_s: float | None = None
    ) -> Cut:
        limit, former = self.at(now), self.cut
        reached = min(limit, under_way)
        low = max(self.least, int(reached * factor))
        bore = self._bears(cause, reached)
        aim = _aim(bore, limit)
        if low < limit:
            self._bore = bore * (factor if cause is Cause.LATENCY else BORE_KEPT)
        before = former if per_s is not None else None
        return self._take(Cut(now, cause, factor, low, reached, aim, per_s=per_s, before=before))

    def _take(self, cut: Cut) -> Cut:
        cut = self.cut = replace(cut, rise_s=self._rise_s(cut))
        self._epoch = cut.at
        self._served_at = -math.inf
        self._turned_away = self._failed = 0.0
        self._window = Window(-math.inf)
        return cut

    def _rise_s(self, cut: Cut) -> float:
        """Where the trouble says how many calls are too many, it is not looked for again at once."""
        if cut.aim <= cut.reached or self.baseline_s is None:
            return RISE_S
        return min(RISE_S, max(RISE_S_LEAST, RISE_IN_LATENCIES * self.baseline_s))

    def _bears(self, cause: Cause, reached: float) -> float:
        """How many calls the target may bear, that is in trouble with `reached` under way. Failures say
        little of it, and no more does it that calls are turned away where twice as many were borne a moment
        ago: what it bore then it may again.
        """
        bore = max(self._bore, self._window.under_way)
        if cause is Cause.FAILURES or (cause is not Cause.LATENCY and 2 * reached < bore):
            return max(reached, bore)
        return reached


def _aim(bears: float, limit: int) -> float:
    """Trouble that is met with less than half of the limit under way says little of what is borne at most."""
    return bears if 2 * bears >= limit else 2 * bears
