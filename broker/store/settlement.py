"""SETTLE's one transaction: terminals, charges, audit entries, dead letters, waiters, its own position."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Table

from broker.store import positions, waiters
from broker.store.audit import extend_chains
from broker.store.bulk import Look, insert_rows, select_by_keys
from broker.store.database import Database, Line
from broker.store.dispositions import (
    Disposition,
    Ends,
    Settled,
    other_waiters,
    passing_over,
    settled_as,
)
from broker.store.driver import AnyRow
from broker.store.keys import ATTEMPT_COLUMNS, JOB_COLUMNS, RUN_COLUMNS, AttemptKey, JobKey, RunKey
from broker.store.positions import Place, Position
from broker.store.settlement_rows import (
    Settlement,
    Terminal,
    charge_keys,
    charge_rows,
    dead_letter_row,
    terminal_row,
    waiter_row,
)
from broker.store.tables import ledger, set_aside
from broker.store.tables.audit import audit
from schemas.outcomes import (
    Answered,
    Asking,
    Cancelled,
    Cancelling,
    Conflict,
    Dead,
    Expired,
    Outcome,
    Refused,
    StageName,
)
from schemas.topics import Coordinate

_WAITING_FOR_THESE = Look(ledger.waiters, RUN_COLUMNS, (*RUN_COLUMNS, "reply_to"), of=ledger.terminals)
_BEFORE_DISPATCH: frozenset[StageName] = frozenset({"admit", "reserve", "retry"})


class Advance(NamedTuple):
    """A partition that a batch takes records from: where the caller saw it, and where it shall stand."""

    seen: Position
    next_offset: int


class SettledBatch(NamedTuple):
    settled: list[Settled]
    """In the order of the batch."""
    positions: list[Position]
    """In the order of the advances: what the next batch has `seen`."""


class _Written(NamedTuple):
    won: Mapping[RunKey, Settlement]
    """What ended its run."""
    ends: Ends
    goals: list[Position]
    overtaken: Collection[Coordinate]


class Settlements:
    """Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def settle(self, batch: Sequence[Settlement], advances: Sequence[Advance]) -> SettledBatch:
        """Put a batch on record, all or nothing. `advances` has every partition that it takes records from;
        each partition comes in its order, batch after batch.

        A record that was settled before writes nothing twice, and the answer says what its sender is to be
        told. So it goes after a DatabaseUnavailable, when it is not known whether the batch was committed:
        read the positions again and settle it again.

        Raises Fenced where another process has moved one of the positions; then nothing was written.
        """
        return await self._end_all(batch, advances) or await self._end_some(batch, advances)

    async def _end_all(self, batch: Sequence[Settlement], advances: Sequence[Advance]) -> SettledBatch | None:
        """Of a batch in which every record ends its run, as most do: one round trip in place of five. None
        where there is more to it, which writes nothing.

        A waiter that is written meanwhile is not seen: who writes one waits for the end of such statements
        (`broker.store.waiters`), and then finds the terminal.
        """
        seen = _seen(advances)
        won = {item.key: item for item in batch if item.is_final}
        if (
            self._database.dialect != "postgresql"
            or len(won) < len(batch)
            or len(_fresh(batch, seen)) < len(batch)
        ):
            return None
        heads, entries = extend_chains(seen, batch, won, ())
        goals = [_goal(advance, heads) for advance in advances]
        rows = [terminal_row(item) for item in batch]
        beside = {**_of_ends(won.values()), audit: entries}
        moves = [(seen[goal.place], goal) for goal in goals]
        async with self._database.ledger() as connection:
            if await _overtaken(connection, batch):
                return None
            found = await positions.move_all(
                connection, moves, {ledger.terminals: rows}, beside, _WAITING_FOR_THESE
            )
        if found is None:
            return None
        waiting = _by_run(found)
        settled = [
            Settled(Disposition.NEW, row, other_waiters(item, waiting))
            for item, row in zip(batch, rows, strict=True)
        ]
        return SettledBatch(settled, goals)

    async def _end_some(self, batch: Sequence[Settlement], advances: Sequence[Advance]) -> SettledBatch:
        written = await self._write_some(batch, advances)
        settled = await self._answer(batch, written.won, written.ends)
        return SettledBatch(passing_over(written.overtaken, batch, settled), written.goals)

    async def _write_some(self, batch: Sequence[Settlement], advances: Sequence[Advance]) -> _Written:
        seen = _seen(advances)
        fresh = _fresh(batch, seen)
        async with self._database.begin_ledger() as connection:
            overtaken = await _overtaken(connection, batch)
            ending = [item for item in batch if item.coordinate not in overtaken]
            won, ends = await _end_runs(connection, ending)
            late = await _insert_late_charges(connection, ending, won)
            noted = late + [item for item in fresh if isinstance(item.outcome, Conflict | Cancelling)]
            heads, entries = extend_chains(seen, batch, won, noted)
            goals = [_goal(advance, heads) for advance in advances]
            beside = {
                **_of_ends(won.values()),
                ledger.waiters: _waiters(fresh, ends),
                audit: entries,
            }
            await positions.move(connection, [(seen[goal.place], goal) for goal in goals], beside)
        return _Written(won, ends, goals, overtaken)

    async def position(self, topic: str, partition: int) -> Position:
        """How far SETTLE has come; the beginning where it never was."""
        async with self._database.ledger() as connection:
            return await positions.read(connection, Place(topic, partition))

    async def terminal(self, key: RunKey) -> Terminal | None:
        async with self._database.ledger() as connection:
            return Ends(await _terminals(connection, [key.job])).of_run(key)

    async def _answer(
        self, batch: Sequence[Settlement], won: Mapping[RunKey, Settlement], ends: Ends
    ) -> list[Settled]:
        """Look for waiters, and for the ends of jobs that are waited for, after the commit: where a terminal
        and its waiter are written at the same time by two transactions, neither sees the other, but whoever
        commits last does so here. Waiters stay on record, so that a batch that comes again finds them.
        """
        open_jobs = {item.key.job for item in batch if _asks(item)}
        async with self._database.ledger() as connection:
            if open_jobs:
                await waiters.let_ends_pass(connection)
            waiting = await _waiting(connection, [item.key for item in batch if item.is_final])
            ends.add(await _terminals(connection, [job for job in open_jobs if ends.of_job(job) is None]))
        return [settled_as(item, won, ends, waiting) for item in batch]


def _seen(advances: Iterable[Advance]) -> dict[Place, Position]:
    return {advance.seen.place: advance.seen for advance in advances}


def _fresh(batch: Sequence[Settlement], seen: Mapping[Place, Position]) -> list[Settlement]:
    """What no batch before had."""
    return [item for item in batch if item.coordinate.offset >= seen[item.place].next_offset]


async def _overtaken(connection: Line, batch: Sequence[Settlement]) -> set[Coordinate]:
    """Ends that stages before DISPATCH gave to attempts that have begun, or to earlier ones.

    Whoever dies after a publish leaves its record to be published again, and the second may be found late,
    say, while the first is being called. An intent is on record before DISPATCH looks at the deadline for the
    last time, so that one is seen here whose call was in time.
    """
    early = [item for item in batch if _is_before_dispatch(item.outcome)]
    if not early:
        return set()
    runs = {item.key for item in early}
    begun: dict[RunKey, int] = {}
    for row in await select_by_keys(connection, ledger.attempts, RUN_COLUMNS, runs, ATTEMPT_COLUMNS):
        key = AttemptKey(*row)
        begun[RunKey(*key[:3])] = max(key.attempt, begun.get(RunKey(*key[:3]), 0))
    return {item.coordinate for item in early if begun.get(item.key, 0) >= item.state.attempt}


def _is_before_dispatch(outcome: Outcome) -> bool:
    if isinstance(outcome, Answered):
        return False
    return isinstance(outcome, Refused | Expired | Cancelled) and outcome.stage in _BEFORE_DISPATCH


async def _end_runs(connection: Line, batch: Sequence[Settlement]) -> tuple[dict[RunKey, Settlement], Ends]:
    """Write the terminals. Returns those of the batch that ended their run, of several for one run the first,
    and the ends of all the batch's jobs, as far as they have ended.
    """
    first: dict[RunKey, Settlement] = {}
    for item in batch:
        if item.is_final:
            first.setdefault(item.key, item)
    rows = {key: terminal_row(item) for key, item in first.items()}
    inserted = await insert_rows(connection, ledger.terminals, list(rows.values()), RUN_COLUMNS)
    won = {key: first[key] for key in (RunKey(*row) for row in inserted)}
    others = [item.key for item in batch if item.key not in won and not isinstance(item.outcome, Conflict)]
    ends = Ends(await _terminals(connection, {key.job for key in others}))
    ends.add(rows[key] for key in won)
    return won, ends


async def _terminals(connection: Line, jobs: Iterable[JobKey]) -> list[Terminal]:
    columns = Terminal.__slots__
    rows = await select_by_keys(connection, ledger.terminals, JOB_COLUMNS, jobs, columns)
    return [Terminal(*row) for row in rows]


async def _insert_late_charges(
    connection: Line, batch: Sequence[Settlement], won: Mapping[RunKey, Settlement]
) -> list[Settlement]:
    """Returns the outcomes that came after their run's terminal and brought charges that were not on record,
    of an attempt that was given up for lost, say.
    """
    after = [item for item in batch if item.is_final and won.get(item.key) is not item]
    if not after:
        return []
    with_terminals = {key for item in won.values() for key in charge_keys(item)}
    bringer: dict[AttemptKey, Settlement] = {}
    rows = []
    for item in after:
        for key, row in zip(charge_keys(item), charge_rows(item), strict=True):
            if key not in with_terminals:
                bringer.setdefault(key, item)
                rows.append(row)
    inserted = await insert_rows(connection, ledger.charges, rows, ATTEMPT_COLUMNS)
    late = {bringer[AttemptKey(*row)].coordinate for row in inserted}
    return [item for item in after if item.coordinate in late]


def _of_ends(won: Collection[Settlement]) -> dict[Table, Sequence[Any]]:
    """What goes on record with terminals."""
    return {
        ledger.charges: [row for item in won for row in charge_rows(item)],
        set_aside.dead_letters: [
            dead_letter_row(item, item.outcome) for item in won if isinstance(item.outcome, Dead)
        ],
    }


def _waiters(fresh: Iterable[Settlement], ends: Ends) -> list[Mapping[str, Any]]:
    return [
        waiter_row(item, item.state.reply_to)
        for item in fresh
        if _asks(item) and item.state.reply_to and ends.of_job(item.key.job) is None
    ]


def _goal(advance: Advance, heads: Mapping[Place, Position]) -> Position:
    """A batch that was settled before does not take its position back."""
    head = heads[advance.seen.place]
    return head._replace(next_offset=max(head.next_offset, advance.next_offset))


async def _waiting(connection: Line, keys: Iterable[RunKey]) -> dict[RunKey, list[str]]:
    return _by_run(
        await select_by_keys(connection, ledger.waiters, RUN_COLUMNS, keys, _WAITING_FOR_THESE.columns)
    )


def _by_run(rows: Iterable[AnyRow]) -> dict[RunKey, list[str]]:
    waiting: dict[RunKey, list[str]] = {}
    for row in rows:
        waiting.setdefault(RunKey(*row[:3]), []).append(row.reply_to)
    return waiting


def _asks(item: Settlement) -> bool:
    return not item.is_final and isinstance(item.outcome, Asking)
