"""What differs between two books is told per model and field, in dollars per million tokens."""

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from broker.pricing.book import InputBound, ModelPrice, PriceBook
from broker.pricing.changes import Change, changes, fields
from schemas.terms import Counting, Rates, Tier

SHIPPED = PriceBook.load()
RATES = Rates(input=150_000_000, cached_input=75_000_000, cache_write=150_000_000, output=600_000_001)


def price(model: str = "m", **known: Any) -> ModelPrice:
    return ModelPrice(
        **{"model": model, "provider": "p", "endpoint": "/v1/chat/completions", "rates": RATES, **known}
    )


def book(*prices: ModelPrice) -> PriceBook:
    return replace(SHIPPED, by_name={each.model: each for each in prices})


def test_equal_books_do_not_differ() -> None:
    assert changes(SHIPPED, SHIPPED) == []
    assert changes(SHIPPED, PriceBook.load()) == []


def test_a_rate_is_told_to_the_nanodollar() -> None:
    dear = price(rates=RATES.model_copy(update={"output": 700_000_000, "reasoning": 1_000_000_000}))

    assert changes(book(price()), book(dear)) == [
        Change("m", "rates.output", "$0.600000001", "$0.70"),
        Change("m", "rates.reasoning", None, "$1.00"),
    ]


def test_models_that_come_and_go_are_told_in_a_line() -> None:
    assert changes(book(price("gone"), price("kept")), book(price("kept"), price("come"))) == [
        Change("come", "model", None, "$0.15 in, $0.600000001 out"),
        Change("gone", "model", "$0.15 in, $0.600000001 out", None),
    ]


def test_everything_else_is_told_by_its_field() -> None:
    changed = price(
        aliases=("n", "o"),
        tiers=(Tier(above_input_tokens=200, rates=RATES),),
        service_tiers={"flex": 50},
        counting=Counting(reasoning="beside"),
        input_bound=InputBound(kind="utf8_bytes"),
    )

    assert [change[1:] for change in changes(book(price()), book(changed))] == [
        ("aliases", None, "n, o"),
        ("counting.reasoning", None, "beside"),
        ("input_bound.kind", None, "utf8_bytes"),
        ("service_tiers.flex", None, "50"),
        ("tiers.200.rates.cache_write", None, "$0.15"),
        ("tiers.200.rates.cached_input", None, "$0.075"),
        ("tiers.200.rates.input", None, "$0.15"),
        ("tiers.200.rates.output", None, "$0.600000001"),
    ]


chosen = st.lists(st.sampled_from(SHIPPED.models), unique_by=lambda each: each.model)


@given(chosen, chosen)
def test_the_changes_make_the_new_book_of_the_old(old: list[ModelPrice], new: list[ModelPrice]) -> None:
    told = {(change.model, change.field): change.after for change in changes(book(*old), book(*new))}
    for model in new:
        before = next((each for each in old if each.model == model.model), None)
        if before is None:
            assert told[model.model, "model"] is not None
            continue
        merged = fields(before) | {field: told[name, field] for name, field in told if name == model.model}
        assert {field: value for field, value in merged.items() if value is not None} == fields(model)
