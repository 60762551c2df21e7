"""What was spent and what is on record: reads for bills and summaries, away from the hot path."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, get_args

from sqlalchemy import BigInteger, ColumnElement, FromClause, Select, Table, case, cast, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.store.clock import now_ms
from broker.store.database import Database
from broker.store.operations import PLACE as OPERATIONS
from broker.store.tables.audit import audit
from broker.store.tables.identity import applications, organizations, projects
from broker.store.tables.ledger import charges, terminals
from broker.store.tables.set_aside import dead_letters, parked

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
    "month",
]
BILL_BY: Final[tuple[BillBy, ...]] = get_args(BillBy)

ALL_DAYS: Final = range(1_000_000)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
owners = organizations.alias("owners")
"""Of the projects, beside the organization that a charge names."""
_NAMED: Final[Mapping[str, Table]] = MappingProxyType(
    {"organization": organizations, "project": projects, "application": applications}
)


class BillRow(NamedTuple):
    """What the jobs of one combination of labels cost. Cached tokens are part of the input."""

    labels: tuple[str | None, ...]
    """In the order asked for. None where the jobs carry no such tag. Of a day, its date, `2026-01-31`, in the
    windows of the hold; of a month, `2026-01`; of a project, `organization/project`, for its name is unique
    in its organization alone.
    """
    jobs: int
    attempts: int
    input_tokens: int
    output_tokens: int
    nanodollars: int
    estimated_nanodollars: int = 0
    """Of these, what was charged by the hold: no usage that is believed came."""


class Counts(NamedTuple):
    terminals: Mapping[str, int]
    """By kind."""
    audit_entries: int
    """Of jobs; operators' are beside them."""
    dead_letters: int
    parked: int


class Usage:
    """Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def bill(
        self,
        by: Sequence[BillBy],
        *,
        days: range = ALL_DAYS,
        project_id: int | None = None,
        application_id: int | None = None,
    ) -> list[BillRow]:
        """Sums of the settled charges whose hold was taken on one of `days` (since the Unix epoch), of all or
        of one project, one application, a row for each combination of what `by` names.

        Where days or months are asked for they come in their order, else the dearest first.
        """
        statement = _bill(by).where(charges.c.day >= days.start, charges.c.day < days.stop)
        if project_id is not None:
            statement = statement.where(charges.c.project_id == project_id)
        if application_id is not None:
            statement = statement.where(charges.c.application_id == application_id)
        async with self._database.connect() as connection:
            found = await connection.execute(statement)
            rows = [_row(by, tuple(row)) for row in found]
        times = [place for place, name in enumerate(by) if name in _TIMES]
        return sorted(rows, key=lambda row: _order(row, times))

    async def of_late(
        self,
        within_ms: int,
        *,
        organization_id: int,
        project_id: int | None = None,
        key_id: str | None = None,
    ) -> tuple[int, int]:
        """Nanodollars and tokens of the charges of so many milliseconds until now."""
        since_ms = now_ms() - within_ms
        statement = select(
            _sum(charges.c.nanodollars), _sum(charges.c.input_tokens) + _sum(charges.c.output_tokens)
        ).where(charges.c.organization_id == organization_id, charges.c.at_ms >= since_ms)
        if project_id is not None:
            statement = statement.where(charges.c.project_id == project_id)
        if key_id is not None:
            statement = statement.where(charges.c.key_id == key_id)
        async with self._database.connect() as connection:
            nanodollars, tokens = (await connection.execute(statement)).one()
            return nanodollars, tokens

    async def counts(self) -> Counts:
        kinds = select(terminals.c.kind, func.count()).group_by(terminals.c.kind)
        async with self._database.connect() as connection:
            ends: dict[str, int] = {row[0]: row[1] for row in await connection.execute(kinds)}
            return Counts(
                MappingProxyType(ends),
                await _count(connection, audit, audit.c.topic != OPERATIONS.topic),
                await _count(connection, dead_letters),
                await _count(connection, parked),
            )


def _bill(by: Sequence[BillBy]) -> Select[Any]:
    """What stands in another table is grouped by what refers to it, for names may be shared or gone."""
    labels = [_label(name) for name in by]
    statement = select(
        *labels,
        func.count(charges.c.job_id.distinct()),
        func.count(),
        _sum(charges.c.input_tokens),
        _sum(charges.c.output_tokens),
        _sum(charges.c.nanodollars),
        _sum(case((charges.c.estimated, charges.c.nanodollars), else_=0)),
    ).select_from(_joined(by))
    return statement.group_by(*labels, *(charges.c[f"{name}_id"] for name in by if name in _NAMED))


def _label(name: BillBy) -> ColumnElement[Any]:
    if name == "project":
        return owners.c.name + "/" + projects.c.name
    if name in _NAMED:
        return _NAMED[name].c.name
    return charges.c["key_id" if name == "key" else name]


def _joined(by: Collection[BillBy]) -> FromClause:
    joined: FromClause = charges
    for name in by:
        if name in _NAMED:
            table = _NAMED[name]
            joined = joined.outerjoin(table, table.c.id == charges.c[f"{name}_id"])
    if "project" in by:
        joined = joined.outerjoin(owners, owners.c.id == projects.c.organization_id)
    return joined


def _row(by: Sequence[BillBy], values: tuple[Any, ...]) -> BillRow:
    labels = tuple(
        _TIMES[name](int(value)) if name in _TIMES else value for name, value in zip(by, values, strict=False)
    )
    return BillRow(labels, *values[len(by) :])


def _order(row: BillRow, times: Sequence[int]) -> tuple[Any, ...]:
    labels = tuple(label or "" for label in row.labels)
    return (*(labels[place] for place in times), -row.nanodollars, *labels)


def _sum(column: ColumnElement[Any]) -> ColumnElement[int]:
    # PostgreSQL sums BIGINT as NUMERIC.
    return cast(func.coalesce(func.sum(column), 0), BigInteger)


async def _count(connection: AsyncConnection, table: Table, *which: ColumnElement[bool]) -> int:
    return (await connection.execute(select(func.count()).select_from(table).where(*which))).scalar_one()


def _date(day: int) -> str:
    return (_EPOCH + timedelta(days=day)).date().isoformat()


def _month(month: int) -> str:
    """Numbered as `schemas.state.month_of` says."""
    return f"{month // 12:04}-{month % 12 + 1:02}"


_TIMES: Final[Mapping[str, Callable[[int], str]]] = MappingProxyType({"day": _date, "month": _month})
