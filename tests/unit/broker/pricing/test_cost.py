from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.pricing.book import ModelPrice, PriceBook
from broker.pricing.cost import Cost, charge, settled
from schemas.envelope import Endpoint
from schemas.reasons import Disbelief
from schemas.state import Hold, Usage
from schemas.terms import RATE_MAX, TOKENS_MAX, Rates, Terms, Tier

CHAT: Endpoint = "/v1/chat/completions"

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


def test_reasoning_has_a_rate_of_its_own_where_the_price_says_so() -> None:
    usage = Usage(input_tokens=1, output_tokens=10, reasoning_tokens=4)
    basic = Rates(input=0, cached_input=0, cache_write=0, output=1_000_000)

    assert charge(usage, price(basic)) == 10
    assert charge(usage, price(basic.model_copy(update={"reasoning": 3_000_000}))) == 6 + 12
    assert charge(usage, price(basic.model_copy(update={"reasoning": 0}))) == 6


def test_a_tier_of_service_is_a_share_of_every_rate_and_rounded_once() -> None:
    basic = Rates(input=1_000_000, cached_input=1_000_000, cache_write=1_000_000, output=1_000_000)
    tiered = ModelPrice(
        model="m", provider="p", endpoint=CHAT, rates=basic, service_tiers={"batch": 50, "priority": 250}
    )
    usage = Usage(input_tokens=3, output_tokens=4)

    assert charge(usage, tiered) == 7
    assert charge(usage.model_copy(update={"service_tier": "batch"}), tiered) == 4
    assert charge(usage.model_copy(update={"service_tier": "priority"}), tiered) == 18


# What is believed.


def hold(**fields: int) -> Hold:
    most = {"nanodollars": 1_000, "input_tokens": 100, "output_tokens": 50}
    return Hold(id="h", day=1, minute=1, **{**most, **fields})


FLAT = Terms(
    rates=Rates(input=1_000_000, cached_input=1_000_000, cache_write=1_000_000, output=1_000_000),
    service_tiers={"flex": 50},
)


def test_a_usage_within_the_hold_is_charged() -> None:
    usage = Usage(input_tokens=100, output_tokens=50)

    assert settled(usage, hold(), FLAT) == Cost(150, usage, None)
    assert settled(usage, hold(nanodollars=150), FLAT) == Cost(150, usage, None)


@pytest.mark.parametrize(
    ("usage", "most"),
    [
        (Usage(input_tokens=101, output_tokens=0), {}),
        (Usage(input_tokens=1, output_tokens=51), {}),
        (Usage(input_tokens=TOKENS_MAX, output_tokens=TOKENS_MAX), {}),
        (Usage(input_tokens=100, output_tokens=50), {"nanodollars": 149}),
    ],
)
def test_a_usage_above_the_hold_costs_the_hold(usage: Usage, most: dict[str, int]) -> None:
    held = hold(**most)

    assert settled(usage, held, FLAT) == Cost(held.nanodollars, None, Disbelief.USAGE_ABOVE_HOLD)


def test_a_tier_without_a_price_costs_the_hold() -> None:
    usage = Usage(input_tokens=2, output_tokens=2, service_tier="flex")

    assert settled(usage, hold(), FLAT) == Cost(2, usage, None)
    unpriced = usage.model_copy(update={"service_tier": "priority"})
    assert settled(unpriced, hold(), FLAT) == Cost(1_000, None, Disbelief.SERVICE_TIER_UNPRICED)


@pytest.mark.parametrize("disbelief", Disbelief)
def test_no_usage_costs_the_hold(disbelief: Disbelief) -> None:
    assert settled(disbelief, hold(), FLAT) == Cost(1_000, None, disbelief)
