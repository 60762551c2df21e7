"""The register of jobs: which are new, and what a job that was seen before is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from uuid import UUID

from broker.errors import DatabaseUnavailable
from broker.store.bulk import insert_rows, select_by_keys
from broker.store.database import Database, Line
from broker.store.keys import JOB_COLUMNS, JobKey
from broker.store.tables import ledger


class Seen(Enum):
    """What the register says about a job that ADMIT read."""

    NEW = "new"
    REDELIVERED = "redelivered"
    """The same record again: go on with it."""
    REPEAT = "repeat"
    """The same value, published again."""
    CONFLICT = "conflict"
    """Another value under the same job id."""
    CANCELLED = "cancelled"
    """It is new, and was called off before it came."""


@dataclass(frozen=True, slots=True)
class JobRow:
    application_id: int
    job_id: UUID
    value_sha256: str
    origin: str
    lane: str
    project_id: int
    appended_ms: int
    deadline_ms: int

    @property
    def key(self) -> JobKey:
        return JobKey(self.application_id, self.job_id)


def judge(row: JobRow, value_sha256: str, origin: str) -> Seen:
    """What `row` is beside the registered job's digest and coordinate.

    The digest comes first: after a topic was made anew, a coordinate may come again with another value.
    """
    if row.value_sha256 != value_sha256:
        return Seen.CONFLICT
    return Seen.REDELIVERED if row.origin == origin else Seen.REPEAT


class Jobs:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def register(self, rows: Sequence[JobRow]) -> list[Seen]:
        """Enter `rows`, and say of each what it is, in their order. Of several for one job the first counts.

        Raises DatabaseUnavailable.
        """
        first: dict[JobKey, JobRow] = {}
        for row in rows:
            first.setdefault(row.key, row)
        async with self._database.ledger() as connection:
            entered = list(first.values())
            inserted = await insert_rows(
                connection, ledger.jobs, entered, JOB_COLUMNS, marked_in=ledger.cancels
            )
            new = {JobKey(*key): Seen.CANCELLED if is_off else Seen.NEW for *key, is_off in inserted}
            known = await _registered(connection, [key for key in first if key not in new])
        for key in new:
            known[key] = (first[key].value_sha256, first[key].origin)
        return [
            new[row.key] if row.key in new and first[row.key] is row else judge(row, *known[row.key])
            for row in rows
        ]

    async def origins(self, keys: Sequence[JobKey]) -> Mapping[JobKey, str]:
        """Where the jobs were first seen, of those that are on record. Raises DatabaseUnavailable."""
        async with self._database.ledger() as connection:
            found = await select_by_keys(connection, ledger.jobs, JOB_COLUMNS, keys, (*JOB_COLUMNS, "origin"))
        return {JobKey(row.application_id, row.job_id): row.origin for row in found}


async def _registered(connection: Line, keys: Sequence[JobKey]) -> dict[JobKey, tuple[str, str]]:
    columns = (*JOB_COLUMNS, "value_sha256", "origin")
    found = await select_by_keys(connection, ledger.jobs, JOB_COLUMNS, keys, columns)
    known = {JobKey(row.application_id, row.job_id): (row.value_sha256, row.origin) for row in found}
    if len(known) < len(keys):
        raise DatabaseUnavailable("jobs left the register while it was read; try again")
    return known
