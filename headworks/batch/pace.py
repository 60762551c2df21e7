"""How fast a run goes now, and how long it will take."""

from collections import deque

_WINDOW_S = 15.0


class Pace:
    """Over the last fifteen seconds."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque()

    def mark(self, now_s: float, done: int) -> None:
        self._marks.append((now_s, done))
        while len(self._marks) > 2 and self._marks[1][0] <= now_s - _WINDOW_S:
            self._marks.popleft()

    @property
    def per_s(self) -> float:
        if len(self._marks) < 2:
            return 0.0
        (first_s, first), (last_s, last) = self._marks[0], self._marks[-1]
        return (last - first) / (last_s - first_s) if last_s > first_s else 0.0

    def left_s(self, remaining: int) -> float | None:
        """None while nothing moves."""
        return remaining / self.per_s if self.per_s > 0 else None


def clock(duration_s: float) -> str:
    """`1:02:03`, or `2:03` below an hour."""
    hours, rest = divmod(round(duration_s), 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
