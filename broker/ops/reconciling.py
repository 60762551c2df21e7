"""A provider's statement against the ledger: all of it is checked, then its corrections are written.

Nothing is written of a file in which anything is wrong. What is written goes in batches, each a transaction
with its entry in the chain of operations; who stops in between, or is stopped, leaves whole batches, and the
same file goes on from there.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import BinaryIO, Final, NamedTuple

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.errors import HeadworksError
from broker.ops.changes import act, record_change
from broker.ops.charge_prices import ChargePrices
from broker.ops.dollars import to_dollars
from broker.ops.operator import operator
from broker.ops.organizations import time_zones
from broker.quota.calendar import Calendar
from broker.quota.limits import NUMBER_MAX
from broker.statements.deciding import Charged, Correction, Known, applications_of, decided
from broker.statements.entries import Entry, Fault, FaultCode
from broker.statements.reading import Statement
from broker.statements.spool import Kept, Spool
from broker.store import corrections
from broker.store.corrections import Reconciliation
from broker.store.database import Database
from broker.store.keys import AttemptKey
from broker.store.tables.identity import applications

SUBJECT: Final = "ledger"
BATCH_ROWS: Final = 1_000
FAULTS_MAX: Final = 100
"""That are told; then reading stops."""
_KEYS_MAX: Final = 20_000
"""Looked up by one statement: an entry that names no application may be of any."""

Decision = Correction | Known | Fault


class StatementRefused(HeadworksError):
    """Nothing was written after the first fault was seen."""

    code = "statement_refused"

    def __init__(self, faults: Sequence[Fault]) -> None:
        first = faults[0]
        super().__init__(f"line {first.line}: {first.code}: {first.text}")
        self.faults = faults


class Progress(NamedTuple):
    """Rows. `total` is not known while they are checked."""

    done: int
    total: int | None


@dataclass(frozen=True, slots=True)
class Summary:
    """Of rows, and of the charges that they correct. `above_hold`: how many cost more than was held.
    `overtaken`: of those known, how many another file has corrected since.
    """

    rows: int = 0
    known: int = 0
    overtaken: int = 0
    corrected: int = 0
    above_hold: int = 0
    nanodollars_before: int = 0
    nanodollars_after: int = 0

    def plus(self, found: Correction | Known) -> "Summary":
        if isinstance(found, Known):
            overtaken = self.overtaken + (not found.is_newest)
            return replace(self, rows=self.rows + 1, known=self.known + 1, overtaken=overtaken)
        after = found.figure_nanodollars
        return Summary(
            self.rows + 1,
            self.known,
            self.overtaken,
            self.corrected + 1,
            self.above_hold + (after > found.charge.hold_nanodollars),
            self.nanodollars_before + after - found.nanodollars,
            self.nanodollars_after + after,
        )


class Checked(NamedTuple):
    """A statement without a fault: its digest, and what it will come to."""

    file_sha256: str
    summary: Summary


class Reconciling:
    """`amends`: charges that were corrected before, to something else, are corrected again."""

    def __init__(
        self,
        database: Database,
        prices: ChargePrices,
        *,
        amends: bool,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self._database = database
        self._prices = prices
        self._amends = amends
        self._on_progress = on_progress
        self._names: dict[str, int] = {}
        self.written = Summary()
        """So far."""

    async def check(self, file: BinaryIO, spool: Spool) -> Checked:
        """Read the file once, and keep its rows in `spool`.

        Raises StatementRefused with all that is wrong, up to FAULTS_MAX; PriceBookInvalid, Unavailable.
        """
        self._names = await self._applications()
        statement, faults, kept = Statement(file), list[Fault](), 0
        entries = statement.entries()
        while some := list(islice(entries, BATCH_ROWS)):
            faults += [each for each in some if isinstance(each, Fault)]
            faults += await self._keep([each for each in some if isinstance(each, Entry)], spool)
            if len(faults) >= FAULTS_MAX:
                break
            kept += len(some)
            self._on_progress(Progress(kept, None))
        if faults:
            raise StatementRefused(sorted(faults)[:FAULTS_MAX])
        return await self._judge(statement.sha256, spool)

    async def write(
        self,
        checked: Checked,
        spool: Spool,
        reference: str | None,
        on_batch: Callable[[], Awaitable[None]],
    ) -> list[Reconciliation]:
        """Put what was checked on record; `on_batch` is called after each commit.

        Raises StatementRefused where a charge was corrected by another file meanwhile; Unavailable. What was
        `written` before that stays.
        """
        made = []
        zones = await time_zones(self._database)
        calendars = {organization_id: Calendar(zone) for organization_id, zone in zones.items()}
        utc = Calendar()
        for batch in spool.batches(BATCH_ROWS):
            found, written = await self._write(
                batch, checked.file_sha256, reference, lambda of, at_ms: calendars.get(of, utc).day(at_ms)
            )
            for each in found:
                self.written = self.written.plus(each)
            self._on_progress(Progress(self.written.rows, checked.summary.rows))
            if written is not None:
                made.append(written)
                await on_batch()
        return made

    async def _applications(self) -> dict[str, int]:
        async with self._database.connect() as connection:
            rows = await connection.execute(select(applications.c.name, applications.c.id))
            return {row.name: row.id for row in rows}

    async def _keep(self, entries: Sequence[Entry], spool: Spool) -> list[Fault]:
        """Those whose charge is found, and only one; else what is wrong."""
        candidates = [self._candidates(entry) for entry in entries]
        found: set[AttemptKey] = set()
        async with self._database.connect() as connection:
            for keys in _chunks([key for some in candidates for key in some], _KEYS_MAX):
                found |= await corrections.on_record(connection, keys)
        faults = []
        for entry, keys in zip(entries, candidates, strict=True):
            hits = [key for key in keys if key in found]
            fault = self._unplaced(entry, hits) or _repeated(entry, spool.keep(hits[0], entry))
            if fault is not None:
                faults.append(fault)
        return faults

    def _candidates(self, entry: Entry) -> list[AttemptKey]:
        ids = applications_of(entry, self._names)
        return [AttemptKey(number, entry.job_id, entry.run, entry.attempt) for number in ids]

    def _unplaced(self, entry: Entry, hits: Sequence[AttemptKey]) -> Fault | None:
        if len(hits) == 1:
            return None
        if hits:
            ids = {key.application_id for key in hits}
            names = ", ".join(sorted(name for name, number in self._names.items() if number in ids))
            text = f"{names} each have such a charge: name one in the column application"
            return Fault(entry.line, FaultCode.CHARGE_AMBIGUOUS, text)
        if entry.application is not None and entry.application not in self._names:
            text = f"no application is called {entry.application[:63]!a}"
            return Fault(entry.line, FaultCode.CHARGE_UNKNOWN, text)
        found = decided(entry, None, None, "", amends=False)
        return found if isinstance(found, Fault) else None

    async def _judge(self, file_sha256: str, spool: Spool) -> Checked:
        """What each row will come to, by what is on record now."""
        summary, faults = Summary(), list[Fault]()
        for batch in spool.batches(BATCH_ROWS):
            async with self._database.connect() as connection:
                charges = await corrections.charges_of(connection, [kept.key for kept in batch])
            for found in await self._decided(batch, charges, file_sha256):
                if isinstance(found, Fault):
                    faults.append(found)
                else:
                    summary = summary.plus(found)
            if len(faults) >= FAULTS_MAX:
                break
            if summary.nanodollars_after > NUMBER_MAX:
                faults.append(_too_much(batch[-1].entry))
                break
        if faults:
            raise StatementRefused(faults[:FAULTS_MAX])
        return Checked(file_sha256, summary)

    async def _write(
        self,
        batch: Sequence[Kept],
        file_sha256: str,
        reference: str | None,
        today: Callable[[int, int], int],
    ) -> tuple[list[Correction | Known], Reconciliation | None]:
        """By what is on record when nobody else can write: another file may have come between."""
        async with act(self._database) as connection:
            charges = await corrections.charges_of(connection, [kept.key for kept in batch])
            # All terms were looked up when the rows were checked: this asks the database for nothing.
            found = await self._decided(batch, charges, file_sha256)
            faults = [each for each in found if isinstance(each, Fault)]
            if faults:
                raise StatementRefused(faults)
            right = [each for each in found if not isinstance(each, Fault)]
            new = [each for each in right if isinstance(each, Correction)]
            if not new:
                return right, None
            made = await corrections.write(connection, new, file_sha256, reference, operator(), today)
            await _on_record(connection, made)
        return right, made

    async def _decided(
        self, batch: Iterable[Kept], charges: dict[AttemptKey, Charged], file_sha256: str
    ) -> list[Decision]:
        found: list[Decision] = []
        for kept in batch:
            charge = charges.get(kept.key)
            wants_terms = charge is not None and kept.entry.usage is not None
            terms = await self._prices.terms(charge) if charge is not None and wants_terms else None
            found.append(decided(kept.entry, charge, terms, file_sha256, amends=self._amends))
        return found


async def _on_record(connection: AsyncConnection, made: Reconciliation) -> None:
    after = {
        "reconciliation": made.id,
        "file_sha256": made.file_sha256,
        "reference": made.reference,
        "rows": made.rows,
        "nanodollars": made.nanodollars,
        "rows_sha256": made.rows_sha256,
        "at_ms": made.at_ms,
    }
    await record_change(connection, corrections.RECONCILE, SUBJECT, {}, after)


def _repeated(entry: Entry, line: int | None) -> Fault | None:
    if line is None:
        return None
    text = f"line {line} is about the same charge: leave one of them"
    return Fault(entry.line, FaultCode.ROW_REPEATED, text)


def _too_much(entry: Entry) -> Fault:
    """Sums beyond it would be exact neither in Redis nor, beyond 2**63, in the ledger."""
    text = f"up to here the file comes to more than {to_dollars(NUMBER_MAX)}: are these dollars?"
    return Fault(entry.line, FaultCode.VALUE_INVALID, text)


def _chunks(keys: Sequence[AttemptKey], size: int) -> Iterable[Sequence[AttemptKey]]:
    return (keys[start : start + size] for start in range(0, len(keys), size))
