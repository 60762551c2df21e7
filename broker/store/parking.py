"""The index over the topic `parked`: which of its records may go on, and when."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import bindparam, cast, delete, func, select, update
from sqlalchemy.dialects.postgresql import REGCLASS
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.store.bulk import insert_rows
from broker.store.clock import now_ms
from broker.store.database import Database
from broker.store.keys import JobKey
from broker.store.tables.set_aside import parked
from schemas.topics import Lane

REVIEW: Final = "review"
"""What a job is parked for that waits for a reviewer (`broker.store.reviews`)."""


COUNTED_MAX: Final = 10_000
"""A million rows would be read in some hundred milliseconds, every few seconds."""


@dataclass(frozen=True, slots=True)
class ParkedRow:
    """One record of `parked`. `due_ms`: not before this time; who waits for room, goes on before it."""

    partition: int
    offset: int
    application_id: int
    job_id: UUID
    run: int
    attempt: int
    project_id: int
    lane: str
    due_ms: int
    reason: str
    appended_ms: int
    """When Kafka got the job, in Unix milliseconds: its place in line, however often it is parked."""
    record_bytes: int
    """Of the record's value."""
    line: str | None = None
    """In which it waits for room (`broker.quota.lines`)."""

    @property
    def place(self) -> "Place":
        return Place(self.partition, self.offset)


class Place(NamedTuple):
    """Of a record in the topic `parked`."""

    partition: int
    offset: int


class Line(NamedTuple):
    """In which a job waits, and what it is parked for."""

    name: str
    reason: str


class Parking:
    """Rows are keyed by their record's place, so a record that is delivered again changes nothing, and a job
    that is parked again is another row. Every method raises DatabaseUnavailable.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def park(self, rows: Sequence[ParkedRow]) -> None:
        async with self._database.connect() as connection:
            await insert_rows(connection, parked, rows)

    async def due(self, partitions: Sequence[int], at_ms: int, limit: int) -> list[ParkedRow]:
        """At most `limit` rows of `partitions` that are due at `at_ms` (Unix milliseconds): best lane first,
        in a lane the longest due, and of these the oldest job.
        """
        rows: list[ParkedRow] = []
        async with self._database.connect() as connection:
            for lane in Lane:
                if len(rows) < limit:
                    rows += await _due(connection, lane, partitions, at_ms, limit - len(rows))
        return rows

    async def unpark(self, places: Sequence[Place]) -> None:
        """Forget records that are on their way again."""
        if places:
            async with self._database.begin() as connection:
                await connection.execute(_FORGET, [place._asdict() for place in places])

    async def wake(self, project_id: int, after_ms: int = 0) -> int:
        """Make all that a project has parked due soon, when its budget was raised, but for those that wait
        for room or for a reviewer. Says how many.
        """
        due = now_ms() + after_ms
        waits = (
            parked.c.project_id == project_id,
            parked.c.due_ms > due,
            parked.c.line.is_(None),
            parked.c.reason != REVIEW,
        )
        statement = update(parked).where(*waits).values(due_ms=due)
        async with self._database.connect() as connection:
            woken = await connection.execute(statement)
        return woken.rowcount

    async def move(self, places: Mapping[Place, Line]) -> None:
        """Let records stand in other lines, at the places of their jobs' age."""
        if places:
            rows = [
                {"of_partition": place[0], "of_offset": place[1], "to_line": line, "for_reason": reason}
                for place, (line, reason) in places.items()
            ]
            async with self._database.begin() as connection:
                await connection.execute(_MOVE, rows)

    async def hasten(self, keys: Collection[JobKey]) -> None:
        """Make these jobs due at once, those of them that are parked."""
        if keys:
            async with self._database.connect() as connection:
                await hasten(connection, keys)

    async def count(self) -> int:
        """How many there are; on PostgreSQL beyond COUNTED_MAX as its statistics have it."""
        async with self._database.connect() as connection:
            if self._database.dialect == "sqlite":
                return (await connection.execute(_COUNT_ALL)).scalar_one()
            counted: int = (await connection.execute(_COUNT)).scalar_one()
            if counted < COUNTED_MAX:
                return counted
            live: int = (await connection.execute(_LIVE)).scalar_one()
            return max(counted, live)


async def hasten(connection: AsyncConnection, keys: Collection[JobKey]) -> None:
    """As `Parking.hasten`, of one key or more."""
    await connection.execute(_HASTEN, [{"of_application": key[0], "of_job": key[1]} for key in keys])


_COUNT = select(func.count()).select_from(select(parked.c.partition).limit(COUNTED_MAX).subquery())
_COUNT_ALL = select(func.count()).select_from(parked)
_LIVE = select(func.pg_stat_get_live_tuples(cast(parked.name, REGCLASS)))
_HASTEN = (
    update(parked)
    .where(
        parked.c.application_id == bindparam("of_application"),
        parked.c.job_id == bindparam("of_job"),
        parked.c.due_ms > now_ms(),
    )
    .values(due_ms=now_ms())
)
_FORGET = delete(parked).where(
    parked.c.partition == bindparam("partition"), parked.c.offset == bindparam("offset")
)
_MOVE = (
    update(parked)
    .where(parked.c.partition == bindparam("of_partition"), parked.c.offset == bindparam("of_offset"))
    .values(line=bindparam("to_line"), reason=bindparam("for_reason"))
)
COLUMNS = tuple(parked.c[name] for name in ParkedRow.__slots__)


async def _due(
    connection: AsyncConnection, lane: Lane, partitions: Sequence[int], at_ms: int, limit: int
) -> list[ParkedRow]:
    statement = (
        select(*COLUMNS)
        .where(parked.c.lane == lane.value, parked.c.due_ms <= at_ms, parked.c.partition.in_(partitions))
        .order_by(parked.c.due_ms, parked.c.appended_ms, parked.c.partition, parked.c.offset)
        .limit(limit)
    )
    found: list[Any] = list(await connection.execute(statement))
    return [ParkedRow(*row) for row in found]
