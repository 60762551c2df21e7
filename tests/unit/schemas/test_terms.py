"""Terms travel as text and come out as they were."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.terms import PERCENT_MAX, RATE_MAX, TOKENS_MAX, Counting, Rates, Terms, Tier

rate = st.integers(0, RATE_MAX)
rates = st.builds(
    Rates, input=rate, cached_input=rate, cache_write=rate, output=rate, reasoning=st.none() | rate
)
places = st.sampled_from(["inside", "beside"])
terms = st.builds(
    Terms,
    rates=rates,
    tiers=st.lists(
        st.builds(Tier, above_input_tokens=st.integers(0, TOKENS_MAX), rates=rates), max_size=3
    ).map(tuple),
    service_tiers=st.dictionaries(
        st.sampled_from(["flex", "priority", "batch"]), st.integers(1, PERCENT_MAX)
    ),
    counting=st.builds(Counting, cached_input=places, reasoning=places),
)


@given(terms)
def test_what_was_packed_comes_out_as_it_was(given_terms: Terms) -> None:
    assert Terms.unpacked(given_terms.packed()) == given_terms


def test_what_is_plain_takes_no_room() -> None:
    plain = Rates(input=1, cached_input=2, cache_write=3, output=4)
    packed = Terms(rates=plain).packed()

    assert json.loads(packed) == {"rates": {"input": 1, "cached_input": 2, "cache_write": 3, "output": 4}}
    assert Terms.unpacked(packed) is Terms.unpacked(packed)


@pytest.mark.parametrize("text", ["", "{}", '{"rates": {}}', '{"rates": 5}', "[]"])
def test_other_text_is_no_terms(text: str) -> None:
    with pytest.raises(ValidationError):
        Terms.unpacked(text)


@given(rates, rates)
def test_the_dearest_of_two_is_no_cheaper_in_any_part(one: Rates, other: Rates) -> None:
    dearest = one.dearest(other)
    for each in (one, other):
        assert dearest.input >= each.input
        assert dearest.cached_input >= each.cached_input
        assert dearest.cache_write >= each.cache_write
        assert dearest.output >= each.output
        assert dearest.of_reasoning >= each.of_reasoning
        assert dearest.highest_input >= each.highest_input
        assert dearest.highest_output >= each.highest_output
