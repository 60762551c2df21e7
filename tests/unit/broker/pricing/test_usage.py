"""Each report is read as the price says that its provider counts; what does not add up is not believed."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.pricing.usage import read_usage
from schemas.envelope import Endpoint
from schemas.reasons import Disbelief
from schemas.state import Usage
from schemas.terms import TOKENS_MAX, Counting

CHAT: Endpoint = "/v1/chat/completions"
EMBEDDINGS: Endpoint = "/v1/embeddings"
FULL = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
INSIDE = Counting()
CACHED_BESIDE = Counting(cached_input="beside")
REASONING_BESIDE = Counting(reasoning="beside")


def read(
    block: Any, counting: Counting = INSIDE, endpoint: Endpoint = CHAT, **more: Any
) -> Usage | Disbelief:
    return read_usage({"usage": block, **more}, endpoint, counting)


def cached(read_from: Any, written: Any = 0, **fields: Any) -> dict[str, Any]:
    details = {"cached_tokens": read_from, "cache_write_tokens": written, "audio_tokens": 0}
    return {**FULL, "prompt_tokens_details": details, **fields}


def reasoned(tokens: Any, **fields: Any) -> dict[str, Any]:
    return {**FULL, "completion_tokens_details": {"reasoning_tokens": tokens, "audio_tokens": 0}, **fields}


@pytest.mark.parametrize(
    ("block", "usage"),
    [
        (FULL, Usage(input_tokens=100, output_tokens=20)),
        ({"prompt_tokens": 100, "completion_tokens": 0}, Usage(input_tokens=100, output_tokens=0)),
        ({**FULL, "total_tokens": None}, Usage(input_tokens=100, output_tokens=20)),
        ({**FULL, "prompt_tokens_details": None}, Usage(input_tokens=100, output_tokens=20)),
        ({**FULL, "completion_tokens_details": None}, Usage(input_tokens=100, output_tokens=20)),
        (cached(None), Usage(input_tokens=100, output_tokens=20)),
    ],
)
def test_a_plain_report(block: dict[str, Any], usage: Usage) -> None:
    assert read(block) == usage


# cached input


def test_cached_input_inside_the_input_is_part_of_it() -> None:
    usage = Usage(input_tokens=100, cached_input_tokens=60, cache_write_tokens=40, output_tokens=20)
    assert read(cached(60, 40)) == usage


def test_cached_input_beside_the_input_is_added_to_it() -> None:
    usage = Usage(input_tokens=200, cached_input_tokens=60, cache_write_tokens=40, output_tokens=20)
    for total in (120, 220, None):
        assert read(cached(60, 40, total_tokens=total), CACHED_BESIDE) == usage
    whole = Usage(input_tokens=60, cached_input_tokens=60, output_tokens=20)
    assert read(cached(60, prompt_tokens=0, total_tokens=80), CACHED_BESIDE) == whole


@pytest.mark.parametrize("counting", [INSIDE, CACHED_BESIDE])
def test_anthropic_s_names_are_read_too(counting: Counting) -> None:
    named = {**FULL, "cache_read_input_tokens": 60, "cache_creation_input_tokens": 40}
    assert read(named, counting) == read(cached(60, 40), counting)
    assert read({**cached(60, 40), **named}, counting) == read(cached(60, 40), counting)
    assert read({**cached(59, 40), **named}, counting) is Disbelief.USAGE_CONTRADICTORY


def test_more_cached_input_than_input_is_not_believed_where_it_should_be_inside() -> None:
    assert read(cached(101)) is Disbelief.USAGE_CONTRADICTORY
    assert read(cached(60, 41)) is Disbelief.USAGE_CONTRADICTORY
    assert isinstance(read(cached(101), CACHED_BESIDE), Usage)


# reasoning


def test_reasoning_inside_the_output_is_part_of_it() -> None:
    assert read(reasoned(15)) == Usage(input_tokens=100, output_tokens=20, reasoning_tokens=15)
    assert read(reasoned(None)) == Usage(input_tokens=100, output_tokens=20)


@pytest.mark.parametrize("total", [135, 120, None])
def test_reasoning_beside_the_output_is_added_to_it(total: int | None) -> None:
    usage = Usage(input_tokens=100, output_tokens=35, reasoning_tokens=15)
    assert read(reasoned(15, total_tokens=total), REASONING_BESIDE) == usage


def test_reasoning_beside_the_output_may_stand_in_the_total_alone() -> None:
    usage = Usage(input_tokens=100, output_tokens=50, reasoning_tokens=30)
    assert read({**FULL, "total_tokens": 150}, REASONING_BESIDE) == usage
    assert read(FULL, REASONING_BESIDE) == Usage(input_tokens=100, output_tokens=20)


@pytest.mark.parametrize(
    ("block", "counting"),
    [
        # Somewhere are tokens that the price says cannot be there.
        ({**FULL, "total_tokens": 150}, INSIDE),
        (reasoned(21), INSIDE),
        # What was thought is told nowhere.
        ({"prompt_tokens": 100, "completion_tokens": 20}, REASONING_BESIDE),
        ({**FULL, "total_tokens": 119}, REASONING_BESIDE),
    ],
)
def test_a_report_that_counts_in_another_way_is_not_believed(
    block: dict[str, Any], counting: Counting
) -> None:
    assert read(block, counting) is Disbelief.USAGE_CONTRADICTORY


# what is no report


def test_a_missing_report() -> None:
    assert read_usage({}, CHAT, INSIDE) is Disbelief.USAGE_MISSING
    assert read(None) is Disbelief.USAGE_MISSING
    assert read(None, endpoint=EMBEDDINGS) is Disbelief.USAGE_MISSING


@pytest.mark.parametrize(
    "block",
    [
        [],
        "usage",
        5,
        {},
        {"prompt_tokens": 100},
        {"completion_tokens": 20},
        {**FULL, "prompt_tokens": -1},
        {**FULL, "prompt_tokens": True},
        {**FULL, "prompt_tokens": 100.0},
        {**FULL, "prompt_tokens": float("nan")},
        {**FULL, "prompt_tokens": float("inf")},
        {**FULL, "prompt_tokens": "100"},
        {**FULL, "prompt_tokens": None},
        {**FULL, "prompt_tokens": 2**40},
        {**FULL, "prompt_tokens": 10**40},
        {**FULL, "completion_tokens": -1},
        {**FULL, "completion_tokens": None},
        {**FULL, "completion_tokens": 2**40},
        {**FULL, "total_tokens": "120"},
        {**FULL, "total_tokens": 2**40},
        {**FULL, "prompt_tokens_details": []},
        {**FULL, "completion_tokens_details": 5},
        cached(-1),
        cached(1.5),
        reasoned(-1),
        reasoned(float("nan")),
        {**FULL, "cache_read_input_tokens": -1},
    ],
)
@pytest.mark.parametrize("counting", [INSIDE, Counting(cached_input="beside", reasoning="beside")])
def test_what_are_no_counts_is_not_believed(block: Any, counting: Counting) -> None:
    assert read(block, counting) is Disbelief.USAGE_INVALID


def test_an_empty_prompt_was_not_counted() -> None:
    nothing = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    assert read(nothing) is Disbelief.USAGE_CONTRADICTORY
    assert read({"prompt_tokens": 0}, endpoint=EMBEDDINGS) is Disbelief.USAGE_INVALID


def test_sums_that_no_call_can_have_are_not_believed() -> None:
    huge = cached(TOKENS_MAX, prompt_tokens=TOKENS_MAX, total_tokens=None)
    assert read(huge, CACHED_BESIDE) is Disbelief.USAGE_CONTRADICTORY
    huge = reasoned(TOKENS_MAX, completion_tokens=TOKENS_MAX, total_tokens=None)
    assert read(huge, REASONING_BESIDE) is Disbelief.USAGE_CONTRADICTORY


def test_usage_of_embeddings_has_no_output() -> None:
    block = {"prompt_tokens": 7, "total_tokens": 7}
    assert read(block, endpoint=EMBEDDINGS) == Usage(input_tokens=7, output_tokens=0)
    assert read({"prompt_tokens": -1}, endpoint=EMBEDDINGS) is Disbelief.USAGE_INVALID
    assert read({"total_tokens": 5}, endpoint=EMBEDDINGS) is Disbelief.USAGE_INVALID


# the tier of service


@pytest.mark.parametrize("tier", [None, "default", "standard", "on_demand"])
def test_the_plain_tier_goes_by_many_names(tier: str | None) -> None:
    assert read(FULL, service_tier=tier) == Usage(input_tokens=100, output_tokens=20)


@pytest.mark.parametrize("tier", ["flex", "priority", "batch"])
def test_another_tier_is_told(tier: str) -> None:
    usage = read(FULL, service_tier=tier)
    assert isinstance(usage, Usage)
    assert usage.service_tier == tier


def test_a_tier_that_nobody_knows_has_no_price() -> None:
    assert read(FULL, service_tier="scale") is Disbelief.SERVICE_TIER_UNPRICED
    assert read(FULL, service_tier="") is Disbelief.SERVICE_TIER_UNPRICED
    assert read(FULL, service_tier=["flex"]) is Disbelief.USAGE_INVALID
    assert read(FULL, service_tier=1) is Disbelief.USAGE_INVALID


# whatever comes

counts = st.none() | st.booleans() | st.floats() | st.text(max_size=3) | st.integers() | st.just(2**33)
blocks = st.recursive(counts, lambda inner: st.lists(inner, max_size=3), max_leaves=4) | st.dictionaries(
    st.sampled_from([
        *FULL, "prompt_tokens_details", "completion_tokens_details", "cache_read_input_tokens",
    ]),
    counts | st.dictionaries(st.sampled_from(["cached_tokens", "reasoning_tokens"]), counts),
)  # fmt: skip
countings = st.builds(
    Counting,
    cached_input=st.sampled_from(["inside", "beside"]),
    reasoning=st.sampled_from(["inside", "beside"]),
)


@given(blocks, blocks, countings, st.sampled_from([CHAT, EMBEDDINGS]))
def test_whatever_comes_is_a_usage_that_adds_up_or_is_not_believed(
    block: Any, tier: Any, counting: Counting, endpoint: Endpoint
) -> None:
    usage = read_usage({"usage": block, "service_tier": tier}, endpoint, counting)
    if isinstance(usage, Usage):
        assert 0 <= usage.cached_input_tokens + usage.cache_write_tokens <= usage.input_tokens <= TOKENS_MAX
        assert 0 <= usage.reasoning_tokens <= usage.output_tokens <= TOKENS_MAX
        assert json.loads(usage.model_dump_json())


whole = st.integers(0, 2**20)


@given(st.integers(1, 2**20), whole, whole, whole, whole)
def test_both_ways_to_count_give_the_same_usage(
    plain: int, from_cache: int, to_cache: int, said: int, thought: int
) -> None:
    inside = cached(from_cache, to_cache, prompt_tokens=plain + from_cache + to_cache)
    inside |= reasoned(thought, completion_tokens=said + thought, total_tokens=None) | {
        "prompt_tokens": plain + from_cache + to_cache
    }
    beside = inside | {"prompt_tokens": plain, "completion_tokens": said}
    usage = read(inside)
    assert isinstance(usage, Usage)
    assert usage == read(beside, Counting(cached_input="beside", reasoning="beside"))
    assert (usage.input_tokens, usage.output_tokens) == (plain + from_cache + to_cache, said + thought)
