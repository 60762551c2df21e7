"""Jobs that policy holds until a reviewer decides: a row each, decided once.

A row and its place in the index over `parked` are entered together. So a job that stands here needs nothing
more of ADMIT: it waits there, or the waker has sent it on.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal, NamedTuple
from uuid import UUID

from sqlalchemy import Select, and_, bindparam, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.store.bulk import insert_rows, select_by_keys
from broker.store.clock import now_ms
from broker.store.database import Database
from broker.store.driver import AnyRow
from broker.store.keys import RUN_COLUMNS, RunKey
from broker.store.parking import ParkedRow
from broker.store.tables.identity import applications, organizations, projects
from broker.store.tables.ledger import cancels
from broker.store.tables.policy import reviews
from broker.store.tables.set_aside import parked

Said = Literal["approved", "denied"]
"""By a reviewer."""
End = Literal["expired", "cancelled"]
"""Where none has said anything in time."""
Verdict = Literal["approved", "denied", "expired", "cancelled"]


@dataclass(frozen=True, slots=True)
class ReviewRow:
    """A job that comes to review. What the fields are, `broker.store.tables.policy` says."""

    application_id: int
    job_id: UUID
    run: int
    id: str
    organization_id: int
    project_id: int
    lane: str
    decision_id: str
    revision: str
    rule: str
    rules: Sequence[str]
    score: int
    input_sha256: str
    partition: int
    offset: int
    value_sha256: str
    held_ms: int
    deadline_ms: int

    @property
    def key(self) -> RunKey:
        return RunKey(self.application_id, self.job_id, self.run)


class Ruling(NamedTuple):
    """How a review stands. `verdict`: none while it waits."""

    verdict: Verdict | None
    decision_id: str
    rule: str
    decided_by: str | None
    decided_ms: int | None


class Review(NamedTuple):
    """As operators see it."""

    row: ReviewRow
    organization: str
    project: str
    application: str
    verdict: Verdict | None
    decided_ms: int | None
    decided_by: str | None
    why: str | None


def review_id(key: RunKey) -> str:
    """One a run: 32 hexadecimal digits that follow from its key."""
    return sha256(f"review/{key.application_id}/{key.job_id}/{key.run}".encode()).hexdigest()[:32]


class Reviews:
    """Every method raises DatabaseUnavailable. Rows are changed in the order of their keys, so that processes
    do not wait for each other in a circle.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def hold(self, held: Sequence[tuple[ReviewRow, ParkedRow]]) -> None:
        """Put jobs on record with their places in the index, all at once. Of one that is here already the new
        place is left out: its record there is the one that counts.
        """
        if not held:
            return
        async with self._database.begin() as connection:
            entered = await insert_rows(connection, reviews, [row for row, _ in held], RUN_COLUMNS)
            new = {RunKey(*key) for key in entered}
            await insert_rows(connection, parked, [place for row, place in held if row.key in new])

    async def known(self, keys: Collection[RunKey]) -> set[RunKey]:
        """Those of `keys` that are here, decided or not."""
        if not keys:
            return set()
        async with self._database.connect() as connection:
            found = await select_by_keys(connection, reviews, RUN_COLUMNS, keys, RUN_COLUMNS)
        return {RunKey(*row) for row in found}

    async def close(self, ends: Mapping[RunKey, End]) -> None:
        """End reviews that no reviewer has decided; the others stay as they are."""
        if ends:
            rows = [{**_of(key), "to_verdict": ends[key]} for key in sorted(ends)]
            async with self._database.begin() as connection:
                await connection.execute(_CLOSE, rows)

    async def rulings(self, keys: Collection[RunKey]) -> dict[RunKey, Ruling]:
        columns = (*RUN_COLUMNS, *Ruling._fields)
        async with self._database.connect() as connection:
            found = await select_by_keys(connection, reviews, RUN_COLUMNS, keys, columns)
        return {RunKey(*row[:3]): Ruling(*row[3:]) for row in found}

    async def count(self) -> dict[str, int]:
        """Those that wait, by lane."""
        statement = select(reviews.c.lane, func.count()).where(*_WAITS).group_by(reviews.c.lane)
        async with self._database.connect() as connection:
            return {row[0]: row[1] for row in await connection.execute(statement)}

    async def untold(self, limit: int) -> list[Review]:
        """Those that wait and have no notice yet, the longest held first."""
        statement = _read().where(reviews.c.told_ms.is_(None), *_WAITS)
        statement = statement.order_by(reviews.c.held_ms).limit(limit)
        async with self._database.connect() as connection:
            return [_review(row) for row in await connection.execute(statement)]

    async def told(self, keys: Collection[RunKey]) -> None:
        if keys:
            async with self._database.begin() as connection:
                await connection.execute(_TOLD, [_of(key) for key in sorted(keys)])


async def waiting(connection: AsyncConnection, limit: int) -> list[Review]:
    """The shortest time left first."""
    statement = _read().where(*_WAITS).order_by(reviews.c.deadline_ms, reviews.c.id).limit(limit)
    return [_review(row) for row in await connection.execute(statement)]


async def find(connection: AsyncConnection, prefix: str) -> list[Review]:
    """Two at most of those whose id begins so."""
    statement = _read().where(reviews.c.id.startswith(prefix, autoescape=True)).limit(2)
    return [_review(row) for row in await connection.execute(statement)]


async def decide(connection: AsyncConnection, key: RunKey, said: Said, by: str, why: str) -> bool:
    """Within a change. False where it is decided, too late, or called off.

    By compare-and-swap: of two that decide at once, and of a reviewer and the deadline, the first one counts.
    """
    parameters = {**_of(key), "to_verdict": said, "actor": by, "reason": why}
    return (await connection.execute(_DECIDE, parameters)).rowcount == 1


def _of(key: RunKey) -> dict[str, Any]:
    return {"of_application": key.application_id, "of_job": key.job_id, "of_run": key.run}


_SAME = and_(
    reviews.c.application_id == bindparam("of_application"),
    reviews.c.job_id == bindparam("of_job"),
    reviews.c.run == bindparam("of_run"),
)
_WAITS = (reviews.c.verdict.is_(None), reviews.c.deadline_ms > now_ms())
_IS_OFF = exists().where(
    cancels.c.application_id == reviews.c.application_id,
    cancels.c.job_id == reviews.c.job_id,
    cancels.c.until_ms > now_ms(),
)
_DECIDE = (
    update(reviews)
    .where(_SAME, *_WAITS, ~_IS_OFF)
    .values(
        verdict=bindparam("to_verdict"),
        decided_ms=now_ms(),
        decided_by=bindparam("actor"),
        why=bindparam("reason"),
    )
)
_CLOSE = (
    update(reviews)
    .where(_SAME, reviews.c.verdict.is_(None))
    .values(verdict=bindparam("to_verdict"), decided_ms=now_ms())
)
_TOLD = update(reviews).where(_SAME).values(told_ms=now_ms())
_ROW = tuple(reviews.c[name] for name in ReviewRow.__slots__)


def _read() -> Select[Any]:
    names = [
        organizations.c.name.label("organization"),
        projects.c.name.label("project"),
        applications.c.name.label("application"),
    ]
    ends = (reviews.c.verdict, reviews.c.decided_ms, reviews.c.decided_by, reviews.c.why)
    return (
        select(*_ROW, *names, *ends)
        .join(organizations, organizations.c.id == reviews.c.organization_id)
        .join(projects, projects.c.id == reviews.c.project_id)
        .join(applications, applications.c.id == reviews.c.application_id)
    )


def _review(row: AnyRow) -> Review:
    fields: list[Any] = list(row)
    held = ReviewRow(*fields[: len(_ROW)])
    return Review(held, *fields[len(_ROW) :])
