"""`kill -9` between a cancellation and its job's end: each job ends once, each attempt is charged once."""

import asyncio
from collections.abc import Sequence

import pytest

from headworks import Cancelled
from tests.stack import Account, Fleet, until
from tests.stack.jobs import chats
from workers.pools import POOLS, Pool

JOBS = 60
TIMEOUT_S = 60.0


@pytest.mark.parametrize("pools", [["dispatch"], POOLS], ids=["dispatch", "all"])
async def test_it_ends_all_the_same(fleet: Fleet, pools: Sequence[Pool], name: str) -> None:
    """All calls hang. The kill comes when half of the cancellations are on record: some calls are cut off by
    then, of others the worker knows or not, and the rest is known to nobody.
    """
    credential = await fleet.stack.application(name)
    fleet.provider.behave({"hang_rate": 1})
    async with fleet.stack.client(credential) as client:
        job_ids = [job_id async for job_id in client.submit_many(chats(JOBS))]
        await fleet.calls_under_way(JOBS)

        async def half() -> bool:
            return len(await fleet.stack.ledger.cancels(name)) >= JOBS // 2

        async def call_off() -> None:
            for job_id in job_ids:
                await client.cancel(job_id)

        calling_off = asyncio.create_task(call_off())
        await until(half, "half of the cancellations to be on record")
        died = {fleet.worker(pool).pid for pool in pools}
        fleet.kill(*pools)
        fleet.start(*pools)
        await calling_off
        results = [result async for result in client.as_completed(job_ids, TIMEOUT_S)]
    account = await Account.of(fleet.stack, fleet.provider, name, job_ids)
    assert {type(result) for result in results} == {Cancelled}
    assert account.lost()
    await account.holds_good(job_ids, results, died)
