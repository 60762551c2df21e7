"""What was spent and what is on record: reads for bills and summaries, away from the hot path."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, get_args

from sqlalchemy import BigInteger, ColumnElement, Select, Table, cast, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.store.database import Database
from broker.store.tables import (
    applications,
    audit,
    charges,
    dead_letters,
    organizations,
    parked,
    projects,
    terminals,
)

BillBy = Literal[
    "organization",
    "project",
    "application",
    "key",
    "department",
    "feature",
    "user",
    "model",
    "target",
    "lane",
    "day",
]
BILL_BY: Final[tuple[BillBy, ...]] = get_args(BillBy)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class BillRow(NamedTuple):
    """What the jobs of one label cost. Cached tokens are part of the input."""

    label: str | None
    """None where the jobs carry no such tag. Of a day, its date in UTC, `2026-01-31`; of a project,
    `organization/project`, for its name is unique in its organization alone.
    """
    jobs: int
    attempts: int
    input_tokens: int
    output_tokens: int
    nanodollars: int


class Counts(NamedTuple):
    terminals: Mapping[str, int]
    """By kind."""
    audit_entries: int
    dead_letters: int
    parked: int


class Usage:
    """Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def bill(
        self,
        by: BillBy,
        *,
        since_day: int = 0,
        project_id: int | None = None,
        application_id: int | None = None,
    ) -> list[BillRow]:
        """Sums of the settled charges of the holds since `since_day` (days since the Unix epoch, UTC), of all
        or of one project, one application: the dearest first, days in their order.
        """
        statement = _bill(by).where(charges.c.day >= since_day)
        if project_id is not None:
            statement = statement.where(charges.c.project_id == project_id)
        if application_id is not None:
            statement = statement.where(charges.c.application_id == application_id)
        async with self._database.connect() as connection:
            found = await connection.execute(statement)
            rows = [BillRow(*row) for row in found]
        if by == "day":
            rows = [row._replace(label=_date(row.label)) for row in rows]
            return sorted(rows, key=lambda row: row.label or "")
        return sorted(rows, key=lambda row: (-row.nanodollars, row.label or ""))

    async def counts(self) -> Counts:
        kinds = select(terminals.c.kind, func.count()).group_by(terminals.c.kind)
        async with self._database.connect() as connection:
            ends: dict[str, int] = {row[0]: row[1] for row in await connection.execute(kinds)}
            return Counts(
                MappingProxyType(ends),
                await _count(connection, audit),
                await _count(connection, dead_letters),
                await _count(connection, parked),
            )


def _bill(by: BillBy) -> Select[Any]:
    if by == "project":
        label = organizations.c.name + "/" + projects.c.name
        owner = organizations.c.id == projects.c.organization_id
        return _named(label, projects, charges.c.project_id).outerjoin(organizations, owner).group_by(label)
    names = {"organization": organizations, "application": applications}.get(by)
    if names is not None:
        return _named(names.c.name, names, charges.c[f"{by}_id"]).group_by(names.c.name)
    label = charges.c["key_id" if by == "key" else by]
    return _sums(label).group_by(label)


def _named(label: ColumnElement[Any], names: Table, key: ColumnElement[Any]) -> Select[Any]:
    """Labelled from another table, and grouped by what refers to it."""
    return _sums(label).outerjoin_from(charges, names, names.c.id == key).group_by(key)


def _sums(label: ColumnElement[Any]) -> Select[Any]:
    return select(
        label,
        func.count(charges.c.job_id.distinct()),
        func.count(),
        _sum(charges.c.input_tokens),
        _sum(charges.c.output_tokens),
        _sum(charges.c.nanodollars),
    )


def _sum(column: ColumnElement[Any]) -> ColumnElement[int]:
    # PostgreSQL sums BIGINT as NUMERIC.
    return cast(func.coalesce(func.sum(column), 0), BigInteger)


async def _count(connection: AsyncConnection, table: Table) -> int:
    return (await connection.execute(select(func.count()).select_from(table))).scalar_one()


def _date(day: Any) -> str:
    return (_EPOCH + timedelta(days=int(day))).date().isoformat()
