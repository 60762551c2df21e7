"""What becomes of each record of a batch that SETTLE has put on record; its replies follow from it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import Enum
from typing import NamedTuple

from broker.store.keys import JobKey, RunKey
from broker.store.settlement_rows import Settlement, Terminal
from schemas.outcomes import Conflict
from schemas.topics import Coordinate


class Disposition(Enum):
    """What became of one record of `outcomes.*`."""

    NEW = "new"
    """It is its run's terminal: its value is the reply."""
    KNOWN = "known"
    """There was a terminal already: that one's reply is to be sent again; for one who asks, to its sender."""
    WAITING = "waiting"
    """One who asks after a job under way: on record, and gets the reply with the others."""
    CONFLICT = "conflict"
    """Refused to its sender: its own value is the reply."""
    OVERTAKEN = "overtaken"
    """No end: a stage before DISPATCH gave it, by a second record of an attempt that has begun. DISPATCH has
    the first, and ends the job."""


class Settled(NamedTuple):
    disposition: Disposition
    terminal: Terminal | None
    """Of the run; of one who asks, that of the job's latest run. None unless NEW or KNOWN."""
    waiting: tuple[str, ...] = ()
    """Further `reply_to`s that await this terminal's reply."""


class Ends:
    """The terminals of some jobs."""

    def __init__(self, terminals: Iterable[Terminal] = ()) -> None:
        self._runs: dict[JobKey, dict[int, Terminal]] = {}
        self.add(terminals)

    def add(self, terminals: Iterable[Terminal]) -> None:
        for row in terminals:
            self._runs.setdefault(row.key.job, {})[row.run] = row

    def of_run(self, key: RunKey) -> Terminal | None:
        return self._runs.get(key.job, {}).get(key.run)

    def of_job(self, key: JobKey) -> Terminal | None:
        """Of its latest run."""
        runs = self._runs.get(key)
        return runs[max(runs)] if runs else None


def other_waiters(item: Settlement, waiting: Mapping[RunKey, Sequence[str]]) -> tuple[str, ...]:
    """Who awaits its reply beside its owner."""
    if not waiting:
        return ()
    return tuple(place for place in waiting.get(item.key, ()) if place != item.state.reply_to)


def settled_as(
    item: Settlement, won: Mapping[RunKey, Settlement], ends: Ends, waiting: Mapping[RunKey, Sequence[str]]
) -> Settled:
    if not item.is_final:
        return _settled_aside(item, ends)
    disposition = Disposition.NEW if won.get(item.key) is item else Disposition.KNOWN
    return Settled(disposition, ends.of_run(item.key), other_waiters(item, waiting))


def _settled_aside(item: Settlement, ends: Ends) -> Settled:
    """Of what ends no run."""
    if isinstance(item.outcome, Conflict):
        return Settled(Disposition.CONFLICT, None)
    latest = ends.of_job(item.key.job)
    return Settled(Disposition.WAITING if latest is None else Disposition.KNOWN, latest)


def passing_over(
    overtaken: Collection[Coordinate], batch: Sequence[Settlement], settled: Sequence[Settled]
) -> list[Settled]:
    passed = Settled(Disposition.OVERTAKEN, None)
    return [
        passed if item.coordinate in overtaken else found for item, found in zip(batch, settled, strict=True)
    ]
