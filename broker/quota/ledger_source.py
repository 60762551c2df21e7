"""What a rebuild reads: charges and unsettled attempts in the database."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, and_, exists, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.quota.limits import DAY_MS
from broker.quota.rebuild import CHUNK_ROWS, Charged, Unsettled
from broker.store.database import Database
from broker.store.locks import gate_lock
from broker.store.tables import attempts, charges, projects, terminals, verdicts
from schemas.state import Charge, Hold

_CLOCKS_APART_MS = 3_600_000
"""How far the clock that wrote `started_ms` may lie behind that of Redis."""


class LedgerSource:
    """Implements `broker.quota.rebuild.RebuildSource`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator["DatabaseLedger"]:
        async with self._database.begin() as guard:
            await gate_lock(guard)
            async with self._database.snapshot(guard) as connection:
                yield DatabaseLedger(connection)


class DatabaseLedger:
    """Implements `broker.quota.rebuild.Ledger`, as it stood at one moment."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def project_ids(self, organization_id: int) -> Sequence[int]:
        return list(await self._connection.scalars(_project_ids(organization_id)))

    async def charged(self, organization_id: int, first_day: int) -> AsyncIterator[Sequence[Charged]]:
        """Charges, then verdicts of jobs still under way, whose charges come with the terminal."""
        async for rows in self._stream(_charges(organization_id, first_day)):
            yield [Charged(*row) for row in rows]
        async for rows in self._stream(_verdicts(organization_id, first_day)):
            found = [(row.project_id, Charge.model_validate(row.charge)) for row in rows]
            yield [
                _charged(project_id, charge) for project_id, charge in found if charge.hold.day >= first_day
            ]

    async def unsettled(self, organization_id: int, first_day: int) -> Sequence[Unsettled]:
        """Intents without a verdict, of runs that have not ended."""
        rows = await self._connection.execute(_unsettled(organization_id, first_day))
        found = [Unsettled(row.project_id, Hold.model_validate(row.hold)) for row in rows]
        return [item for item in found if item.hold.day >= first_day]

    async def _stream(self, statement: Select[Any]) -> AsyncIterator[Sequence[Any]]:
        async with self._connection.stream(statement) as result:
            async for rows in result.partitions(CHUNK_ROWS):
                yield rows


def _project_ids(organization_id: int) -> Select[int]:
    return select(projects.c.id).where(projects.c.organization_id == organization_id)


def _charges(organization_id: int, first_day: int) -> Select[Any]:
    return select(
        charges.c.project_id, charges.c.hold_id, charges.c.day, charges.c.minute, charges.c.nanodollars
    ).where(charges.c.project_id.in_(_project_ids(organization_id)), charges.c.day >= first_day)


def _verdicts(organization_id: int, first_day: int) -> Select[Any]:
    return (
        select(attempts.c.project_id, verdicts.c.charge)
        .select_from(attempts)
        .join(verdicts, _same_attempt(verdicts))
        .where(_recent(organization_id, first_day), ~exists().where(_same_attempt(charges)))
    )


def _unsettled(organization_id: int, first_day: int) -> Select[Any]:
    return select(attempts.c.project_id, attempts.c.hold).where(
        _recent(organization_id, first_day),
        ~exists().where(_same_attempt(charges)),
        ~exists().where(_same_attempt(verdicts)),
        ~exists().where(_same_run(terminals)),
    )


def _recent(organization_id: int, first_day: int) -> ColumnElement[bool]:
    """A hold is never younger than its intent, so those of the open days are among the intents since then."""
    return and_(
        attempts.c.project_id.in_(_project_ids(organization_id)),
        attempts.c.started_ms >= first_day * DAY_MS - _CLOCKS_APART_MS,
    )


def _same_run(table: Table) -> ColumnElement[bool]:
    return and_(
        table.c.application_id == attempts.c.application_id,
        table.c.job_id == attempts.c.job_id,
        table.c.run == attempts.c.run,
    )


def _same_attempt(table: Table) -> ColumnElement[bool]:
    return and_(_same_run(table), table.c.attempt == attempts.c.attempt)


def _charged(project_id: int, charge: Charge) -> Charged:
    hold = charge.hold
    return Charged(project_id, hold.id, hold.day, hold.minute, charge.nanodollars)
