"""What waits to be reconciled, and what was: reads for finance, in pages, however much there is."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Table, and_, exists, select, tuple_

from broker.store.database import Database
from broker.store.keys import ATTEMPT_COLUMNS
from broker.store.tables.corrections import corrections, reconciliations
from broker.store.tables.identity import applications, organizations, projects
from broker.store.tables.ledger import charges

_PAGE_ROWS: Final = 1_000


class EstimatedRow(NamedTuple):
    """A charge by its hold that no statement has corrected. Names are None of what is not there any more."""

    project: str | None
    """`organization/project`."""
    application: str | None
    job_id: UUID
    run: int
    attempt: int
    target: str
    model: str
    price_version: str
    verdict: str
    reason: str | None
    nanodollars: int
    month: int
    """Of the bill that it is on, numbered as `schemas.state.month_of` says."""
    at_ms: int


class CorrectionRow(NamedTuple):
    """One correction, with the reconciliation that brought it."""

    project: str | None
    application: str | None
    job_id: UUID
    run: int
    attempt: int
    number: int
    month: int
    """Of the charge."""
    billed_month: int
    nanodollars: int
    """The difference, as `tokens`."""
    tokens: int
    figure_nanodollars: int
    """What the charge comes to with it."""
    operator: str
    reference: str | None
    file_sha256: str
    at_ms: int


class Estimated:
    """`month` numbered as `schemas.state.month_of` says. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def waiting(
        self, *, project_id: int | None = None, month: int | None = None
    ) -> AsyncIterator[Sequence[EstimatedRow]]:
        """The oldest first; `month`: of the bill that they are on."""
        statement = _waiting(project_id, month)
        order = (charges.c.at_ms, *_key(charges))
        async for rows in self._pages(statement, order):
            yield [EstimatedRow(*row) for row in rows]

    async def corrected(
        self, *, project_id: int | None = None, month: int | None = None
    ) -> AsyncIterator[Sequence[CorrectionRow]]:
        """In the order in which they were written; `month`: in which they are billed."""
        order = (corrections.c.reconciliation_id, *_key(corrections), corrections.c.number)
        async for rows in self._pages(_corrected(project_id, month), order):
            yield [CorrectionRow(*row) for row in rows]

    async def _pages(
        self, statement: Select[Any], order: Sequence[ColumnElement[Any]]
    ) -> AsyncIterator[Sequence[Any]]:
        """Each page is a statement of its own, which begins after the last row of the one before."""
        paged = statement.add_columns(*order).order_by(*order).limit(_PAGE_ROWS)
        rows: Sequence[Any] = ()
        while not rows or len(rows) == _PAGE_ROWS:
            after = paged if not rows else paged.where(tuple_(*order) > tuple_(*rows[-1][-len(order) :]))
            async with self._database.connect() as connection:
                rows = (await connection.execute(after)).all()
            if not rows:
                return
            yield [row[: -len(order)] for row in rows]


def _key(table: Table) -> tuple[ColumnElement[Any], ...]:
    return tuple(table.c[name] for name in ATTEMPT_COLUMNS)


def _same_charge() -> ColumnElement[bool]:
    return and_(*(one == other for one, other in zip(_key(corrections), _key(charges), strict=True)))


def _waiting(project_id: int | None, month: int | None) -> Select[Any]:
    shown = ("target", "model", "price_version", "verdict", "reason", "nanodollars", "month", "at_ms")
    return _whose(
        select(*_names(charges), *(charges.c[name] for name in shown)),
        charges,
        [charges.c.estimated, ~exists().where(_same_charge())],
        {charges.c.project_id: project_id, charges.c.month: month},
    )


def _corrected(project_id: int | None, month: int | None) -> Select[Any]:
    shown = ("number", "month", "billed_month", "nanodollars", "tokens", "figure_nanodollars")
    of_file = ("operator", "reference", "file_sha256", "at_ms")
    return _whose(
        select(
            *_names(corrections),
            *(corrections.c[name] for name in shown),
            *(reconciliations.c[name] for name in of_file),
        ),
        corrections,
        [reconciliations.c.id == corrections.c.reconciliation_id],
        {corrections.c.project_id: project_id, corrections.c.billed_month: month},
    )


def _names(table: Table) -> tuple[ColumnElement[Any], ...]:
    project = (organizations.c.name + "/" + projects.c.name).label("project")
    return (project, applications.c.name.label("application"), *_key(table)[1:])


def _whose(
    statement: Select[Any],
    table: Table,
    which: Sequence[ColumnElement[bool]],
    values: dict[ColumnElement[Any], int | None],
) -> Select[Any]:
    joined = (
        table.outerjoin(projects, projects.c.id == table.c.project_id)
        .outerjoin(organizations, organizations.c.id == projects.c.organization_id)
        .outerjoin(applications, applications.c.id == table.c.application_id)
    )
    asked = [column == value for column, value in values.items() if value is not None]
    return statement.select_from(joined).where(*which, *asked)
