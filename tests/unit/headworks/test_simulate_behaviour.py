from typing import Any

import pytest
from pydantic import ValidationError

from headworks.simulate import (
    Behaviour,
    CannedAnswer,
    Fault,
    FixedLatency,
    LognormalLatency,
    UniformLatency,
    parse_latency,
)
from headworks.simulate.behaviour import explain


def test_every_fault_has_a_rate_of_its_own() -> None:
    rates = dict(Behaviour().fault_rates())
    assert set(rates) == set(Fault)
    for fault in Fault:
        assert dict(Behaviour.model_validate({f"{fault}_rate": 0.5}).fault_rates()) == {**rates, fault: 0.5}


@pytest.mark.parametrize(
    ("text", "latency"),
    [
        ("20", FixedLatency(ms=20)),
        ("fixed:0.5", FixedLatency(ms=0.5)),
        ("uniform:10:50", UniformLatency(min_ms=10, max_ms=50)),
        ("lognormal:200:1500", LognormalLatency(p50_ms=200, p99_ms=1500)),
    ],
)
def test_latency_is_read_from_text(text: str, latency: Any) -> None:
    assert parse_latency(text) == latency


@pytest.mark.parametrize(
    "text",
    ["", "fast", "uniform:10", "uniform:50:10", "lognormal:0:10", "lognormal:9:8", "-1", "nan", "1:2", "inf"],
)
def test_text_that_is_no_latency_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not MS|could not convert|validation error"):
        parse_latency(text)


def test_rates_that_sum_to_more_than_one_are_refused() -> None:
    with pytest.raises(ValidationError, match="sum to more than 1"):
        Behaviour(error_rate=0.6, hang_rate=0.5)


def test_ten_rates_of_a_tenth_sum_to_one() -> None:
    names = [f"{fault}_rate" for fault in list(Fault)[:10]]
    assert Behaviour.model_validate(dict.fromkeys(names, 0.1)).error_rate == 0.1


def test_answers_cannot_have_a_least_length_above_their_greatest() -> None:
    with pytest.raises(ValidationError, match="completion_tokens_min is above"):
        Behaviour(completion_tokens_min=10, completion_tokens_max=9)


@pytest.mark.parametrize("parts", [{}, {"content": "a", "fault": "hang"}, {"fault": "hang", "status": 404}])
def test_a_canned_answer_does_exactly_one_thing(parts: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="exactly one"):
        CannedAnswer.model_validate(parts)


def test_what_is_wrong_is_named_by_its_field() -> None:
    with pytest.raises(ValidationError) as caught:
        Behaviour.model_validate({"hang_rate": 2, "speling": 1})
    assert explain(caught.value).startswith("hang_rate: ")
    assert "; speling: " in explain(caught.value)
