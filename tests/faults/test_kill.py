"""`kill -9` of worker processes while 1,000 jobs run: each job ends once, and nothing is paid twice."""

import asyncio
from collections import Counter

import pytest

from headworks import Unknown
from tests.faults.conftest import ORDINARY
from tests.stack import Account, Fleet, Load, WorkerProcess, until
from tests.stack.fixtures import QUICK
from tests.stack.jobs import chats
from workers.pools import POOLS, Pool

JOBS = 1_000
OPEN_MAX = 200
BEFORE = 300
"""Jobs that have ended when the kill comes."""
LASTING = {"latency": {"kind": "fixed", "ms": 2_000}}


async def is_at_work(worker: WorkerProcess, pool: Pool) -> None:
    """Return when the process has records in its hands."""

    async def busy() -> bool:
        return await asyncio.to_thread(worker.metric, "headworks_backlog", stage=pool) > 0

    await until(busy, f"{pool} to be at work")


async def calls_last(fleet: Fleet) -> None:
    """Return when calls are under way that do not end before a kill can come."""
    fleet.provider.behave(ORDINARY | LASTING)
    await fleet.calls_under_way(OPEN_MAX // 10)


async def is_calling(worker: WorkerProcess) -> None:
    async def calling() -> bool:
        return await asyncio.to_thread(worker.metric, "headworks_provider_in_flight", target="simulated") > 0

    await until(calling, "calls to be under way")


@pytest.mark.parametrize("pool", POOLS)
async def test_any_one_process_may_be_killed(fleet: Fleet, pool: Pool, name: str) -> None:
    credential = await fleet.stack.application(name)
    async with fleet.stack.client(credential) as client, Load(client, chats(JOBS), OPEN_MAX) as load:
        await load.reached(BEFORE)
        victim = fleet.worker(pool)
        if pool == "dispatch":
            await calls_last(fleet)
        await is_at_work(victim, pool)
        died = victim.pid
        fleet.kill(pool)
        fleet.provider.behave(ORDINARY)
        fleet.start(pool)
    account = await Account.of(fleet.stack, fleet.provider, name, load.job_ids)
    assert bool(account.lost()) == (pool == "dispatch")
    await account.holds_good(load.job_ids, load.results, {died})


async def test_a_process_in_which_pools_hand_over_may_be_killed(fleet: Fleet, name: str) -> None:
    """What was being called has no record but the one that ADMIT reads again."""
    credential = await fleet.stack.application(name)
    fleet.kill("admit", "reserve")
    victim = fleet.stack.worker("admit", "reserve", "dispatch", extra=QUICK)
    async with fleet.stack.client(credential) as client, Load(client, chats(JOBS // 2), OPEN_MAX) as load:
        await load.reached(BEFORE // 2)
        await calls_last(fleet)
        await is_calling(victim)
        died = victim.pid
        victim.kill()
        fleet.provider.behave(ORDINARY)
        victim.start()
    account = await Account.of(fleet.stack, fleet.provider, name, load.job_ids)
    assert account.lost()
    await account.holds_good(load.job_ids, load.results, {died})
    assert victim.terminate() == 0, victim.tail()


async def test_all_processes_may_be_killed_at_once(fleet: Fleet, name: str) -> None:
    credential = await fleet.stack.application(name)
    async with fleet.stack.client(credential) as client, Load(client, chats(JOBS), OPEN_MAX) as load:
        await load.reached(BEFORE)
        await asyncio.gather(*(is_at_work(fleet.worker(pool), pool) for pool in POOLS))
        await calls_last(fleet)
        died = {fleet.worker(pool).pid for pool in POOLS}
        fleet.kill(*POOLS)
        fleet.provider.behave(ORDINARY)
        fleet.start(*POOLS)
    account = await Account.of(fleet.stack, fleet.provider, name, load.job_ids)
    assert account.lost()
    await account.holds_good(load.job_ids, load.results, died)


async def test_a_job_that_may_be_called_once_only_is_of_unknown_outcome(fleet: Fleet, name: str) -> None:
    credential = await fleet.stack.application(name)
    fleet.provider.behave({"hang_rate": 1})
    async with (
        fleet.stack.client(credential) as client,
        Load(client, chats(50), 50, retry={"at_most_once": True}) as load,
    ):
        await fleet.calls_under_way(50)
        died = fleet.worker("dispatch").pid
        fleet.kill("dispatch")
        fleet.start("dispatch")
    account = await Account.of(fleet.stack, fleet.provider, name, load.job_ids)
    assert {type(result) for result in load.results} == {Unknown}
    assert Counter(account.calls) == Counter((job_id, 1) for job_id in load.job_ids)
    await account.holds_good(load.job_ids, load.results, {died})
