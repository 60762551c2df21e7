"""How late the event loop is: what the calls of a busy process wait for that is not their target's doing."""

import asyncio
from collections.abc import Callable
from typing import Final

KEPT: Final = 0.8
"""Of the lag that was found last, at each beat: about what was the worst of the last second."""


class LoopLag:
    """Measured every `beat_s` while `is_wanted()`, from `watch` on. `clock` gives seconds, monotonic."""

    def __init__(self, clock: Callable[[], float], is_wanted: Callable[[], bool], beat_s: float) -> None:
        self.seconds = 0.0
        self._clock = clock
        self._is_wanted = is_wanted
        self._beat_s = beat_s
        self._due: float | None = None

    def watch(self) -> None:
        """Costs nothing where it is watched already."""
        if self._due is None:
            self._arm(asyncio.get_running_loop())

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due = self._clock() + self._beat_s
        loop.call_later(self._beat_s, self._beat, loop, self._due)

    def _beat(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self.seconds = max(self._clock() - due, KEPT * self.seconds)
        self._due = None
        if self._is_wanted():
            self._arm(loop)
