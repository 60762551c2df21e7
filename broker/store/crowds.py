"""Parked jobs that wait in line for room (`broker.quota.lines`)."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, select

from broker.store.database import Database
from broker.store.parking import COLUMNS, ParkedRow
from broker.store.tables.set_aside import parked
from schemas.topics import Lane


class Waiting:
    """Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def lines(self) -> list[str]:
        """Those in which jobs wait, in order: one step in the index a line, however many jobs wait."""
        async with self._database.connect() as connection:
            found = await connection.execute(_LINES)
            return [row[0] for row in found]

    async def first(self, line: str, partitions: Sequence[int], limit: int) -> list[ParkedRow]:
        """Of the first `limit` in line those that are in these partitions: best lane first, in a lane the
        oldest job. So no worker lets in what stands behind the jobs of another one's partitions.
        """
        rows: list[ParkedRow] = []
        async with self._database.connect() as connection:
            for lane in Lane:
                if len(rows) < limit:
                    found: list[Any] = list(await connection.execute(_first(line, lane, limit - len(rows))))
                    rows += [ParkedRow(*row) for row in found]
        return [row for row in rows if row.partition in partitions]


def _lines() -> Select[Any]:
    """The least line, and from each the next one: PostgreSQL's own DISTINCT would read every row, and
    min() too, by a plan from when the table was small.
    """
    least = select(parked.c.line).where(parked.c.line.is_not(None)).order_by(parked.c.line).limit(1)
    found = select(least.scalar_subquery().label("line")).cte("found", recursive=True)
    following = least.where(parked.c.line > found.c.line).scalar_subquery()
    found = found.union_all(select(following).where(found.c.line.is_not(None)))
    return select(found.c.line).where(found.c.line.is_not(None))


_LINES = _lines()


def _first(line: str, lane: Lane, limit: int) -> Select[Any]:
    return (
        select(*COLUMNS)
        .where(parked.c.line == line, parked.c.lane == lane.value)
        .order_by(parked.c.appended_ms, parked.c.partition, parked.c.offset)
        .limit(limit)
    )
