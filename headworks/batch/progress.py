"""Saying how a run goes while it goes: a bar on a terminal, a line every few seconds elsewhere."""

from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from headworks.batch.pace import Pace, clock
from headworks.batch.tally import Tally, dollars

_PLAIN_EVERY_S = 5.0


class Reporter(Protocol):
    def show(self, tally: Tally, now_s: float) -> None: ...

    def note(self, text: str) -> None:
        """A sentence that stays."""

    def close(self, tally: Tally, now_s: float) -> None: ...


class Silent:
    def show(self, tally: Tally, now_s: float) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def close(self, tally: Tally, now_s: float) -> None:
        """Nothing."""


class Bar:
    def __init__(self, console: Console, pace: Pace) -> None:
        self._pace = pace
        self._progress = Progress(
            TextColumn("running"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            console=console,
            auto_refresh=False,
        )
        self._task = self._progress.add_task("lines", total=None, state="")

    def show(self, tally: Tally, now_s: float) -> None:
        self._progress.start()
        state = describe(tally, self._pace, now_s)
        self._progress.update(self._task, total=tally.lines, completed=tally.handled, state=state)
        self._progress.refresh()

    def note(self, text: str) -> None:
        self._progress.console.print(text)

    def close(self, tally: Tally, now_s: float) -> None:
        if self._progress.live.is_started:
            self.show(tally, now_s)
        self._progress.stop()


class Plain:
    def __init__(self, stream: TextIO, pace: Pace) -> None:
        self._stream = stream
        self._pace = pace
        self._due_s = 0.0

    def show(self, tally: Tally, now_s: float) -> None:
        state = describe(tally, self._pace, now_s)
        if now_s < self._due_s:
            return
        self._due_s = now_s + _PLAIN_EVERY_S
        total = "" if tally.lines is None else f" of {tally.lines}"
        self.note(f"{tally.handled}{total} lines, {state}")

    def note(self, text: str) -> None:
        print(text, file=self._stream, flush=True)

    def close(self, tally: Tally, now_s: float) -> None:
        if self._due_s > 0:
            self._due_s = now_s
            self.show(tally, now_s)


def describe(tally: Tally, pace: Pace, now_s: float) -> str:
    """Rate, jobs in flight, cost so far and time left, as far as they are known."""
    pace.mark(now_s, tally.replied)
    parts = [f"{pace.per_s:.0f}/s", f"{tally.open} in flight", f"${dollars(tally.nanodollars)[:-5]}"]
    left_s = None if tally.lines is None else pace.left_s(tally.lines - tally.handled)
    if left_s is not None:
        parts.append(f"{clock(left_s)} left")
    return ", ".join(parts)
