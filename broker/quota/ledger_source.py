"""What a rebuild reads: charges and unsettled attempts in the database."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    Table,
    and_,
    case,
    cast,
    exists,
    func,
    select,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.quota.budget import ORGANIZATION_NODE, key_node, project_node
from broker.quota.calendar import DAY_MS, OpenWindows
from broker.quota.rebuild import (
    CHUNK_ROWS,
    CorrectedBatch,
    CorrectedTotal,
    Decided,
    MinuteTotal,
    Overruled,
    SettledHold,
    Total,
    Unsettled,
)
from broker.store.clock import now_ms
from broker.store.database import Database
from broker.store.locks import gate_lock
from broker.store.tables.corrections import corrections, uncounted
from broker.store.tables.identity import applications, keys, projects
from broker.store.tables.ledger import attempts, charges, terminals, verdicts, workers
from schemas.state import Charge, Hold

_CLOCKS_APART_MS: Final = 3_600_000
"""How far the clock that wrote `started_ms` may lie behind that of Redis."""

_ALL_PLANS: Final = tuple(
    text(f"SET LOCAL {name} = on")
    for name in ("enable_seqscan", "enable_hashjoin", "enable_mergejoin", "enable_sort")
)
"""A day of attempts is joined whole, for which the ledger's habit of going by key is the slow way."""


class LedgerSource:
    """Implements `broker.quota.rebuild.RebuildSource`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def exclusive(self, organization_id: int) -> AsyncIterator["DatabaseLedger"]:
        async with self._database.begin() as guard:
            await gate_lock(guard, organization_id)
            async with self._as_of_now(guard) as ledger:
                yield ledger

    @asynccontextmanager
    async def reading(self) -> AsyncIterator["DatabaseLedger"]:
        """The ledger as it stands, for checks, which keep nobody from a rebuild. Raises as `exclusive`."""
        async with self._database.begin() as guard, self._as_of_now(guard) as ledger:
            yield ledger

    @asynccontextmanager
    async def _as_of_now(self, guard: AsyncConnection) -> AsyncIterator["DatabaseLedger"]:
        async with self._database.snapshot(guard) as connection:
            if self._database.dialect == "postgresql":
                for setting in _ALL_PLANS:
                    await connection.execute(setting)
            yield DatabaseLedger(connection)


class DatabaseLedger:
    """Implements `broker.quota.rebuild.Ledger`, as it stood at one moment.

    A month is read a day at a time, and charges are summed where they are: however many there are, no
    statement lasts longer than a day of them takes.
    """

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def nodes(self, organization_id: int) -> Sequence[str]:
        project_ids = await self._connection.scalars(_project_ids(organization_id))
        key_ids = await self._connection.scalars(_key_ids(organization_id))
        return [ORGANIZATION_NODE, *map(project_node, project_ids), *map(key_node, key_ids)]

    async def settled(
        self, organization_id: int, windows: OpenWindows
    ) -> AsyncIterator[Sequence[SettledHold]]:
        async for rows in self._stream(_settled(organization_id, windows.first_day)):
            yield [SettledHold(*row) for row in rows]

    async def totals(self, organization_id: int, windows: OpenWindows) -> AsyncIterator[Sequence[Total]]:
        for days in _days(charges, windows):
            async for rows in self._stream(_totals(organization_id, days)):
                yield [Total(*row) for row in rows]

    async def latest(self, organization_id: int, windows: OpenWindows) -> Sequence[MinuteTotal]:
        found = await self._connection.execute(_latest(organization_id, windows))
        return [MinuteTotal(*row) for row in found]

    async def corrected(
        self, organization_id: int, windows: OpenWindows
    ) -> AsyncIterator[Sequence[CorrectedTotal]]:
        for days in _days(corrections, windows):
            async for rows in self._stream(_corrected(organization_id, days)):
                yield [CorrectedTotal(*row) for row in rows]

    async def reconciled(self, organization_id: int, windows: OpenWindows) -> Sequence[CorrectedBatch]:
        found = await self._connection.execute(_reconciled(organization_id, windows))
        return [CorrectedBatch(str(row[0]), row[1]) for row in found]

    async def decided(self, organization_id: int, windows: OpenWindows) -> AsyncIterator[Sequence[Decided]]:
        """Verdicts of jobs that are still under way."""
        for began in _begun(windows):
            async for rows in self._stream(_verdicts(organization_id, began)):
                found = [Decided(row[0], row[1], Charge.model_validate(row[2])) for row in rows]
                yield [item for item in found if item.charge.hold.month >= windows.first_month]

    async def overruled(
        self, organization_id: int, windows: OpenWindows
    ) -> AsyncIterator[Sequence[Overruled]]:
        """Of the open days and months."""
        for day in range(min(windows.first_day, windows.first_month_day), windows.day + 1):
            async for rows in self._stream(_overruled(organization_id, day)):
                yield [
                    Overruled(Decided(row[0], row[1], Charge.model_validate(row[2])), *row[3:])
                    for row in rows
                ]

    async def unsettled(self, organization_id: int, windows: OpenWindows) -> Sequence[Unsettled]:
        """Intents without a verdict, of runs that have not ended."""
        return await self._intents(organization_id, windows, ~exists().where(_same_run(terminals)))

    async def overtaken(self, organization_id: int, windows: OpenWindows) -> Sequence[Unsettled]:
        """The same of runs that have, where the owner's lease runs, by the database's clock."""
        living = exists().where(
            workers.c.incarnation == attempts.c.owner, workers.c.lease_until_ms > now_ms()
        )
        return await self._intents(
            organization_id, windows, and_(exists().where(_same_run(terminals)), living)
        )

    async def _intents(
        self, organization_id: int, windows: OpenWindows, which: ColumnElement[bool]
    ) -> Sequence[Unsettled]:
        found: list[Unsettled] = []
        for began in _begun(windows):
            rows = await self._connection.execute(_unsettled(organization_id, and_(began, which)))
            found += [Unsettled(row[0], row[1], Hold.model_validate(row[2])) for row in rows]
        return [item for item in found if item.hold.month >= windows.first_month]

    async def _stream(self, statement: Select[Any]) -> AsyncIterator[Sequence[Any]]:
        async with self._connection.stream(statement) as result:
            async for rows in result.partitions(CHUNK_ROWS):
                yield rows


def _project_ids(organization_id: int) -> Select[int]:
    return select(projects.c.id).where(projects.c.organization_id == organization_id)


def _key_ids(organization_id: int) -> Select[str]:
    joined = keys.join(applications).join(projects)
    return select(keys.c.id).select_from(joined).where(projects.c.organization_id == organization_id)


def _settled(organization_id: int, first_day: int) -> Select[Any]:
    return select(charges.c.hold_id, charges.c.day, charges.c.month, charges.c.minute).where(
        charges.c.organization_id == organization_id, charges.c.day >= first_day
    )


def _days(table: Table, windows: OpenWindows) -> Iterator[ColumnElement[bool]]:
    """Each day since the first open month began; the last, what lies ahead."""
    for day in range(windows.first_month_day, windows.day + 1):
        yield table.c.day == day
    yield table.c.day > windows.day


def _totals(organization_id: int, days: ColumnElement[bool]) -> Select[Any]:
    by = (charges.c.project_id, charges.c.key_id, charges.c.day, charges.c.month)
    sums = (_sum(charges.c.nanodollars), _sum(charges.c.tokens))
    return select(*by, *sums).where(charges.c.organization_id == organization_id, days).group_by(*by)


def _corrected(organization_id: int, days: ColumnElement[bool]) -> Select[Any]:
    amounts = corrections.c.nanodollars, corrections.c.tokens
    parts = [(case((each > 0, each), else_=0), case((each < 0, -each), else_=0)) for each in amounts]
    is_told = uncounted.c.reconciliation_id.is_(None).label("is_told")
    by = (corrections.c.project_id, corrections.c.key_id, corrections.c.day, corrections.c.month)
    return (
        select(*by, *(_sum(part) for pair in parts for part in pair), is_told)
        .outerjoin_from(
            corrections, uncounted, uncounted.c.reconciliation_id == corrections.c.reconciliation_id
        )
        .where(corrections.c.organization_id == organization_id, days)
        .group_by(*by, is_told)
    )


def _reconciled(organization_id: int, windows: OpenWindows) -> Select[Any]:
    return (
        select(corrections.c.reconciliation_id, corrections.c.month)
        .where(corrections.c.organization_id == organization_id, corrections.c.day >= windows.first_month_day)
        .distinct()
    )


def _latest(organization_id: int, windows: OpenWindows) -> Select[Any]:
    by = (charges.c.project_id, charges.c.key_id, charges.c.minute)
    return (
        select(*by, func.count(), _sum(charges.c.tokens))
        .where(
            charges.c.organization_id == organization_id,
            charges.c.day >= windows.first_day,
            charges.c.minute >= windows.minute,
        )
        .group_by(*by)
    )


def _sum(column: ColumnElement[Any]) -> ColumnElement[int]:
    # PostgreSQL sums BIGINT as NUMERIC.
    return cast(func.sum(column), BigInteger)


def _verdicts(organization_id: int, began: ColumnElement[bool]) -> Select[Any]:
    return (
        select(attempts.c.project_id, attempts.c.key_id, verdicts.c.charge)
        .select_from(attempts)
        .join(verdicts, _same_attempt(verdicts))
        .where(_of(organization_id), began, ~exists().where(_same_attempt(charges)))
    )


def _overruled(organization_id: int, day: int) -> Select[Any]:
    """An attempt that ended in a verdict was not answered; what has both was given up before it was."""
    same = [charges.c[key.name] == verdicts.c[key.name] for key in verdicts.primary_key]
    return (
        select(
            charges.c.project_id,
            charges.c.key_id,
            verdicts.c.charge,
            charges.c.nanodollars,
            charges.c.tokens,
        )
        .join(verdicts, and_(*same))
        .where(
            charges.c.organization_id == organization_id,
            charges.c.day == day,
            charges.c.verdict != verdicts.c.kind,
        )
    )


def _unsettled(organization_id: int, which: ColumnElement[bool]) -> Select[Any]:
    return select(attempts.c.project_id, attempts.c.key_id, attempts.c.hold).where(
        _of(organization_id),
        which,
        ~exists().where(_same_attempt(charges)),
        ~exists().where(_same_attempt(verdicts)),
    )


def _of(organization_id: int) -> ColumnElement[bool]:
    return attempts.c.project_id.in_(_project_ids(organization_id))


def _begun(windows: OpenWindows) -> Iterator[ColumnElement[bool]]:
    """A hold is never younger than its intent, so those of the open windows are among the intents since
    then: a condition for each day, the last without end.
    """
    since_ms = windows.first_month_ms - _CLOCKS_APART_MS
    days = max(windows.day - windows.first_month_day, 0)
    for day in range(days):
        yield attempts.c.started_ms.between(since_ms + day * DAY_MS, since_ms + (day + 1) * DAY_MS - 1)
    yield attempts.c.started_ms >= since_ms + days * DAY_MS


def _same_run(table: Table) -> ColumnElement[bool]:
    return and_(
        table.c.application_id == attempts.c.application_id,
        table.c.job_id == attempts.c.job_id,
        table.c.run == attempts.c.run,
    )


def _same_attempt(table: Table) -> ColumnElement[bool]:
    return and_(_same_run(table), table.c.attempt == attempts.c.attempt)
