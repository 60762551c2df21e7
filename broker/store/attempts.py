"""Attempts: the intent on record before the call, the verdict on one that did not end the job."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple
from uuid import UUID

from sqlalchemy import FromClause, Select, and_, false, func, select

from broker.store.bulk import encode, insert_rows, unfolded
from broker.store.clock import now_ms
from broker.store.database import Database
from broker.store.driver import AnyRow
from broker.store.keys import ATTEMPT_COLUMNS, AttemptKey
from broker.store.tables.ledger import attempts, charges, terminals, verdicts, workers
from schemas.state import Charge, Hold

_INTENT = ("owner", "project_id", "key_id", "target", "model", "hold", "price_version", "started_ms")
_VERDICT = ("kind", "reason", "charge", "due_ms", "at_ms")


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """The intent to call a provider. `owner` is the worker's incarnation."""

    application_id: int
    job_id: UUID
    run: int
    attempt: int
    owner: str
    project_id: int
    key_id: str | None
    target: str
    model: str
    hold: Hold
    price_version: str
    started_ms: int

    @property
    def key(self) -> AttemptKey:
        return AttemptKey(self.application_id, self.job_id, self.run, self.attempt)


@dataclass(frozen=True, slots=True)
class VerdictRow:
    """How an attempt ended that did not give the job its outcome. `due_ms`: when the next may start."""

    application_id: int
    job_id: UUID
    run: int
    attempt: int
    kind: Literal["failed", "unknown"]
    reason: str
    charge: Charge
    due_ms: int | None
    at_ms: int

    @property
    def key(self) -> AttemptKey:
        return AttemptKey(self.application_id, self.job_id, self.run, self.attempt)


class AttemptFacts(NamedTuple):
    """All that the ledger knows of one attempt."""

    intent: AttemptRow | None
    verdict: VerdictRow | None
    charged: bool
    """SETTLE has written its charge."""
    terminal: str | None
    """The kind of the run's terminal, if it has one."""
    owner_alive: bool
    """The owner's lease runs, by the database's clock."""

    @property
    def is_over(self) -> bool:
        """Nothing is left to do for the attempt: its job has ended, or SETTLE has charged it."""
        return self.charged or self.terminal is not None


class Attempts:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, rows: Sequence[AttemptRow]) -> list[bool]:
        """Put intents on record. True where this call did it: the call to the provider may be made.

        False where the attempt is on record already, or its run has a terminal: ask `facts`. After a
        DatabaseUnavailable the intent may be on record nevertheless; its `owner` tells whose it is.
        """
        async with self._database.ledger() as connection:
            inserted = await insert_rows(connection, attempts, rows, ATTEMPT_COLUMNS, unless_in=terminals)
        return _decided(rows, inserted)

    async def record_verdicts(self, rows: Sequence[VerdictRow]) -> list[bool]:
        """Say how attempts ended. True where this call decided; False where a verdict stood already.

        Raises DatabaseUnavailable, after which `facts` shows what stands.
        """
        async with self._database.ledger() as connection:
            inserted = await insert_rows(connection, verdicts, rows, ATTEMPT_COLUMNS)
        return _decided(rows, inserted)

    async def facts(self, keys: Sequence[AttemptKey]) -> list[AttemptFacts]:
        """What is on record of each, in one round trip. Raises DatabaseUnavailable."""
        rows = [key._asdict() for key in keys]
        async with self._database.ledger() as connection:
            found = await connection.execute(_facts(self._database.dialect), {"rows": encode(rows)})
            facts = {AttemptKey(*row[:4]): _read(row) for row in found}
        return [facts[key] for key in keys]


def _decided(rows: Sequence[AttemptRow] | Sequence[VerdictRow], inserted: Sequence[AnyRow]) -> list[bool]:
    """Of several rows with one key, the first is the one that decided."""
    open_keys = {AttemptKey(*key) for key in inserted}
    decided = []
    for row in rows:
        decided.append(row.key in open_keys)
        open_keys.discard(row.key)
    return decided


@lru_cache
def _facts(dialect: str) -> Select[Any]:
    keys = unfolded(dialect, attempts, ATTEMPT_COLUMNS)
    joined: FromClause = keys
    for table in (attempts, verdicts, charges, terminals):
        joined = joined.outerjoin(table, and_(*(key == keys.c[key.name] for key in table.primary_key)))
    joined = joined.outerjoin(workers, workers.c.incarnation == attempts.c.owner)
    return select(
        *keys.c,
        *(attempts.c[name] for name in _INTENT),
        *(verdicts.c[name] for name in _VERDICT),
        charges.c.attempt.is_not(None),
        terminals.c.kind,
        func.coalesce(workers.c.lease_until_ms > now_ms(), false()),
    ).select_from(joined)


def _read(row: AnyRow) -> AttemptFacts:
    values = tuple(row)
    key, intent, verdict, last = values[:4], values[4:12], values[12:17], values[17:]
    charged, terminal, owner_alive = last
    return AttemptFacts(_intent(key, intent), _verdict(key, verdict), charged, terminal, owner_alive)


def _intent(key: tuple[Any, ...], values: tuple[Any, ...]) -> AttemptRow | None:
    if values[0] is None:
        return None
    columns = dict(zip(_INTENT, values, strict=True))
    return AttemptRow(*key, **columns | {"hold": Hold.model_validate(columns["hold"])})


def _verdict(key: tuple[Any, ...], values: tuple[Any, ...]) -> VerdictRow | None:
    if values[0] is None:
        return None
    columns = dict(zip(_VERDICT, values, strict=True))
    return VerdictRow(*key, **columns | {"charge": Charge.model_validate(columns["charge"])})
