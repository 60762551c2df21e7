"""How many rows are done, shown on a terminal, and not in the time that is measured."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from broker.policy.evaluation import Clock

Show = Callable[[int], None]
"""Takes the number of rows that are done."""

_EVERY_NS = 200_000_000


@contextmanager
def progress(what: str, rows: int | None = None, *, wanted: bool = True) -> Iterator[Show]:
    """On standard error, where that is a terminal. `rows`: None where nobody knows how many will come."""
    if not wanted or not sys.stderr.isatty():
        yield lambda _: None
        return
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), auto_refresh=False, transient=True) as bar:
        task = bar.add_task(what, total=rows)
        yield throttled(lambda done: bar.update(task, completed=done, refresh=True))


def throttled(show: Show, clock: Clock = time.monotonic_ns) -> Show:
    """A few times a second."""
    due_ns = clock()

    def at_times(done: int) -> None:
        nonlocal due_ns
        if (now_ns := clock()) >= due_ns:
            due_ns = now_ns + _EVERY_NS
            show(done)

    return at_times


def timer(show: Show, clock: Clock = time.perf_counter_ns) -> Clock:
    """A clock to be read before and after each row; it shows the rows done after the second reading."""
    readings = 0

    def read() -> int:
        nonlocal readings
        now_ns = clock()
        readings += 1
        if readings % 2 == 0:
            show(readings // 2)
        return now_ns

    return read
