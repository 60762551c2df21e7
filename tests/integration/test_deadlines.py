"""A job whose deadline passes wherever it may wait, on real servers: a reply, and no call."""

import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import pytest

from broker.identity.credential import Credential
from headworks import Answered, Client, Expired, Refused
from tests.stack import RealStack, until
from tests.stack.fixtures import QUICK
from tests.stack.jobs import chat
from tests.stack.processes import SimulatorProcess
from workers.latency import ENOUGH
from workers.pools import POOLS, Pool

TIMEOUT_S = 60.0


@pytest.fixture
async def provider(stack: RealStack) -> AsyncIterator[SimulatorProcess]:
    process = stack.simulator()
    yield process
    process.terminate()


@pytest.fixture
async def credential(stack: RealStack, name: str) -> Credential:
    return await stack.application(name)


@pytest.fixture
async def client(stack: RealStack, credential: Credential) -> AsyncIterator[Client]:
    async with stack.client(credential) as made:
        yield made


@asynccontextmanager
async def working(stack: RealStack, pools: Sequence[Pool], **extra: str) -> AsyncIterator[None]:
    worker = stack.worker(*pools, extra=QUICK | extra)
    try:
        yield
    finally:
        assert worker.terminate() == 0, worker.tail()


async def passed(at: float) -> None:
    async def over() -> bool:
        return time.monotonic() >= at

    await until(over, "the deadline to pass")


@pytest.mark.parametrize("missing", [pool for pool in POOLS if pool not in ("settle", "retry")])
async def test_it_expires_in_front_of_every_pool_that_comes_too_late(
    stack: RealStack, provider: SimulatorProcess, client: Client, missing: Pool
) -> None:
    others = [pool for pool in POOLS if pool != missing]
    async with working(stack, others):
        job_id = await client.submit(chat(), ttl_s=1)
        await passed(time.monotonic() + 1.0)
        async with working(stack, [missing]):
            result = await client.result(job_id, TIMEOUT_S)
    assert isinstance(result, Expired)
    assert (result.attempts, result.cost_nanodollars) == (0, 0)
    assert provider.counts(job_id)["total"] == 0
    assert await stack.ledger.holds(client.application) == {}


async def test_it_expires_in_a_retry_topic(
    stack: RealStack, provider: SimulatorProcess, client: Client, name: str
) -> None:
    """Nobody looks after the topic while it waits there. It waits longer than the first verdict takes to
    write: what is due by then goes on without the topic.
    """
    job_id = uuid.uuid4()
    provider.behave({"canned": [{"job_id": str(job_id), "status": 503, "attempt_max": None}]})
    others = [pool for pool in POOLS if pool != "retry"]
    async with working(stack, others, HEADWORKS_RETRY__BASE_MS="1000"):
        await client.submit(chat(), job_id=job_id, ttl_s=3)
        await until(lambda: stack.ledger.verdicts(name), "the first attempt's verdict")
        await passed(time.monotonic() + 3.0)
        async with working(stack, ["retry"]):
            result = await client.result(job_id, TIMEOUT_S)
    assert isinstance(result, Expired)
    assert result.attempts == provider.counts(job_id)["total"] == 1


async def test_it_expires_while_it_waits_for_a_slot(
    stack: RealStack, provider: SimulatorProcess, client: Client
) -> None:
    provider.behave({"latency": {"kind": "fixed", "ms": 2_500}})
    async with working(stack, POOLS, HEADWORKS_DISPATCH__SLOTS="1"):
        first = await client.submit(chat())

        async def called() -> bool:
            return int(provider.counts(first)["total"]) == 1

        await until(called, "the first job's call")
        late = await client.submit(chat(), ttl_s=1)
        result = await client.result(late, TIMEOUT_S)
        assert isinstance(await client.result(first, TIMEOUT_S), Answered)
    assert isinstance(result, Expired)
    assert provider.counts(late)["total"] == 0


async def test_what_cannot_be_answered_in_time_is_refused_at_once(
    stack: RealStack, provider: SimulatorProcess, client: Client
) -> None:
    provider.behave({"latency": {"kind": "fixed", "ms": 2_000}})
    async with working(stack, POOLS):
        many: list[UUID] = [await client.submit(chat()) for _ in range(ENOUGH)]
        assert {type(await client.result(job_id, TIMEOUT_S)) for job_id in many} == {Answered}
        result = await client.run(chat(), ttl_s=1, timeout_s=TIMEOUT_S)
    assert isinstance(result, Refused)
    assert (result.reason, result.attempts, result.cost_nanodollars) == ("deadline_unreachable", 0, 0)
    assert provider.counts(result.job_id)["total"] == 0
    assert await stack.ledger.holds(client.application) == {}
