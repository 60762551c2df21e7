"""Does the ledger agree with itself, and with the audit? All of it is read, as it stood at one moment."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.store.audit_check import Broken, heads, walk
from broker.store.bulk import select_by_keys
from broker.store.corrections import RECONCILE, Reconciliation, digest
from broker.store.database import Database
from broker.store.keys import JOB_COLUMNS, RunKey
from broker.store.ledger_comparisons import COMPARISONS
from broker.store.settlement_rows import Terminal
from broker.store.tables.corrections import corrections, reconciliations
from broker.store.tables.ledger import terminals
from schemas.outcomes import TERMINAL_KINDS

_WHOLE_TABLES = "SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on"
"""What serves the ledger by key is slow here, where tables are compared whole."""


class Difference(NamedTuple):
    """Two records of one thing that do not agree. `where` names it, `detail` says how, in figures."""

    check: str
    where: str
    detail: str


class Progress(NamedTuple):
    """Audit entries read, of how many."""

    done: int
    total: int


async def differences(
    database: Database, on_progress: Callable[[Progress], None] = lambda _: None
) -> AsyncIterator[Difference]:
    """Every difference; none where the ledger is whole. Raises DatabaseUnavailable."""
    async with database.begin() as guard, database.snapshot(guard) as connection:
        if database.dialect == "postgresql":
            for setting in _WHOLE_TABLES.split("; "):
                await connection.execute(text(setting))
        check = _Check(connection, on_progress)
        async for found in check.audit():
            yield found
        async for found in check.ledger():
            yield found
        async for found in check.reconciliations():
            yield found


class _Check:
    def __init__(self, connection: AsyncConnection, on_progress: Callable[[Progress], None]) -> None:
        self._connection = connection
        self._on_progress = on_progress
        self._total = self._done = 0
        self._ends = 0
        """Entries that ended a run."""
        self._noted: set[RunKey] = set()
        """Runs that something came for after their end, a late charge, say."""
        self._reconciled: dict[int, Any] = {}
        """What the chain of operations says of each reconciliation."""

    async def audit(self) -> AsyncIterator[Difference]:
        """Every chain whole, and every end in it as `terminals` has it."""
        chains = await heads(self._connection)
        self._total = sum(head.chain_length for head in chains)
        for head in chains:
            async for links in walk(self._connection, head):
                if isinstance(links, Broken):
                    yield Difference("audit_chain", str(links), "the chain does not hold")
                    continue
                for found in await self._compare([each.entry for each in links]):
                    yield found
                self._done += len(links)
                self._on_progress(Progress(self._done, self._total))

    async def _compare(self, entries: Sequence[Any]) -> list[Difference]:
        jobs = [entry for entry in entries if "job_id" in entry]
        self._reconciled |= {
            entry["after"]["reconciliation"]: entry for entry in entries if entry.get("action") == RECONCILE
        }
        ends = {_run_of(entry): entry for entry in jobs if entry["terminal"]}
        self._ends += sum(1 for entry in jobs if entry["terminal"])
        self._noted |= {_run_of(entry) for entry in jobs if _is_late(entry)}
        rows = await select_by_keys(
            self._connection, terminals, JOB_COLUMNS, {run.job for run in ends}, Terminal.__slots__
        )
        known = {row.key: row for row in (Terminal(*row) for row in rows)}
        return [
            Difference("audit_terminal", _named(run), told)
            for run, entry in ends.items()
            if (told := _apart(entry, known.get(run)))
        ]

    async def ledger(self) -> AsyncIterator[Difference]:
        """Terminals, charges, verdicts, intents and dead letters, against one another."""
        for check, statement, detail in COMPARISONS:
            for row in await self._connection.execute(statement):
                run = RunKey(*row[:3])
                if check != "charges_more" or run not in self._noted:
                    yield Difference(check, _named(run), detail.format(*row[3:]))
        count = (await self._connection.execute(select(func.count()).select_from(terminals))).scalar_one()
        if count != self._ends:
            yield Difference("audit_terminal", "all", f"{count} terminals, {self._ends} of them in the audit")

    async def reconciliations(self) -> AsyncIterator[Difference]:
        """Each as its entry in the chain of operations has it, with all its corrections unchanged."""
        rows = await self._connection.execute(select(reconciliations).order_by(reconciliations.c.id))
        known = {row.id: Reconciliation(*row) for row in rows}
        for number in sorted(known.keys() | self._reconciled.keys()):
            row, entry = known.get(number), self._reconciled.get(number)
            if told := _apart_from_entry(row, entry):
                yield Difference("reconciliation", str(number), told)
            if row is not None and await self._digest(number) != row.rows_sha256:
                yield Difference("reconciliation", str(number), "its corrections are not those that it wrote")

    async def _digest(self, number: int) -> str:
        of = select(corrections).where(corrections.c.reconciliation_id == number)
        return digest([dict(row) for row in (await self._connection.execute(of)).mappings()])


def _apart_from_entry(row: Reconciliation | None, entry: Any) -> str:
    if row is None:
        return "in the audit, not among the reconciliations"
    if entry is None:
        return "not in the audit"
    audited = {"operator": entry["actor"]} | entry["after"]
    pairs = {
        name: (audited.get(name), getattr(row, name))
        for name in ("operator", "file_sha256", "reference", "rows", "nanodollars", "rows_sha256", "at_ms")
    }
    return "; ".join(
        f"{name}: audit {said}, ledger {stored}" for name, (said, stored) in pairs.items() if said != stored
    )


def _run_of(entry: Any) -> RunKey:
    return RunKey(entry["application_id"], UUID(entry["job_id"]), entry["run"])


def _is_late(entry: Any) -> bool:
    return not entry["terminal"] and entry["kind"] in TERMINAL_KINDS


def _named(run: RunKey) -> str:
    return f"{run.application_id}/{run.job_id}/{run.run}"


def _apart(entry: Any, terminal: Terminal | None) -> str:
    if terminal is None:
        return "in the audit, not among the terminals"
    pairs = {
        "kind": (entry["kind"], terminal.kind),
        "reason": (entry["reason"], terminal.reason),
        "attempts": (entry["attempts"], terminal.attempts),
        "nanodollars": (entry["nanodollars"], terminal.nanodollars),
        "outcome": (entry["outcome"], terminal.outcome),
        "reply_sha256": (entry["reply_sha256"], terminal.value_sha256),
    }
    return "; ".join(
        f"{name}: audit {audited}, terminal {settled}"
        for name, (audited, settled) in pairs.items()
        if audited != settled
    )
