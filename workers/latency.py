"""How long answers take just now, by target and model: what says whether a job can still be done in time.

Known to one process, from its own calls. Without enough answers of late nothing is said, so a target that
was slow is asked again when its slow answers have aged. Pure: the time comes as an argument.
"""

from collections import deque
from typing import NamedTuple

from broker.providers.routes import Target

WINDOW_MS = 60_000
ENOUGH = 20
"""Answers within the window, below which nothing is said."""
KEPT = 100
"""Of one target and model, the latest."""
_FAST_SHARE = 0.1


class _Answered(NamedTuple):
    at_ms: int
    latency_ms: int


class RecentLatency:
    def __init__(self) -> None:
        self._answers: dict[Target, deque[_Answered]] = {}

    def note(self, target: Target, latency_ms: int, now_ms: int) -> None:
        """An answer came. Failures say nothing: what they took is the provider's haste or our patience."""
        answers = self._answers.get(target)
        if answers is None:
            answers = self._answers[target] = deque(maxlen=KEPT)
        answers.append(_Answered(now_ms, latency_ms))

    def is_too_slow(self, target: Target, left_ms: int, now_ms: int) -> bool:
        """Whether nine of ten answers of the last minute took longer than `left_ms`.

        A low quantile, because jobs differ: a short answer comes sooner than most.
        """
        known = in_time = 0
        for answer in reversed(self._answers.get(target, ())):
            if answer.at_ms <= now_ms - WINDOW_MS:
                break
            known += 1
            in_time += answer.latency_ms <= left_ms
            if in_time >= _FAST_SHARE * KEPT:
                return False
        return known >= ENOUGH and in_time < _FAST_SHARE * known
