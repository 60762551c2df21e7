"""Percentiles of any number of durations in bounded memory."""

import math
from collections import Counter

_GROWTH = math.log(1.02)
_LEAST_S = 1e-6


class Latencies:
    """A histogram whose buckets grow by 2 percent: a percentile is right to within one."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self._count = 0

    def add(self, duration_s: float) -> None:
        self._buckets[math.ceil(math.log(max(duration_s, _LEAST_S) / _LEAST_S) / _GROWTH)] += 1
        self._count += 1

    def percentile(self, percent: float) -> float | None:
        """In seconds, by nearest rank; None where there was nothing."""
        rank = max(math.ceil(self._count * percent / 100), 1)
        for bucket in sorted(self._buckets):
            rank -= self._buckets[bucket]
            if rank <= 0:
                return _LEAST_S * math.exp(bucket * _GROWTH)
        return None
