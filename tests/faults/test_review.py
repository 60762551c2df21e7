"""`kill -9` around the decisions of reviewers: each job ends once, as its review says."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from broker.ops import approvals, policies, reviewers, reviews
from broker.ops.operator import operator
from broker.ops.projects import Address
from broker.store.database import Database
from broker.store.policies import Policies
from broker.store.reviews import Review
from headworks import Answered, Refused
from tests.stack import Account, Fleet, Load, until
from tests.stack.jobs import chats
from tests.unit.broker.policy.jobs import revision, rule

JOBS = 60
WHY = "Agreed by mail."


@pytest.fixture
async def database(fleet: Fleet) -> AsyncIterator[Database]:
    opened = await Database.open(fleet.stack.settings.database)
    await reviewers.appoint(opened, operator())
    yield opened
    await opened.close()


class Reviewers:
    """Two, who work on the same jobs at once."""

    def __init__(self, fleet: Fleet, database: Database, name: str) -> None:
        self._settings = fleet.stack.settings
        self._database = database
        self._name = name

    async def waiting(self) -> list[Review]:
        every = await reviews.list_waiting(self._database, 9_999)
        return [each for each in every if each.application == self._name]

    async def held(self, number: int) -> list[Review]:
        async def enough() -> list[Review] | None:
            found = await self.waiting()
            return found if len(found) >= number else None

        return await until(enough, f"{number} jobs to come to review") or []

    async def decide(self, review: Review) -> str | None:
        """What came of it: every other job is approved by both, of the others one of them denies it."""
        first, second = (
            approvals.approve(self._settings, self._database, review.row.id, WHY),
            reviews.deny(self._database, review.row.id, WHY)
            if review.row.job_id.int % 2
            else approvals.approve(self._settings, self._database, review.row.id, WHY),
        )
        done = await asyncio.gather(first, second, return_exceptions=True)
        [ruled] = [each for each in done if isinstance(each, Review)]
        return ruled.verdict


async def follow(fleet: Fleet, database: Database, name: str) -> None:
    """Every job of the application is to be reviewed; returns when ADMIT knows."""
    await policies.activate(database, revision(rule("look", effect="review")), Address(name, name))
    number = (await Policies(database).beyond(0))[-1].number

    async def adopted() -> bool:
        events = fleet.worker("admit").events()
        return any(event["event"] == "policy.adopted" and event["number"] >= number for event in events)

    await until(adopted, "ADMIT to decide by the policy")


async def test_a_review_outlives_the_workers_on_both_sides_of_it(
    fleet: Fleet, database: Database, name: str
) -> None:
    credential = await fleet.stack.application(name)
    await follow(fleet, database, name)
    desk = Reviewers(fleet, database, name)
    ruled = {}
    async with fleet.stack.client(credential) as client, Load(client, chats(JOBS), JOBS) as load:
        await desk.held(1)
        fleet.kill("admit")
        fleet.start("admit")
        every = await desk.held(JOBS)
        for review in every[: JOBS // 2]:
            ruled[review.row.job_id] = await desk.decide(review)
        fleet.kill("retry")
        for review in every[JOBS // 2 :]:
            ruled[review.row.job_id] = await desk.decide(review)
        fleet.start("retry")
    kinds = {"approved": Answered, "denied": Refused}
    assert {result.job_id: type(result) for result in load.results} == {
        job_id: kinds[str(verdict)] for job_id, verdict in ruled.items()
    }
    assert {result.reason for result in load.results if isinstance(result, Refused)} <= {"review_denied"}
    account = await Account.of(fleet.stack, fleet.provider, name, load.job_ids)
    assert {job_id for job_id, _ in account.calls} == {
        job_id for job_id, verdict in ruled.items() if verdict == "approved"
    }
    await account.holds_good(load.job_ids, load.results)
    assert await fleet.stack.ledger.parked(name) == []
