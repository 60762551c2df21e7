"""Jobs that wait for a reviewer, in the database of a test."""

from uuid import uuid4

from pydantic import SecretStr

from broker.ops import applications, projects
from broker.settings import DatabaseSettings
from broker.store.database import Database
from broker.store.keys import RunKey
from broker.store.parking import REVIEW, ParkedRow
from broker.store.reviews import ReviewRow, Reviews, review_id


async def hold(url: str, revision: str) -> list[str]:
    """Two jobs for review; their ids."""
    database = await Database.open(DatabaseSettings(url=SecretStr(url)))
    try:
        [shop] = [each for each in await applications.list_all(database) if each.name.startswith("a")]
        project = next(each for each in await projects.list_all(database) if each.address == shop.project)
        rows = [_review(RunKey(shop.id, uuid4(), 1), project.id, revision, offset) for offset in range(2)]
        await Reviews(database).hold([(row, _place(row)) for row in rows])
        return [row.id for row in rows]
    finally:
        await database.close()


def _review(key: RunKey, project_id: int, revision: str, offset: int) -> ReviewRow:
    return ReviewRow(
        *key,
        id=review_id(key),
        organization_id=1,
        project_id=project_id,
        lane="bulk",
        decision_id="d",
        revision=revision,
        rule="all",
        rules=("all",),
        score=0,
        input_sha256="1",
        partition=0,
        offset=offset,
        value_sha256="2",
        held_ms=1,
        deadline_ms=4_000_000_000_000,
    )


def _place(row: ReviewRow) -> ParkedRow:
    return ParkedRow(
        row.partition, row.offset, *row.key, 1, row.project_id, row.lane, row.deadline_ms, REVIEW, 1, 2
    )
