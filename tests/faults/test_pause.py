"""A process that stands still past its lease: no call is made again for nothing, none is published twice."""

import asyncio
import signal
import time
from collections import Counter

import orjson

from schemas import headers, topics
from schemas.topics import Lane
from tests.stack import Account, Fleet, Load, WorkerProcess, until
from tests.stack.jobs import chats
from tests.stack.raw import Ends, ends_of, read_all

JOBS = 100
OUTCOMES = topics.outcomes(Lane.STANDARD)
LONG = {"latency": {"kind": "fixed", "ms": 4_000}}
"""So that all jobs are with the provider at one time."""


async def all_is_finished(worker: WorkerProcess) -> None:
    """Return when the process has nothing under way, and is ready."""

    async def idle() -> bool:
        slots = await asyncio.to_thread(worker.metric, "headworks_in_flight", stage="dispatch")
        return slots == 0 and worker.ready()

    await until(idle, f"{worker.name} to have nothing under way")


async def lease_ran_out(fleet: Fleet, worker: WorkerProcess) -> None:
    async def over() -> bool:
        leases = [row.lease_until_ms for row in await fleet.stack.ledger.workers() if row.pid == worker.pid]
        return bool(max(leases) < time.time_ns() // 1_000_000)

    await until(over, "the lease to run out")


async def outcomes_ends(fleet: Fleet) -> Ends:
    return await ends_of(fleet.stack.settings.kafka, OUTCOMES)


async def outcomes_by_job(fleet: Fleet, application: str, since: Ends) -> Counter[str]:
    """Records of the outcomes' topic. Those before `since` are other tests', and may be no outcomes."""
    records = await read_all(fleet.stack.settings.kafka, OUTCOMES, since=since)
    states = [orjson.loads(dict(record.headers)[headers.STATE]) for record in records]
    return Counter(state["job_id"] for state in states if state["application"] == application)


async def test_what_was_taken_over_is_not_published_by_the_one_that_comes_back(
    fleet: Fleet, name: str
) -> None:
    credential, since = await fleet.stack.application(name), await outcomes_ends(fleet)
    [heir] = fleet.more("dispatch", 1)
    zombie = fleet.worker("dispatch")
    fleet.provider.behave(LONG)
    async with fleet.stack.client(credential) as client, Load(client, chats(JOBS), JOBS) as load:
        await fleet.calls_under_way(JOBS)
        zombie.send(signal.SIGSTOP)
        fleet.provider.behave({})
    zombie.send(signal.SIGCONT)
    await all_is_finished(zombie)
    account = await Account.of(fleet.stack, fleet.provider, name, load.job_ids)
    assert len(account.calls) == JOBS + len(account.lost())
    assert account.lost()
    assert await outcomes_by_job(fleet, name, since) == Counter(map(str, load.job_ids))
    await account.holds_good(load.job_ids, load.results, {zombie.pid})
    assert heir.terminate() == 0, heir.tail()


async def test_what_nobody_took_over_is_published_by_the_one_that_comes_back(fleet: Fleet, name: str) -> None:
    credential, since = await fleet.stack.application(name), await outcomes_ends(fleet)
    sleeper = fleet.worker("dispatch")
    fleet.provider.behave(LONG)
    async with fleet.stack.client(credential) as client, Load(client, chats(JOBS), JOBS) as load:
        await fleet.calls_under_way(JOBS)
        sleeper.send(signal.SIGSTOP)
        await lease_ran_out(fleet, sleeper)
        sleeper.send(signal.SIGCONT)
    await all_is_finished(sleeper)
    account = await Account.of(fleet.stack, fleet.provider, name, load.job_ids)
    assert Counter(account.calls) == Counter((job_id, 1) for job_id in load.job_ids)
    assert await outcomes_by_job(fleet, name, since) == Counter(map(str, load.job_ids))
    await account.holds_good(load.job_ids, load.results)
