"""Redis loses everything in the middle: the budget holds, all jobs end, and nothing is called twice."""

import asyncio
from collections import Counter

from broker.identity.directory import ProjectSettings
from headworks import Answered, Refused
from tests.services import RedisServer
from tests.stack import Account, Fleet, Load
from tests.stack.jobs import bound_nanodollars, chat, chats

JOBS = 1_000
AFFORDED = 300
"""Jobs whose bounds fill a day's budget. Should the day turn in between, two days' do not pay for all."""
OPEN_MAX = 100
TTL_S = 30


async def test_a_budget_holds_though_redis_is_emptied_again_and_again(
    fleet: Fleet, redis_server: RedisServer, name: str
) -> None:
    budget = AFFORDED * bound_nanodollars(chat("Name canal number 999.", max_tokens=20))
    credential = await fleet.stack.application(name, ProjectSettings(nanodollars_per_day=budget))
    requests = chats(JOBS, max_tokens=20)
    async with (
        fleet.stack.client(credential) as client,
        Load(client, requests, OPEN_MAX, ttl_s=TTL_S) as load,
    ):
        for reached in (50, 150, 250):
            await load.reached(reached)
            redis_server.flush()
    account = await Account.of(fleet.stack, fleet.provider, name, load.job_ids)
    spent = Counter[int]()
    for row in account.charges:
        spent[row.day] += row.nanodollars
    assert max(spent.values()) <= budget
    assert {type(result) for result in load.results} == {Answered, Refused}
    assert {result.reason for result in load.results if isinstance(result, Refused)} == {"over_quota"}
    await account.holds_good(load.job_ids, load.results)
    verified = fleet.stack.command("ledger", "verify")
    assert (await asyncio.to_thread(verified.wait), verified.tail(1)) == (0, "No difference.")
