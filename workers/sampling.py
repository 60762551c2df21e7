"""A few a second, and no more."""


class Sampler:
    def __init__(self, per_s: int) -> None:
        self._per_s = per_s
        self._second = 0
        self._taken = 0

    def take(self, now_ms: int) -> bool:
        second = now_ms // 1000
        if second != self._second:
            self._second, self._taken = second, 0
        if self._taken >= self._per_s:
            return False
        self._taken += 1
        return True
