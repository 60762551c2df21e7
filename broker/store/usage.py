"""What was spent and what is on record: reads for bills and summaries, away from the hot path."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, get_args

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Select,
    Table,
    Uuid,
    and_,
    case,
    cast,
    func,
    literal_column,
    null,
    select,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.store.clock import now_ms
from broker.store.database import Database
from broker.store.keys import ATTEMPT_COLUMNS
from broker.store.operations import PLACE as OPERATIONS
from broker.store.tables.audit import audit
from broker.store.tables.corrections import corrections
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


_SAME_CHARGE: Final = and_(*(corrections.c[name] == charges.c[name] for name in ATTEMPT_COLUMNS))
_NOTHING: Final = literal_column("0", BigInteger)
_SUMMED: Final = (
    "input_tokens",
    "output_tokens",
    "nanodollars",
    "estimated_nanodollars",
    "corrected_nanodollars",
)
_OF_CHARGES: Final = (
    charges.c.job_id.label("job_id"),
    charges.c.input_tokens,
    charges.c.output_tokens,
    charges.c.nanodollars,
    case((charges.c.estimated, charges.c.nanodollars), else_=0).label("estimated_nanodollars"),
    _NOTHING.label("corrected_nanodollars"),
)
_OF_CORRECTIONS: Final = (
    cast(null(), Uuid).label("job_id"),
    corrections.c.input_tokens,
    corrections.c.output_tokens,
    corrections.c.nanodollars,
    _NOTHING.label("estimated_nanodollars"),
    corrections.c.nanodollars.label("corrected_nanodollars"),
)
_BILLED: Final = {
    "day": corrections.c.billed_day.label("day"),
    "month": corrections.c.billed_month.label("month"),
}
_SOURCES: Final[Sequence[tuple[FromClause, Mapping[str, ColumnElement[Any]], Sequence[Any]]]] = (
    (charges, dict(charges.c), _OF_CHARGES),
    (corrections.join(charges, _SAME_CHARGE), {**dict(charges.c), **_BILLED}, _OF_CORRECTIONS),
)
"""The lines of a bill: from where, by which labels, with which figures."""


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
    """What was charged by the hold, since no usage that is believed came; as charged, corrected or not."""
    corrected_nanodollars: int = 0
    """Of the nanodollars, what corrections added, or took away if negative. Those of a charge are billed when
    they are written, on a later day than the charge, and are no jobs and no attempts of their own.
    """


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
        """Sums of the settled charges whose hold was taken on one of `days` (since the Unix epoch), and of
        the corrections that were written on one of them, of all or of one project, one application, a row
        for each combination of what `by` names.

        Where days or months are asked for they come in their order, else the dearest first.
        """
        statement = _bill(by, days, project_id, application_id)
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
        """Nanodollars and tokens of the charges of so many milliseconds until now, as corrected since."""
        which = [charges.c.organization_id == organization_id, charges.c.at_ms >= now_ms() - within_ms]
        if project_id is not None:
            which.append(charges.c.project_id == project_id)
        if key_id is not None:
            which.append(charges.c.key_id == key_id)
        corrected = corrections.join(charges, _SAME_CHARGE)
        async with self._database.connect() as connection:
            charged = (await connection.execute(_used(charges, charges).where(*which))).one()
            more = (await connection.execute(_used(corrections, corrected).where(*which))).one()
        return charged[0] + more[0], charged[1] + more[1]

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


def _bill(
    by: Sequence[BillBy], days: range, project_id: int | None, application_id: int | None
) -> Select[Any]:
    """What stands in another table is grouped by what refers to it, for names may be shared or gone."""
    referring = [f"{name}_id" for name in by if name in _NAMED]
    own = [_column(name) for name in by if name not in _NAMED]
    which = {"project_id": project_id, "application_id": application_id}
    lines = union_all(
        *(
            select(*(labels[name] for name in dict.fromkeys([*referring, *own])), *figures)
            .select_from(source)
            .where(
                labels["day"] >= days.start,
                labels["day"] < days.stop,
                *(labels[name] == value for name, value in which.items() if value is not None),
            )
            for source, labels, figures in _SOURCES
        )
    ).subquery("lines")
    labels = [_label(name, lines) for name in by]
    statement = select(
        *labels,
        func.count(lines.c.job_id.distinct()),
        func.count(lines.c.job_id),
        *(_sum(lines.c[name]) for name in _SUMMED),
    ).select_from(_joined(by, lines))
    return statement.group_by(*labels, *(lines.c[name] for name in referring))


def _label(name: BillBy, lines: FromClause) -> ColumnElement[Any]:
    if name == "project":
        return owners.c.name + "/" + projects.c.name
    if name in _NAMED:
        return _NAMED[name].c.name
    found: ColumnElement[Any] = lines.c[_column(name)]
    return found


def _column(name: BillBy) -> str:
    return "key_id" if name == "key" else name


def _joined(by: Collection[BillBy], lines: FromClause) -> FromClause:
    joined = lines
    for name in by:
        if name in _NAMED:
            table = _NAMED[name]
            joined = joined.outerjoin(table, table.c.id == lines.c[f"{name}_id"])
    if "project" in by:
        joined = joined.outerjoin(owners, owners.c.id == projects.c.organization_id)
    return joined


def _used(table: Table, source: FromClause) -> Select[int, int]:
    tokens = _sum(table.c.input_tokens) + _sum(table.c.output_tokens)
    return select(_sum(table.c.nanodollars), tokens).select_from(source)


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
