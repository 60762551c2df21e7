"""A project with more jobs than it may have in flight: they wait, in line, and all are answered."""

from collections.abc import AsyncIterator

import pytest_asyncio

from headworks.client import Answered
from schemas.topics import Lane
from tests.stack import Account, RealStack
from tests.stack.fixtures import QUICK, Pipeline
from tests.stack.jobs import chat

MAX = 3
JOBS = 24
CALL_S = 0.3


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def narrow(stack: RealStack) -> AsyncIterator[Pipeline]:
    provider = stack.simulator()
    walled = await stack.application("narrow")
    worker = stack.worker("all", extra={**QUICK, "HEADWORKS_RESERVE__JOBS_IN_FLIGHT_MAX": str(MAX)})
    yield Pipeline(stack, provider, worker, walled)
    assert worker.terminate() == 0, worker.tail()
    provider.terminate()


async def test_no_more_than_there_is_room_for_are_called_at_a_time(narrow: Pipeline, name: str) -> None:
    narrow.provider.behave({"latency": {"kind": "fixed", "ms": CALL_S * 1000}})
    async with narrow.stack.client(await narrow.stack.application(name)) as client:
        job_ids = [job_id async for job_id in client.submit_many(chat() for _ in range(JOBS))]
        ahead = await client.run(chat(), lane=Lane.INTERACTIVE)
        results = [result async for result in client.as_completed(job_ids)]
    assert isinstance(ahead, Answered)
    assert {type(result) for result in results} == {Answered}
    assert narrow.worker.metric("headworks_jobs_total", stage="reserve", outcome="parked") >= JOBS - MAX
    began = sorted(call["t"] for call in narrow.provider.calls() if call["job_id"] != str(ahead.job_id))
    assert all(later - first >= CALL_S for first, later in zip(began, began[MAX:], strict=False))
    account = await Account.of(narrow.stack, narrow.provider, name, {*job_ids, ahead.job_id})
    await account.holds_good([*job_ids, ahead.job_id], [*results, ahead])
