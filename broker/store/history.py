"""All that the ledger knows of one job. Read for operators, away from the hot path; no prompt is in it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from sqlalchemy import Table, and_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.store.attempts import AttemptRow, VerdictRow
from broker.store.cancels import CancelRow
from broker.store.clock import now_ms
from broker.store.database import Database
from broker.store.driver import AnyRow
from broker.store.flags import FlagRow
from broker.store.jobs import JobRow
from broker.store.keys import JobKey
from broker.store.parking import ParkedRow
from broker.store.settlement_rows import Terminal
from broker.store.tables import corrections, identity, ledger, policy, set_aside
from schemas.state import Charge, Hold

_R = TypeVar("_R", JobRow, AttemptRow, VerdictRow, ParkedRow, CancelRow, FlagRow, Terminal)


class Charged(NamedTuple):
    """A row of `charges`, without what the job says already."""

    run: int
    attempt: int
    verdict: str
    reason: str | None
    target: str
    nanodollars: int
    estimated: bool
    input_tokens: int | None
    output_tokens: int | None
    latency_ms: int
    at_ms: int


class CorrectedRow(NamedTuple):
    """What a statement said of a charge. `nanodollars`: the difference; `figure_nanodollars`: with it."""

    run: int
    attempt: int
    nanodollars: int
    figure_nanodollars: int
    reference: str | None
    operator: str
    at_ms: int


class DeadLetterRow(NamedTuple):
    run: int
    coordinate: str
    reason: str
    at_ms: int


class Reviewed(NamedTuple):
    """A run that policy held for review. `verdict`, `decided_ms`: none while it waits."""

    run: int
    id: str
    rule: str
    held_ms: int
    verdict: str | None
    decided_ms: int | None
    decided_by: str | None


@dataclass(frozen=True, slots=True)
class JobRecords:
    """Each sequence in the order of run and attempt."""

    application: str
    project: str
    """`organization/project`."""
    job: JobRow
    attempts: Sequence[AttemptRow] = ()
    living: frozenset[str] = frozenset()
    """Of the owners of attempts, those whose lease runs by the database's clock."""
    verdicts: Sequence[VerdictRow] = ()
    charges: Sequence[Charged] = ()
    corrections: Sequence[CorrectedRow] = ()
    """In the order in which they were written."""
    parked: Sequence[ParkedRow] = ()
    cancels: Sequence[CancelRow] = ()
    reviews: Sequence[Reviewed] = ()
    flags: Sequence[FlagRow] = ()
    """Of plugged-in detectors."""
    dead_letters: Sequence[DeadLetterRow] = ()
    terminals: Sequence[Terminal] = ()


class Histories:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, job_id: UUID) -> list[JobRecords]:
        """One for each application that has a job of this id; usually one in all.

        Raises DatabaseUnavailable.
        """
        async with self._database.connect() as connection:
            return [await _read(connection, row) for row in await connection.execute(_registered(job_id))]


def _registered(job_id: UUID) -> Any:
    """By way of the applications, of which there are few, for the register's key begins with them."""
    names = (identity.applications.c.name, identity.organizations.c.name, identity.projects.c.name)
    labels = ("application_name", "organization_name", "project_name")
    return (
        select(ledger.jobs, *(name.label(label) for name, label in zip(names, labels, strict=True)))
        .join_from(
            identity.applications,
            ledger.jobs,
            and_(ledger.jobs.c.application_id == identity.applications.c.id, ledger.jobs.c.job_id == job_id),
        )
        .join(identity.projects, identity.projects.c.id == ledger.jobs.c.project_id)
        .join(identity.organizations, identity.organizations.c.id == identity.projects.c.organization_id)
        .order_by(identity.applications.c.name)
    )


async def _read(connection: AsyncConnection, row: AnyRow) -> JobRecords:
    key = JobKey(row.application_id, row.job_id)
    attempts = [_typed(AttemptRow, each) for each in await _rows(connection, ledger.attempts, key)]
    charges = await _rows(connection, ledger.charges, key)
    held = await _rows(connection, policy.reviews, key)
    letters = await _rows(connection, set_aside.dead_letters, key)
    return JobRecords(
        application=row.application_name,
        project=f"{row.organization_name}/{row.project_name}",
        job=_typed(JobRow, row),
        attempts=attempts,
        living=await _living(connection, {attempt.owner for attempt in attempts}),
        verdicts=[_typed(VerdictRow, each) for each in await _rows(connection, ledger.verdicts, key)],
        charges=[Charged(*(getattr(each, name) for name in Charged._fields)) for each in charges],
        corrections=await _corrections(connection, key),
        cancels=[_typed(CancelRow, each) for each in await _rows(connection, ledger.cancels, key)],
        parked=[_typed(ParkedRow, each) for each in await _rows(connection, set_aside.parked, key)],
        flags=[_typed(FlagRow, each) for each in await _rows(connection, policy.flags, key)],
        reviews=[Reviewed(*(getattr(each, name) for name in Reviewed._fields)) for each in held],
        dead_letters=[DeadLetterRow(each.run, each.coordinate, each.reason, each.at_ms) for each in letters],
        terminals=[_typed(Terminal, each) for each in await _rows(connection, ledger.terminals, key)],
    )


async def _rows(connection: AsyncConnection, table: Table, key: JobKey) -> Sequence[AnyRow]:
    same = (table.c.application_id == key.application_id, table.c.job_id == key.job_id)
    order = [table.c[name] for name in ("run", "attempt") if name in table.c]
    return (await connection.execute(select(table).where(*same).order_by(*order))).all()


async def _corrections(connection: AsyncConnection, key: JobKey) -> Sequence[CorrectedRow]:
    made, of = corrections.corrections, corrections.reconciliations
    tables: dict[str, Table] = {name: made if name in made.c else of for name in CorrectedRow._fields}
    statement = (
        select(*(table.c[name] for name, table in tables.items()))
        .join_from(made, of, of.c.id == made.c.reconciliation_id)
        .where(made.c.application_id == key.application_id, made.c.job_id == key.job_id)
        .order_by(of.c.id, made.c.run, made.c.attempt)
    )
    return [CorrectedRow(*row) for row in await connection.execute(statement)]


async def _living(connection: AsyncConnection, owners: set[str]) -> frozenset[str]:
    workers = ledger.workers
    alive = workers.c.incarnation.in_(owners), workers.c.lease_until_ms > now_ms()
    return frozenset(await connection.scalars(select(workers.c.incarnation).where(*alive)))


def _typed(kind: type[_R], row: AnyRow) -> _R:
    content = {field.name: getattr(row, field.name) for field in fields(kind)}
    for name, model in (("hold", Hold), ("charge", Charge)):
        if name in content:
            content[name] = model.model_validate(content[name])
    return kind(**content)
