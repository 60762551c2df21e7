"""SIGTERM under load: a process that is told to stop finishes what it has, and nothing is called again."""

import asyncio

from tests.services import KafkaServer
from tests.stack import Account, Fleet, Load, WorkerProcess, until
from tests.stack.jobs import chats
from workers.pools import POOLS

OPEN_MAX = 200
NOT_DRAINED = 4
"""The exit status of a worker that cut off what was under way."""
BEFORE = 20
QUICK = {"latency": {"kind": "uniform", "min_ms": 20, "max_ms": 100}}
SLOW = {"latency": {"kind": "uniform", "min_ms": 500, "max_ms": 4_000}}
"""Longer than a process that stops waits for its calls before it leaves its partitions to others."""


async def end_while_it_calls(worker: WorkerProcess) -> None:
    async def calling() -> bool:
        sample = await asyncio.to_thread(worker.metric, "headworks_provider_in_flight", target="simulated")
        return sample >= OPEN_MAX / 10

    await until(calling, f"{worker.name} to have calls under way")
    assert await asyncio.to_thread(worker.terminate) == 0, worker.tail()


async def no_call_was_made_again(fleet: Fleet, application: str, load: Load) -> None:
    account = await Account.of(fleet.stack, fleet.provider, application, load.job_ids)
    assert account.verdicts == []
    assert len(account.calls) == len(load.job_ids)
    await account.holds_good(load.job_ids, load.results)


async def test_dispatch_is_renewed_process_by_process(fleet: Fleet, name: str) -> None:
    fleet.provider.behave(SLOW)
    credential = await fleet.stack.application(name)
    async with fleet.stack.client(credential) as client, Load(client, chats(), OPEN_MAX) as load:
        await load.reached(BEFORE)
        second, third = await asyncio.to_thread(fleet.more, "dispatch", 2)
        await end_while_it_calls(fleet.replace("dispatch", third))
        await end_while_it_calls(second)
        load.enough()
    await no_call_was_made_again(fleet, name, load)


async def test_processes_end_though_kafka_is_away(fleet: Fleet, kafka: KafkaServer, name: str) -> None:
    fleet.provider.behave(QUICK)
    credential = await fleet.stack.application(name)
    async with fleet.stack.client(credential) as client, Load(client, chats(), OPEN_MAX) as load:
        await load.reached(BEFORE)
        kafka.kill()
        ends = [asyncio.to_thread(fleet.worker(pool).terminate) for pool in POOLS]
        assert set(await asyncio.gather(*ends)) <= {0, NOT_DRAINED}
        kafka.start()
        await asyncio.to_thread(fleet.start, *POOLS)
        await load.reached(len(load.results) + OPEN_MAX)
        load.enough()
    account = await Account.of(fleet.stack, fleet.provider, name, load.job_ids)
    account.each_ended_once(load.job_ids, load.results)
    account.each_attempt_is_charged_once(load.results)
    await account.nothing_is_held()


async def test_the_other_pools_are_renewed_while_dispatch_goes_on(fleet: Fleet, name: str) -> None:
    fleet.provider.behave(QUICK)
    credential = await fleet.stack.application(name)
    others = [pool for pool in POOLS if pool != "dispatch"]
    async with fleet.stack.client(credential) as client, Load(client, chats(), OPEN_MAX) as load:
        await load.reached(BEFORE)
        ends = [asyncio.to_thread(fleet.worker(pool).terminate) for pool in others]
        assert await asyncio.gather(*ends) == [0] * len(others)
        await asyncio.to_thread(fleet.start, *others)
        await load.reached(len(load.results) + OPEN_MAX)
        load.enough()
    await no_call_was_made_again(fleet, name, load)
