"""A project's own prices on real servers: what it is held for, what it is charged, what the answer tells, and
what an invoice makes of it.
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from broker.identity.directory import ProjectSettings
from broker.ops import projects
from broker.ops.projects import Address
from broker.pricing.book import InputBound, ModelPrice, PriceBook
from broker.pricing.estimate import upper_bound
from broker.store.database import Database
from headworks import Answered, Refused
from schemas.terms import Rates
from tests.stack.fixtures import Pipeline
from tests.stack.jobs import MODEL, OUTPUT_TOKENS_DEFAULT, chat

TIMEOUT_S = 60.0
BUDGET = 10**12
RATE = 3_000_000_000


def price(model: str, rate: int = RATE) -> ModelPrice:
    return ModelPrice(
        model=model,
        provider="own",
        endpoint="/v1/chat/completions",
        rates=Rates(input=rate, cached_input=rate, cache_write=rate, output=2 * rate),
        input_bound=InputBound(kind="utf8_bytes"),
    )


def cost(usage: dict[str, Any], rate: int = RATE) -> int:
    return int(usage["prompt_tokens"] + 2 * usage["completion_tokens"]) * rate // 10**6


@pytest.mark.parametrize("model", ["in-house", MODEL], ids=["a model of one's own", "terms of one's own"])
async def test_a_project_s_own_price_is_held_charged_and_told(
    pipeline: Pipeline, name: str, model: str
) -> None:
    own, ledger = price(model), pipeline.stack.ledger
    credential = await pipeline.stack.application(
        name, ProjectSettings(prices=(own,), nanodollars_per_day=BUDGET)
    )
    request = chat(model=model)
    async with pipeline.stack.client(credential) as client:
        result = await client.run(request, timeout_s=TIMEOUT_S)
    assert isinstance(result, Answered)
    [attempt], [charge] = await ledger.attempts(name), await ledger.charges(name)
    bound = upper_bound("/v1/chat/completions", request, own, OUTPUT_TOKENS_DEFAULT)
    assert charge.hold_nanodollars == bound.nanodollars_max
    assert charge.nanodollars == result.cost_nanodollars == cost(result.response["usage"]) > 0
    assert charge.price_version == attempt.price_version == PriceBook.load().with_overrides([own]).version


async def test_a_change_of_prices_reaches_the_workers(pipeline: Pipeline, name: str) -> None:
    stack = pipeline.stack
    credential = await stack.application(name, ProjectSettings(nanodollars_per_day=BUDGET))
    async with stack.client(credential) as client:
        before = await client.run(chat(model="in-house"), timeout_s=TIMEOUT_S)
        database = await Database.open(stack.settings.database)
        try:
            changes = {"prices": [price("in-house", 2 * RATE).model_dump(mode="json")]}
            await projects.set_settings(database, Address(name, name), changes)
        finally:
            await database.close()
        await stack.directories_follow()
        after = await client.run(chat(model="in-house"), timeout_s=TIMEOUT_S)
    assert isinstance(before, Refused)
    assert before.reason == "unknown_model"
    assert isinstance(after, Answered)
    assert after.cost_nanodollars == cost(after.response["usage"], 2 * RATE)


async def test_what_an_invoice_says_of_a_call_without_usage_may_be_spent_again(
    pipeline: Pipeline, name: str, tmp_path: Path
) -> None:
    """There is room for one hold and a half: the second job goes through once the first is reconciled."""
    own, stack = price("in-house"), pipeline.stack
    request = chat(model="in-house")
    held = upper_bound("/v1/chat/completions", request, own, OUTPUT_TOKENS_DEFAULT).nanodollars_max
    settings = ProjectSettings(prices=(own,), nanodollars_per_day=held * 3 // 2)
    credential = await stack.application(name, settings)
    async with stack.client(credential) as client:
        pipeline.provider.behave({"missing_usage_rate": 1})
        await client.run(request, timeout_s=TIMEOUT_S)
        pipeline.provider.behave({})
        [charge] = await stack.ledger.charges(name)
        assert (charge.estimated, charge.nanodollars) == (True, held)
        waiting = await client.submit(request)
        file = tmp_path / "invoice.csv"
        file.write_text(f"job,run,attempt,input_tokens,output_tokens\n{charge.job_id},1,1,5,7\n")
        command = stack.command("ledger", "reconcile", str(file), "--reference", "INV-7")
        assert await asyncio.to_thread(command.wait) == 0, command.tail()
        result = await client.result(waiting, timeout_s=TIMEOUT_S)
    assert isinstance(result, Answered)
