"""A job that no budget has money for waits, and goes on when the budget is raised."""

import asyncio
import json

from broker.identity.directory import ProjectSettings
from headworks.client import Answered
from tests.stack import RealStack, until
from tests.stack.fixtures import QUICK
from tests.stack.jobs import bound_nanodollars, chat


async def test_a_raised_budget_lets_waiting_jobs_go_on(stack: RealStack, name: str) -> None:
    provider = stack.simulator()
    request = chat("Name canal number 1.", max_tokens=20)
    bound = bound_nanodollars(request)
    credential = await stack.application(name, ProjectSettings(nanodollars_per_day=bound))
    worker = stack.worker("all", extra=QUICK)
    async with stack.client(credential) as client:
        first = await client.run(request)
        assert isinstance(first, Answered)
        waiting = await client.submit(chat("Name canal number 2.", max_tokens=20))

        async def parked() -> bool:
            return worker.metric("headworks_jobs_total", stage="reserve", outcome="parked") >= 1

        await until(parked, "the job to be parked")
        dollars = f"{bound * 3 / 1e9:.9f}"
        raising = stack.command("budgets", "raise", f"{name}/{name}", "--dollars-per-day", dollars)
        assert await asyncio.to_thread(raising.wait) == 0, raising.tail()
        second = await client.result(waiting, 60)
    assert isinstance(second, Answered)
    shown = stack.command("budgets", "show", f"{name}/{name}", "--json")
    assert await asyncio.to_thread(shown.wait) == 0, shown.tail()
    (row,) = json.loads(shown.tail(200))
    assert row["used"] == first.cost_nanodollars + second.cost_nanodollars
    assert row["left"] == row["cap"] - row["used"]
    assert worker.terminate() == 0, worker.tail()
    provider.terminate()
