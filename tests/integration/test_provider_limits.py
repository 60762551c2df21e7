"""A provider with limits behind two processes of DISPATCH, on real servers: few calls run into its limits,
every job ends, and what one process learns the other knows.
"""

import secrets
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from broker.health.limit import Cause
from headworks import Answered, Client
from headworks.client.results import Result
from tests.stack import Load, RealStack, until
from tests.stack.fixtures import QUICK
from tests.stack.jobs import chat, chats
from tests.stack.processes import SimulatorProcess, WorkerProcess

SLOTS = 100
EXTRA = QUICK | {
    "HEADWORKS_DISPATCH__SLOTS": str(SLOTS),
    "HEADWORKS_DISPATCH__SLOTS_INTERACTIVE": "10",
    "HEADWORKS_CONCURRENCY__SHARE_MS": "100",
    "HEADWORKS_CONCURRENCY__CALLS_MIN": "1",
    "HEADWORKS_CONCURRENCY__RETRY_AFTER_MAX_S": "60",
}
LATENCY_MS = 50


@dataclass(frozen=True)
class Pair:
    stack: RealStack
    provider: SimulatorProcess
    dispatchers: tuple[WorkerProcess, WorkerProcess]

    def metrics(self, name: str, **labels: str) -> list[float]:
        """Of each process."""
        return [process.metric(name, target="simulated", **labels) for process in self.dispatchers]

    def cuts(self) -> list[float]:
        by_cause = [self.metrics("headworks_target_cuts_total", cause=cause.value) for cause in Cause]
        return [sum(counts) for counts in zip(*by_cause, strict=True)]


@pytest_asyncio.fixture(loop_scope="session")
async def pair(stack: RealStack) -> AsyncIterator[Pair]:
    """In each test nothing is learned yet: what was said in the one before is under another prefix."""
    provider = stack.simulator()
    extra = EXTRA | {"HEADWORKS_REDIS__PREFIX": f"hw-{secrets.token_hex(4)}"}
    rest = stack.worker("admit", "reserve", "settle", "retry", wait=False, extra=extra)
    first, second = (stack.worker("dispatch", wait=False, extra=extra) for _ in range(2))
    for process in (rest, first, second):
        process.wait_until_ready()
    yield Pair(stack, provider, (first, second))
    for process in (first, second, rest):
        assert process.terminate() == 0, process.tail()
    provider.terminate()


@pytest.fixture
async def client(pair: Pair, name: str) -> AsyncIterator[Client]:
    async with pair.stack.client(await pair.stack.application(name)) as made:
        yield made


async def run(client: Client, number: int, open_max: int) -> list[Result]:
    async with Load(client, chats(number), open_max) as load:
        pass
    return load.results


async def test_few_calls_run_into_a_limit_that_says_when_to_come_again(pair: Pair, client: Client) -> None:
    """Ten calls at once for two processes that could make two hundred."""
    pair.provider.behave(
        {"latency": {"kind": "fixed", "ms": LATENCY_MS}, "calls_at_once_max": 10, "retry_after_s": 1}
    )
    results = await run(client, 1_000, 200)
    assert {type(result) for result in results} == {Answered}
    first = pair.provider.counts()["by_status"]
    assert first["200"] == 1_000
    results = await run(client, 1_000, 200)
    assert {type(result) for result in results} == {Answered}
    both = pair.provider.counts()["by_status"]
    assert both["429"] - first["429"] < 0.1 * (both["200"] - first["200"])
    assert all(pair.cuts())


async def test_a_provider_that_slows_down_under_load_gets_fewer_calls_at_once(
    pair: Pair, client: Client
) -> None:
    pair.provider.behave({"latency": {"kind": "fixed", "ms": LATENCY_MS}, "capacity": 8})
    await run(client, 400, 8)
    assert pair.cuts() == [0, 0]
    assert pair.metrics("headworks_target_limit") == [SLOTS, SLOTS]
    results = await run(client, 2_000, 300)
    assert {type(result) for result in results} == {Answered}
    assert any(pair.metrics("headworks_target_cuts_total", cause="latency"))
    assert pair.provider.counts()["by_status"] == {"200": 2_400}


async def test_what_one_process_is_told_the_other_knows(pair: Pair, client: Client) -> None:
    """One call in all is turned away, before any is served."""
    job_id = uuid.uuid4()
    canned = {"job_id": str(job_id), "attempt_max": 1, "status": 429}
    pair.provider.behave({"retry_after_s": 2, "canned": [canned]})
    result = await client.run(chat(), job_id=job_id, timeout_s=60)
    assert isinstance(result, Answered)
    assert result.attempts == 2

    async def both_know() -> bool:
        return all(pair.metrics("headworks_target_closures_total"))

    await until(both_know, "a rest in both processes")
    assert pair.cuts() == [0, 0]
