"""Cancellations: jobs that their application called off, kept until the job's deadline.

Each commit has a revision of its own, and revisions become visible in their order, so that whoever has seen
one asks only for what is beyond it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.store.bulk import insert_rows, select_by_keys
from broker.store.clock import now_ms
from broker.store.database import Database
from broker.store.keys import JOB_COLUMNS, JobKey
from broker.store.locks import cancels_lock
from broker.store.parking import hasten
from broker.store.tables.ledger import cancels, jobs


@dataclass(frozen=True, slots=True)
class CancelRow:
    """`origin`: the coordinate of the record that called the job off; `key_id`: of the key that signed it."""

    application_id: int
    job_id: UUID
    key_id: str
    origin: str
    at_ms: int
    until_ms: int
    """The latest deadline that the job can have; of one that is registered, its own is put in its place."""
    revision: int = 0

    @property
    def key(self) -> JobKey:
        return JobKey(self.application_id, self.job_id)


class Cancel(NamedTuple):
    key: JobKey
    until_ms: int
    revision: int


class Cancels:
    """Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def enter(self, rows: Sequence[CancelRow]) -> None:
        """Put cancellations on record, the first of a job alone, and make those jobs due that are parked.

        Jobs are woken after the commit, and whoever parks one looks here after its own commit: of the two,
        the later one sees the other. Done again, it changes nothing.
        """
        async with self._database.begin() as connection:
            await cancels_lock(connection)
            revision = (await connection.execute(_NEXT)).scalar_one()
            deadlines = await _deadlines(connection, rows)
            entered = [
                replace(row, until_ms=deadlines.get(row.key, row.until_ms), revision=revision) for row in rows
            ]
            await insert_rows(connection, cancels, entered)
        async with self._database.connect() as connection:
            await hasten(connection, {row.key for row in rows})

    async def beyond(self, revision: int) -> list[Cancel]:
        """What was entered since, as far as its time is not up, in the order of revisions."""
        async with self._database.connect() as connection:
            found = await connection.execute(_BEYOND, {"seen": revision})
            return [Cancel(JobKey(*row[:2]), row.until_ms, row.revision) for row in found]


_NEXT = select(func.coalesce(func.max(cancels.c.revision), 0) + 1)
_BEYOND = (
    select(cancels.c.application_id, cancels.c.job_id, cancels.c.until_ms, cancels.c.revision)
    .where(cancels.c.revision > bindparam("seen"), cancels.c.until_ms > now_ms())
    .order_by(cancels.c.revision)
)


async def _deadlines(connection: AsyncConnection, rows: Sequence[CancelRow]) -> dict[JobKey, int]:
    columns = (*JOB_COLUMNS, "deadline_ms")
    keys = {row.key for row in rows}
    found = await select_by_keys(connection, jobs, JOB_COLUMNS, keys, columns)
    return {JobKey(*row[:2]): row.deadline_ms for row in found}
