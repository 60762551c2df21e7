"""Reviews on real servers: a job waits without money held, and goes on or is refused as its reviewer says."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from broker.errors import Conflict
from broker.ops import approvals, reviewers, reviews
from broker.ops.operator import operator
from broker.store.database import Database
from broker.store.operations import latest
from broker.store.reviews import Review
from headworks import Answered, Cancelled, Client, Refused
from tests.stack import until
from tests.stack.fixtures import Pipeline
from tests.stack.jobs import chat
from tests.stack.policy import activate
from tests.unit.broker.policy.jobs import rule

TIMEOUT_S = 60.0
WHY = "Agreed by mail."
MAIL = "joe.doe@example.com"
LOOK = rule("look", effect="review")


@pytest.fixture
async def client(pipeline: Pipeline, name: str) -> AsyncIterator[Client]:
    credential = await pipeline.stack.application(name)
    async with pipeline.stack.client(credential) as made:
        yield made


@pytest.fixture
async def database(pipeline: Pipeline) -> AsyncIterator[Database]:
    opened = await Database.open(pipeline.stack.settings.database)
    await reviewers.appoint(opened, operator())
    yield opened
    await opened.close()


async def held(database: Database, name: str) -> Review:
    """The one job of the application that waits."""

    async def waiting() -> list[Review]:
        return [each for each in await reviews.list_waiting(database, 999) if each.application == name]

    [review] = await until(waiting, "the job to come to review")
    return review


async def test_an_approved_job_is_read_as_it_goes_out_and_holds_money_only_then(
    pipeline: Pipeline, client: Client, database: Database, name: str
) -> None:
    await activate(pipeline, database, name, rules=[LOOK], dlp={"request": {"EMAIL": "redact"}})
    running = asyncio.create_task(client.run(chat(f"Write to {MAIL}."), timeout_s=TIMEOUT_S))
    review = await held(database, name)
    assert await pipeline.stack.ledger.holds(name) == {}
    prompt = await reviews.prompt(pipeline.stack.settings, database, review)
    assert b"Write to [EMAIL_1]." in prompt
    assert MAIL.encode() not in prompt
    await approvals.approve(pipeline.stack.settings, database, review.row.id, WHY)
    result = await running
    assert isinstance(result, Answered)
    assert pipeline.provider.counts(result.job_id)["total"] == 1
    [entry] = await pipeline.stack.ledger.audit_entries(name)
    assert (entry["decision_effect"], entry["decision_id"], entry["approved_by"]) == (
        "review",
        review.row.decision_id,
        operator(),
    )
    actions = [row.operation.action for row in await latest(database, 9, review.row.id)]
    assert actions == ["review.approve", "review.read"]
    assert await pipeline.stack.ledger.broken_chains() == []


async def test_a_job_may_be_called_off_while_it_waits(
    pipeline: Pipeline, client: Client, database: Database, name: str
) -> None:
    await activate(pipeline, database, name, rules=[LOOK])
    running = asyncio.create_task(client.run(chat(), timeout_s=TIMEOUT_S))
    review = await held(database, name)
    await client.cancel(review.row.job_id)
    assert isinstance(await running, Cancelled)
    with pytest.raises(Conflict):
        await approvals.approve(pipeline.stack.settings, database, review.row.id, WHY)


async def test_what_the_policy_denies_by_now_nobody_approves(
    pipeline: Pipeline, client: Client, database: Database, name: str
) -> None:
    await activate(pipeline, database, name, rules=[LOOK])
    running = asyncio.create_task(client.run(chat(), timeout_s=TIMEOUT_S))
    review = await held(database, name)
    await activate(pipeline, database, name, rules=[LOOK, rule("closed")])
    settings = pipeline.stack.settings
    with pytest.raises(Conflict, match="denies it, rule closed"):
        await approvals.approve(settings, database, review.row.id, WHY)
    taking = {"patterns": [{"type": "CANAL", "pattern": "canals"}], "request": {"CANAL": "redact"}}
    await activate(pipeline, database, name, rules=[LOOK], dlp=taking)
    with pytest.raises(Conflict, match="takes out other data"):
        await approvals.approve(settings, database, review.row.id, WHY)
    await reviews.deny(database, review.row.id, WHY)
    result = await running
    assert isinstance(result, Refused)
    assert (result.reason, result.message) == (
        "review_denied",
        f"decision {review.row.decision_id}, rule look",
    )
    assert pipeline.provider.counts(result.job_id)["total"] == 0
