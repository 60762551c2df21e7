"""Parked jobs that wait for room: their project has as many jobs in flight as it may."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, func, select

from broker.store.database import Database
from broker.store.parking import COLUMNS, CROWDED, ParkedRow
from broker.store.tables import parked
from schemas.topics import Lane


class Waiting:
    """Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def projects(self) -> list[int]:
        """Those that have such jobs, in order: one step in the index a project, however many jobs wait."""
        async with self._database.connect() as connection:
            found = await connection.execute(_PROJECTS)
            return [row[0] for row in found]

    async def first(self, project_id: int, partitions: Sequence[int], limit: int) -> list[ParkedRow]:
        """At most `limit` of a project's: best lane first, in a lane and partition the oldest job. All that a
        project parks is in one partition, as long as no partitions are added.
        """
        rows: list[ParkedRow] = []
        async with self._database.connect() as connection:
            for lane in Lane:
                if len(rows) < limit:
                    statement = _first(project_id, lane, partitions, limit - len(rows))
                    found: list[Any] = list(await connection.execute(statement))
                    rows += [ParkedRow(*row) for row in found]
        return rows


def _projects() -> Select[Any]:
    """The least project, and from each the next one: PostgreSQL's own DISTINCT would read every row."""
    least = select(func.min(parked.c.project_id)).where(parked.c.reason == CROWDED)
    found = least.cte("found", recursive=True)
    this = found.c[0]
    following = least.where(parked.c.project_id > this).scalar_subquery()
    found = found.union_all(select(following).where(this.is_not(None)))
    return select(found.c[0]).where(found.c[0].is_not(None))


_PROJECTS = _projects()


def _first(project_id: int, lane: Lane, partitions: Sequence[int], limit: int) -> Select[Any]:
    return (
        select(*COLUMNS)
        .where(
            parked.c.reason == CROWDED,
            parked.c.project_id == project_id,
            parked.c.lane == lane.value,
            parked.c.partition.in_(partitions),
        )
        .order_by(parked.c.partition, parked.c.appended_ms, parked.c.offset)
        .limit(limit)
    )
