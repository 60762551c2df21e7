from fractions import Fraction
from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.pricing.book import RATE_MAX, TOKENS_MAX, ModelPrice, PriceBook, Rates, Tier
from broker.pricing.cost import charge, parse_usage
from schemas.envelope import Endpoint
from schemas.state import Usage

CHAT: Endpoint = "/v1/chat/completions"
EMBEDDINGS: Endpoint = "/v1/embeddings"
FULL = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}

rate = st.integers(0, RATE_MAX)
rates = st.builds(Rates, input=rate, cached_input=rate, cache_write=rate, output=rate)


def price(basic: Rates, *tiers: Tier) -> ModelPrice:
    return ModelPrice(model="m", provider="p", endpoint=CHAT, rates=basic, tiers=tiers)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    tokens = draw(st.integers(0, TOKENS_MAX))
    cached = draw(st.integers(0, tokens))
    written = draw(st.integers(0, tokens - cached))
    return Usage(
        input_tokens=tokens,
        cached_input_tokens=cached,
        cache_write_tokens=written,
        output_tokens=draw(st.integers(0, TOKENS_MAX)),
    )


def test_a_known_bill() -> None:
    mini = PriceBook.load().price("gpt-4o-mini")
    usage = Usage(input_tokens=1_000, cached_input_tokens=400, output_tokens=200)

    # 600 at $0.15, 400 at $0.075 and 200 at $0.60 a million are $0.00024.
    assert charge(usage, mini) == 240_000


@given(rates, usages())
def test_a_charge_is_the_exact_sum_rounded_up_once(basic: Rates, usage: Usage) -> None:
    plain = usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens
    exact = (
        Fraction(plain * basic.input, 10**6)
        + Fraction(usage.cached_input_tokens * basic.cached_input, 10**6)
        + Fraction(usage.cache_write_tokens * basic.cache_write, 10**6)
        + Fraction(usage.output_tokens * basic.output, 10**6)
    )

    charged = charge(usage, price(basic))

    assert type(charged) is int
    assert charged == ceil(exact)
    assert 0 <= charged < 2**53


def test_parts_are_not_rounded_one_by_one() -> None:
    basic = Rates(input=400_000, cached_input=400_000, cache_write=400_000, output=200_000)

    assert charge(Usage(input_tokens=1, output_tokens=3), price(basic)) == 1


def test_the_tier_is_that_of_the_whole_input() -> None:
    low = Rates(input=1_000_000, cached_input=0, cache_write=0, output=1_000_000)
    high = Rates(input=2_000_000, cached_input=0, cache_write=0, output=3_000_000)
    tiered = price(low, Tier(above_input_tokens=10, rates=high))

    assert charge(Usage(input_tokens=10, output_tokens=1), tiered) == 11
    assert charge(Usage(input_tokens=11, output_tokens=1), tiered) == 25
    assert charge(Usage(input_tokens=11, cached_input_tokens=11, output_tokens=1), tiered) == 3


@given(rates, usages())
def test_one_more_token_of_output_never_costs_less(basic: Rates, usage: Usage) -> None:
    more = usage.model_copy(update={"output_tokens": usage.output_tokens + 1})

    assert charge(more, price(basic)) >= charge(usage, price(basic))


@pytest.mark.parametrize(
    ("block", "usage"),
    [
        (FULL, Usage(input_tokens=100, output_tokens=20)),
        ({"prompt_tokens": 100, "completion_tokens": 0}, Usage(input_tokens=100, output_tokens=0)),
        (
            {**FULL, "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 40, "else": 0}},
            Usage(input_tokens=100, cached_input_tokens=60, cache_write_tokens=40, output_tokens=20),
        ),
        ({**FULL, "prompt_tokens_details": None}, Usage(input_tokens=100, output_tokens=20)),
        (
            {**FULL, "prompt_tokens_details": {"cached_tokens": None}},
            Usage(input_tokens=100, output_tokens=20),
        ),
        (
            {**FULL, "completion_tokens_details": {"reasoning_tokens": 15}},
            Usage(input_tokens=100, output_tokens=20),
        ),
        # Reasoning beside the completion, in the total alone.
        ({**FULL, "total_tokens": 150}, Usage(input_tokens=100, output_tokens=50)),
        ({**FULL, "total_tokens": None}, Usage(input_tokens=100, output_tokens=20)),
    ],
)
def test_usage_of_a_chat_completion(block: dict[str, Any], usage: Usage) -> None:
    assert parse_usage(block, CHAT) == usage


def test_usage_of_embeddings_has_no_output() -> None:
    block = {"prompt_tokens": 7, "total_tokens": 7}

    assert parse_usage(block, EMBEDDINGS) == Usage(input_tokens=7, output_tokens=0)
    assert parse_usage(block, CHAT) is None


@pytest.mark.parametrize(
    "block",
    [
        None,
        [],
        "usage",
        {},
        {"prompt_tokens": 100},
        {"completion_tokens": 20},
        {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        {**FULL, "prompt_tokens": -1},
        {**FULL, "prompt_tokens": True},
        {**FULL, "prompt_tokens": 100.0},
        {**FULL, "prompt_tokens": "100"},
        {**FULL, "prompt_tokens": 2**40},
        {**FULL, "completion_tokens": -1},
        {**FULL, "completion_tokens": None},
        {**FULL, "completion_tokens": 2**40},
        {**FULL, "total_tokens": "120"},
        {**FULL, "total_tokens": 2**40},
        {**FULL, "prompt_tokens_details": []},
        {**FULL, "prompt_tokens_details": {"cached_tokens": 101}},
        {**FULL, "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 41}},
        {**FULL, "prompt_tokens_details": {"cached_tokens": -1}},
        {**FULL, "prompt_tokens_details": {"cached_tokens": 1.5}},
    ],
)
def test_usage_that_is_missing_or_cannot_be_true_is_none(block: Any) -> None:
    assert parse_usage(block, CHAT) is None


def test_what_embeddings_report_is_judged_too() -> None:
    assert parse_usage({"prompt_tokens": -1}, EMBEDDINGS) is None
    assert parse_usage({"total_tokens": 5}, EMBEDDINGS) is None
