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
    """None where the jobs carry no such tag. Of a day, its date in UTC, `2026-01-31`."""
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

    async def bill(self, by: BillBy, *, since_day: int = 0) -> list[BillRow]:
        """Sums of the settled charges of the holds since `since_day` (days since the Unix epoch, UTC): the
        dearest first, days in their order.
        """
        async with self._database.connect() as connection:
            found = await connection.execute(_bill(by, since_day))
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


def _bill(by: BillBy, since_day: int) -> Select[Any]:
    label, names, key = _label(by)
    statement = select(
        label,
        func.count(charges.c.job_id.distinct()),
        func.count(),
        _sum(charges.c.input_tokens),
        _sum(charges.c.output_tokens),
        _sum(charges.c.nanodollars),
    ).where(charges.c.day >= since_day)
    if names is None or key is None:
        return statement.group_by(label)
    # A project's name is unique in its organization alone.
    return statement.join_from(charges, names, names.c.id == key, isouter=True).group_by(key, label)


def _label(by: BillBy) -> tuple[ColumnElement[Any], Table | None, ColumnElement[Any] | None]:
    """The column to group by; where it stands in another table, that table and what refers to it."""
    named = {"organization": organizations, "project": projects, "application": applications}
    if by in named:
        return named[by].c.name, named[by], charges.c[f"{by}_id"]
    return charges.c["key_id" if by == "key" else by], None, None


def _sum(column: ColumnElement[Any]) -> ColumnElement[int]:
    # PostgreSQL sums BIGINT as NUMERIC.
    return cast(func.coalesce(func.sum(column), 0), BigInteger)


async def _count(connection: AsyncConnection, table: Table) -> int:
    return (await connection.execute(select(func.count()).select_from(table))).scalar_one()


def _date(day: Any) -> str:
    return (_EPOCH + timedelta(days=int(day))).date().isoformat()
