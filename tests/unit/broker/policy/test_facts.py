"""Each fact says of a job what its description says."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.policy.detections import Detections
from broker.policy.examples import probes
from broker.policy.facts import FACTS, Answer, fact, holds_facts
from schemas.bodies import ChatBody, EmbeddingsBody
from schemas.envelope import Tags
from schemas.requests import validate_request
from tests.unit.broker.policy.jobs import job

PARTS = [
    {"type": "text", "text": "abc"},
    {"type": "image_url", "image_url": {"url": "https://example.com/x"}},
    {"type": "image_url", "image_url": {"url": "https://example.com/y"}},
    {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    {"type": "file", "file": {"file_data": "AAAA"}},
]
TYPES = frozenset({"EMAIL", "PHONE"})
KINDS: dict[str, type] = {"string": str, "int": int, "double": float, "bool": bool, "list of strings": tuple}


def read(name: str, request: dict[str, Any] | None = None, **fields: Any) -> Any:
    found = fact(name, TYPES)
    assert found is not None
    return found.read(job(request, **fields))


@pytest.mark.parametrize(
    ("name", "request_", "value"),
    [
        ("request.model", {"model": "m"}, "m"),
        ("request.max_output_tokens", {"max_tokens": 5}, 5),
        ("request.max_output_tokens", {"max_completion_tokens": 6}, 6),
        ("request.max_output_tokens", {"max_completion_tokens": None, "max_tokens": 7}, 7),
        ("request.max_output_tokens", {}, None),
        ("request.temperature", {"temperature": 1}, 1.0),
        ("request.temperature", {"temperature": None}, None),
        ("request.fields", {"n": 1, "seed": None}, ("messages", "model", "n")),
        ("request.tools", {"tools": [{"type": "function", "function": {"name": "f"}}]}, ("f",)),
        ("request.tools", {"tools": None}, ()),
        ("request.tool_choice", {"tool_choice": "auto"}, "auto"),
        ("request.tool_choice", {"tool_choice": {"type": "function", "function": {"name": "f"}}}, "f"),
        ("request.response_format", {"response_format": {"type": "json_object"}}, "json_object"),
        ("request.metadata_keys", {"metadata": {"a": "b"}}, ("a",)),
        ("request.messages.count", {"messages": [{"role": "user", "content": "a"}] * 3}, 3),
        ("request.messages.roles", {"messages": [{"role": "user", "content": "a"}] * 3}, ("user",)),
        ("request.messages.chars", {"messages": [{"role": "user", "content": "ab"}] * 3, "user": "cd"}, 8),
        ("request.messages.chars_longest", {"messages": [{"role": "user", "content": "ab"}] * 3}, 2),
        ("request.messages.images", {"messages": [{"role": "user", "content": PARTS}]}, 2),
        ("request.messages.audios", {"messages": [{"role": "user", "content": PARTS}]}, 1),
        ("request.messages.files", {"messages": [{"role": "user", "content": PARTS}] * 2}, 2),
    ],
)
def test_what_the_request_says(name: str, request_: dict[str, Any], value: Any) -> None:
    assert read(name, request_) == value


@pytest.mark.parametrize(("given_", "count"), [("a", 1), (["a", "b"], 2), ([1, 2, 3], 1), ([[1], [2]], 2)])
def test_embeddings_count_their_texts(given_: Any, count: int) -> None:
    embeddings = job(request={}, endpoint="/v1/embeddings")
    object.__setattr__(embeddings, "request", {"model": "m", "input": given_})
    assert FACTS["request.messages.count"].read(embeddings) == count
    assert FACTS["request.messages.roles"].read(embeddings) == ()


def test_who_sends_it_and_what_was_found() -> None:
    detections = Detections(scores=(("tool", 7), ("user", 2)), rules=("a.b",), types=(("EMAIL", 3),))
    answer = Answer(9, "stop", ("f",), ("length",), (("PHONE", 2),))
    fields: dict[str, Any] = {
        "detections": detections,
        "answer": answer,
        "tags": Tags(user="u"),
        "regions": ("eu",),
    }
    expected = {
        "organization": "acme",
        "project": "support",
        "application": "support-bot",
        "lane": "standard",
        "tags.user": "u",
        "tags.feature": None,
        "regions": ("eu",),
        "injection.score": 7,
        "injection.tool": 7,
        "injection.user": 2,
        "injection.system": 0,
        "injection.rules": ("a.b",),
        "dlp.request.EMAIL": 3,
        "dlp.request.PHONE": 0,
        "dlp.answer.PHONE": 2,
        "dlp.answer.EMAIL": 0,
        "answer.chars": 9,
        "answer.finish_reason": "stop",
        "answer.tools": ("f",),
        "answer.findings": ("length",),
    }
    assert {name: read(name, **fields) for name in expected} == expected


def test_each_fact_is_of_its_kind_on_every_probe_and_optional_where_it_may_be_absent() -> None:
    seen: dict[str, set[bool]] = {}
    for facts in probes(TYPES):
        validate_request(facts.endpoint, dict(facts.request))
        for name, known in FACTS.items():
            value = known.read(facts)
            hash(value)
            seen.setdefault(name, set()).add(value is None)
            assert value is None or type(value) is KINDS[known.kind] or name == "lane", name
    assert {name for name, absent in seen.items() if True in absent} == {
        name for name, known in FACTS.items() if known.optional
    }
    assert all(False in absent for absent in seen.values())


def test_every_parameter_of_a_request_is_a_fact_or_named_in_fields() -> None:
    """A new parameter is decided upon here: is it a fact of its own?"""
    told = {name.removeprefix("request.") for name in FACTS if name.startswith("request.")}
    told |= {"messages", "input", "max_tokens", "max_completion_tokens", "metadata"}
    parameters = {*ChatBody.model_fields, *EmbeddingsBody.model_fields}
    assert parameters - told == {"stop", "logit_bias", "stream"}


@pytest.mark.parametrize(
    "name", ["dlp.request.NONE", "dlp.response.EMAIL", "dlp.EMAIL", "dlp.request.", "request.x", "dlp"]
)
def test_what_is_not_on_the_list_is_no_fact(name: str) -> None:
    assert fact(name, TYPES) is None


def test_beginnings_of_names_are_known() -> None:
    assert all(
        holds_facts(name) for name in ("request", "request.messages", "dlp", "dlp.answer", "tags", "answer")
    )
    assert not any(holds_facts(name) for name in ("lane", "req", "request.model", "dlp.request.EMAIL"))


@given(st.floats(0, 2))
def test_there_is_no_negative_zero(temperature: float) -> None:
    assert str(read("request.temperature", {"temperature": -0.0})) == "0.0"
    assert read("request.temperature", {"temperature": temperature}) == temperature
