"""A review is on record once, with its place, and decided once: by a reviewer, the deadline, or a cancel."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from sqlalchemy import select

from broker.errors import Conflict, NotFound, RoleMissing, SettingsInvalid
from broker.identity.settings import ProjectSettings
from broker.ops import applications, approvals, jobs, organizations, projects, reviewers, reviews
from broker.ops.operator import VARIABLE
from broker.ops.projects import Address
from broker.settings import Settings
from broker.store.cancels import CancelRow, Cancels
from broker.store.database import Database
from broker.store.jobs import Jobs
from broker.store.keys import RunKey
from broker.store.notices import Notices
from broker.store.operations import latest
from broker.store.parking import REVIEW, ParkedRow, Parking
from broker.store.reviews import Review, ReviewRow, Reviews, review_id
from broker.store.tables.identity import directory_revision
from broker.store.tables.notices import notices
from broker.store.tables.set_aside import parked
from schemas.notice import ReviewNotice, ReviewWaiting
from schemas.topics import Lane
from tests.contracts.store.builders import job
from workers.review_notices import ReviewNotices, notice

FAR_MS = 4_000_000_000_000
PAST_MS = 1_700_000_000_000
WHY = "The customer asked for it."


class Desk:
    """A database with one project, its application and a reviewer."""

    def __init__(self, database: Database, ids: tuple[int, int, int]) -> None:
        self.database = database
        self.reviews = Reviews(database)
        self.organization_id, self.project_id, self.application_id = ids

    def held(self, offset: int = 7, **fields: Any) -> tuple[ReviewRow, ParkedRow]:
        key = RunKey(self.application_id, uuid4(), 1)
        row = ReviewRow(
            *key,
            id=review_id(key),
            organization_id=self.organization_id,
            project_id=self.project_id,
            lane="bulk",
            decision_id="d" * 32,
            revision="e" * 64,
            rule="injection.review",
            rules=("big", "injection.review"),
            score=41,
            input_sha256="1" * 64,
            partition=0,
            offset=offset,
            value_sha256="2" * 64,
            held_ms=PAST_MS,
            deadline_ms=FAR_MS,
        )
        row = replace(row, **fields)
        return row, self.place(row, offset)

    def place(self, row: ReviewRow, offset: int) -> ParkedRow:
        return ParkedRow(
            0, offset, *row.key, 1, row.project_id, row.lane, row.deadline_ms, REVIEW, PAST_MS, 2
        )

    async def hold(self, **fields: Any) -> ReviewRow:
        one = self.held(**fields)
        await self.reviews.hold([one])
        return one[0]

    async def due(self) -> list[ParkedRow]:
        return await Parking(self.database).due([0], FAR_MS - 1, 9)

    async def approve(self, row: ReviewRow) -> Review:
        """No policy is active, so nothing is asked of Kafka."""
        return await approvals.approve(Settings(), self.database, row.id, WHY)

    async def call_off(self, row: ReviewRow) -> None:
        cancel = CancelRow(row.application_id, row.job_id, "key-1", "jobs.bulk/0/9", PAST_MS, FAR_MS)
        await Cancels(self.database).enter([cancel])


@pytest_asyncio.fixture
async def desk(database: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    monkeypatch.setenv(VARIABLE, "ann")
    await organizations.create(database, "acme")
    project = await projects.create(database, Address("acme", "search"), ProjectSettings())
    application = await applications.create(database, "shop", Address("acme", "search"))
    [organization] = await organizations.list_all(database)
    await reviewers.appoint(database, "ann")
    yield Desk(database, (organization.id, project.id, application.id))


async def revision(database: Database) -> int:
    async with database.connect() as connection:
        return int((await connection.execute(select(directory_revision.c.revision))).scalar_one())


async def test_a_job_is_held_once_and_its_place_with_it(desk: Desk) -> None:
    row, place = desk.held()
    await desk.reviews.hold([(row, place)])
    await desk.reviews.hold([(replace(row, offset=8), desk.place(row, 8))])
    assert await desk.reviews.known([row.key, RunKey(1, uuid4(), 1)]) == {row.key}
    [found] = await reviews.list_waiting(desk.database, 9)
    assert (found.row, found.organization, found.project, found.application) == (
        replace(row, rules=list(row.rules)),
        "acme",
        "search",
        "shop",
    )
    async with desk.database.connect() as connection:
        assert [row.offset for row in await connection.execute(select(parked.c.offset))] == [7]


async def test_nothing_is_asked_for_nothing(desk: Desk) -> None:
    await desk.reviews.hold([])
    assert await desk.reviews.known([]) == set()
    assert await desk.reviews.rulings([]) == {}


async def test_an_approval_is_on_record_and_wakes_the_job(desk: Desk) -> None:
    row = await desk.hold()
    before = await revision(desk.database)
    review = await desk.approve(row)
    assert (review.verdict, review.decided_by, review.why) == ("approved", "ann", WHY)
    ruling = (await desk.reviews.rulings([row.key]))[row.key]
    assert (ruling.verdict, ruling.decided_by, ruling.rule) == ("approved", "ann", "injection.review")
    assert [each.reason for each in await desk.due()] == [REVIEW]
    [entry] = await latest(desk.database, 1, row.id)
    assert (entry.operation.actor, entry.operation.action) == ("ann", "review.approve")
    assert entry.operation.after == {
        "project": "acme/search",
        "application": "shop",
        "job_id": str(row.job_id),
        "run": 1,
        "decision_id": row.decision_id,
        "revision": row.revision,
        "rule": "injection.review",
        "input_sha256": row.input_sha256,
        "value_sha256": row.value_sha256,
        "verdict": "approved",
        "why": WHY,
    }
    assert await revision(desk.database) == before
    assert await reviews.list_waiting(desk.database, 9) == []


async def test_of_two_reviewers_at_once_one_decides(desk: Desk, other: Database) -> None:
    row = await desk.hold()
    done = await asyncio.gather(desk.approve(row), reviews.deny(other, row.id, WHY), return_exceptions=True)
    failures = [each for each in done if isinstance(each, BaseException)]
    [kept] = [each for each in done if isinstance(each, Review)]
    assert [type(each) for each in failures] == [Conflict]
    assert f"it is {kept.verdict} already by ann" in str(failures[0])
    assert (await reviews.get(desk.database, row.id)).verdict == kept.verdict
    assert len(await latest(desk.database, 9, row.id)) == 1


async def test_the_deadline_closes_it_to_reviewers(desk: Desk) -> None:
    row = await desk.hold(deadline_ms=PAST_MS)
    with pytest.raises(Conflict, match="deadline has passed"):
        await desk.approve(row)
    await desk.reviews.close({row.key: "expired"})
    with pytest.raises(Conflict, match="it is expired already"):
        await reviews.deny(desk.database, row.id, WHY)
    assert await latest(desk.database, 9, row.id) == []


async def test_a_reviewer_who_was_first_is_followed_after_the_deadline(desk: Desk) -> None:
    row = await desk.hold()
    await reviews.deny(desk.database, row.id, WHY)
    await desk.reviews.close({row.key: "expired"})
    assert (await desk.reviews.rulings([row.key]))[row.key].verdict == "denied"


async def test_a_job_that_is_called_off_cannot_be_approved_and_is_woken(desk: Desk) -> None:
    row = await desk.hold()
    await desk.call_off(row)
    assert [each.offset for each in await desk.due()] == [7]
    with pytest.raises(Conflict, match="called it off"):
        await desk.approve(row)


async def test_only_a_reviewer_decides(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    row = await desk.hold()
    monkeypatch.setenv(VARIABLE, "bob")
    with pytest.raises(RoleMissing, match="bob is no reviewer"):
        await desk.approve(row)
    assert (await reviews.get(desk.database, row.id)).verdict is None
    assert await reviewers.appoint(desk.database, "bob")
    assert not await reviewers.appoint(desk.database, "bob")
    assert [each.operator for each in await reviewers.list_all(desk.database)] == ["ann", "bob"]
    assert (await desk.approve(row)).decided_by == "bob"
    await reviewers.dismiss(desk.database, "bob")
    with pytest.raises(NotFound):
        await reviewers.dismiss(desk.database, "bob")
    actions = [
        (each.operation.actor, each.operation.action) for each in await latest(desk.database, 9, "bob")
    ]
    assert actions == [("bob", "reviewer.dismiss"), ("bob", "reviewer.appoint")]


@pytest.mark.parametrize("why", ["", "  ", "x" * 501, "two\nlines"])
async def test_a_reason_is_asked_for(desk: Desk, why: str) -> None:
    row = await desk.hold()
    with pytest.raises(SettingsInvalid, match="say why"):
        await reviews.deny(desk.database, row.id, why)


async def test_it_is_found_by_the_beginning_of_its_id(desk: Desk) -> None:
    row = await desk.hold()
    assert (await reviews.get(desk.database, row.id[:8])).row.key == row.key
    with pytest.raises(Conflict, match="give 6"):
        await reviews.get(desk.database, "ab")
    with pytest.raises(NotFound):
        await reviews.get(desk.database, "%%%%%%%%")


async def test_those_that_wait_are_counted_by_lane_and_told_once(desk: Desk) -> None:
    first, second = await desk.hold(), await desk.hold(offset=8, lane="standard", held_ms=PAST_MS + 1)
    await desk.hold(offset=9, deadline_ms=PAST_MS)
    assert await desk.reviews.count() == {"bulk": 1, "standard": 1}
    assert [each.row.key for each in await desk.reviews.untold(9)] == [first.key, second.key]
    await desk.reviews.told([first.key])
    assert [each.row.key for each in await desk.reviews.untold(9)] == [second.key]
    await desk.approve(first)
    assert await desk.reviews.count() == {"standard": 1}


async def test_a_raised_budget_wakes_nobody_who_waits_for_a_reviewer(desk: Desk) -> None:
    await desk.hold()
    assert await Parking(desk.database).wake(desk.project_id) == 0
    assert await desk.due() == []


async def test_a_decision_and_its_audit_stand_or_fall_together(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = await desk.hold()

    async def broken(*_: object) -> None:
        raise RuntimeError("killed")

    monkeypatch.setattr(reviews, "record", broken)
    with pytest.raises(RuntimeError):
        await desk.approve(row)
    assert (await reviews.get(desk.database, row.id)).verdict is None
    assert await desk.due() == []


async def test_an_organization_is_told_once_of_a_job_that_waits(desk: Desk) -> None:
    row = await desk.hold()
    looking = ReviewNotices(desk.reviews, Notices(desk.database))
    for _ in range(2):
        await looking.look()
    async with desk.database.connect() as connection:
        [(owner, body)] = await connection.execute(select(notices.c.organization_id, notices.c.body))
    assert owner == desk.organization_id
    assert ReviewNotice.model_validate(body).data == ReviewWaiting(
        review=row.id,
        organization="acme",
        project="search",
        application="shop",
        job_id=str(row.job_id),
        run=1,
        lane=Lane.BULK,
        rules=("big", "injection.review"),
        deadline="2096-10-02T07:06:40+00:00",
    )


async def test_a_notice_that_was_entered_by_one_who_died_is_entered_no_second_time(desk: Desk) -> None:
    await desk.hold()
    [review] = await desk.reviews.untold(9)
    assert await Notices(desk.database).enter([notice(review)]) == 1
    await ReviewNotices(desk.reviews, Notices(desk.database)).look()
    assert await desk.reviews.untold(9) == []
    assert await Notices(desk.database).enter([notice(review)]) == 0


async def test_a_job_s_history_has_its_review(desk: Desk) -> None:
    row = await desk.hold()
    entered = job(application_id=row.application_id, job_id=row.job_id, project_id=row.project_id)
    await Jobs(desk.database).register([entered])
    await desk.approve(row)
    records = await jobs.show(desk.database, row.job_id)
    told = [(each.event, dict(each.detail)) for each in jobs.events(records)]
    assert ("held for review", {"review": row.id, "rule": "injection.review"}) in told
    assert ("review approved", {"by": "ann"}) in told
    assert jobs.whereabouts(records, PAST_MS).text == "for a reviewer"
