import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.bodies import ChatBody, EmbeddingsBody
from schemas.reasons import Refusal
from schemas.requests import PARAM_LENGTH_MAX, RequestRefused, validate_request

CHAT = "/v1/chat/completions"
EMBEDDINGS = "/v1/embeddings"
HELLO = [{"role": "user", "content": "hello"}]


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": HELLO, **fields}


def parts(*parts: Any) -> dict[str, Any]:
    return chat(messages=[{"role": "user", "content": list(parts)}])


def refused(endpoint: str, request: dict[str, Any]) -> tuple[Refusal, str | None]:
    with pytest.raises(RequestRefused) as caught:
        validate_request(endpoint, request)
    return caught.value.code, caught.value.param


def verdict_on(endpoint: str, request: dict[str, Any]) -> str | RequestRefused:
    try:
        return validate_request(endpoint, request)
    except RequestRefused as refusal:
        return refusal


FULL_CHAT = {
    "model": "gpt-4o-mini",
    "messages": [
        {"role": "developer", "content": "Be brief.", "name": "d"},
        {"role": "system", "content": [{"type": "text", "text": "Be kind."}]},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}},
                {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
                {"type": "file", "file": {"file_data": "AA==", "filename": "a.pdf"}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
        },
        {"role": "tool", "content": "a gate", "tool_call_id": "c1"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}], "refusal": None},
    ],
    "max_completion_tokens": 100,
    "temperature": 0,
    "top_p": 1.0,
    "n": 2,
    "stop": ["a", "b"],
    "presence_penalty": -2,
    "frequency_penalty": 1.5,
    "logit_bias": {"50256": -100},
    "logprobs": True,
    "top_logprobs": 5,
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "x", "schema": {"a": {}}, "strict": True},
    },
    "seed": 7,
    "stream": False,
    "tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}],
    "tool_choice": {"type": "function", "function": {"name": "look"}},
    "parallel_tool_calls": False,
    "user": "u",
    "metadata": {"a": "b"},
    "reasoning_effort": "low",
    "verbosity": "high",
    "service_tier": "flex",
}


def test_a_chat_that_uses_every_listed_field_passes() -> None:
    request = FULL_CHAT | {"max_tokens": None}

    assert request.keys() == ChatBody.model_fields.keys()
    assert validate_request(CHAT, request) == "gpt-4o-mini"


@pytest.mark.parametrize("form", ["text", ["text", "more"], [1, 2], [[1], [2, 3]]])
def test_each_form_of_input_to_embeddings_passes(form: Any) -> None:
    request = {"model": "e", "input": form, "dimensions": 8, "encoding_format": "base64", "user": "u"}

    assert request.keys() == EmbeddingsBody.model_fields.keys()
    assert validate_request(EMBEDDINGS, request) == "e"


def test_what_is_optional_may_be_null() -> None:
    optional = [name for name, field in ChatBody.model_fields.items() if not field.is_required()]

    assert validate_request(CHAT, chat(**dict.fromkeys(optional))) == "m"


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (chat(top_k=5), "top_k"),
        (chat(prediction={"type": "content", "content": "x"}), "prediction"),
        (chat(messages=[{"role": "user", "content": "x", "user": {"deep": 1}}]), "messages.0.user"),
        (chat(messages=[{"role": "user", "content": "x", "cache": 1}]), "messages.0.cache"),
        (parts({"type": "text", "text": "x", "cache_control": {}}), "messages.0.content.0.cache_control"),
        (
            parts({"type": "image_url", "image_url": {"url": "x", "size": 1}}),
            "messages.0.content.0.image_url.size",
        ),
        (chat(tools=[{"type": "function", "function": {"name": "f"}, "free": 1}]), "tools.0.free"),
        (chat(response_format={"type": "text", "text": 1}), "response_format.text"),
    ],
)
def test_a_field_that_is_not_listed_is_refused_by_name(request_: dict[str, Any], param: str) -> None:
    assert refused(CHAT, request_) == (Refusal.UNPRICED_PARAMETER, param)


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        ({"messages": HELLO}, "model"),
        ({"model": "m"}, "messages"),
        (chat(model=5), "model"),
        (chat(model=""), "model"),
        (chat(messages=[]), "messages"),
        (chat(messages="hello"), "messages"),
        (chat(messages=[5]), "messages.0"),
        (chat(messages=[*HELLO, {"content": "x"}]), "messages.1.role"),
        (chat(messages=[{"role": "robot", "content": "x"}]), "messages.0.role"),
        (chat(messages=[{"role": "user"}]), "messages.0.content"),
        (chat(messages=[{"role": "tool", "content": "x"}]), "messages.0.tool_call_id"),
        (parts({"type": "video"}), "messages.0.content.0.type"),
        (parts({"type": "text"}), "messages.0.content.0.text"),
        (parts({"type": "text", "text": 5}), "messages.0.content.0.text"),
        (parts(), "messages.0.content"),
        (chat(temperature="0.5"), "temperature"),
        (chat(service_tier="batch"), "service_tier"),
        (chat(temperature=True), "temperature"),
        (chat(temperature=2.1), "temperature"),
        (chat(max_tokens=0), "max_tokens"),
        (chat(max_tokens=1.0), "max_tokens"),
        (chat(max_tokens=2**31), "max_tokens"),
        (chat(n=129), "n"),
        (chat(stream=True), "stream"),
        (chat(stream=0), "stream"),
        (chat(stop=["a"] * 5), "stop"),
        (chat(logit_bias={"joe@example.com": 1}), "logit_bias.joe?example.com"),
        (chat(max_tokens=1, max_completion_tokens=1), None),
        (chat(tool_choice="any"), "tool_choice"),
        (chat(tool_choice={"type": "function", "function": {}}), "tool_choice.function.name"),
        (chat(tools=[{"type": "function", "function": {"name": "a b"}}]), "tools.0.function.name"),
        (chat(response_format={"type": "json_schema"}), "response_format.json_schema"),
    ],
)
def test_a_chat_that_is_not_valid_names_the_field_at_fault(
    request_: dict[str, Any], param: str | None
) -> None:
    assert refused(CHAT, request_) == (Refusal.INVALID_REQUEST, param)


@pytest.mark.parametrize(
    ("form", "param"),
    [
        ("", "input"),
        ([], "input"),
        (5, "input"),
        (None, "input"),
        ([""] * 2049, "input"),
        (["a", 1], "input.1"),
        ([1, "a"], "input.1"),
        ([1, -1], "input.1"),
        ([True], "input.0"),
        ([[1], []], "input.1"),
        ([[1], ["a"]], "input.1.0"),
        ([{}], "input.0"),
    ],
)
def test_an_input_to_embeddings_that_is_not_valid(form: Any, param: str) -> None:
    assert refused(EMBEDDINGS, {"model": "e", "input": form}) == (Refusal.INVALID_REQUEST, param)


def test_another_endpoint_is_refused() -> None:
    assert refused("/v1/responses", chat())[0] == Refusal.UNSUPPORTED_ENDPOINT


def test_a_name_in_the_request_reaches_param_cleansed_and_cut() -> None:
    assert refused(CHAT, chat(**{"é {x}\n": 1})) == (Refusal.UNPRICED_PARAMETER, "???x??")
    assert refused(CHAT, chat(**{"k" * 500: 1})) == (Refusal.UNPRICED_PARAMETER, "k" * PARAM_LENGTH_MAX)


def test_a_flood_of_faults_is_not_listed() -> None:
    flood = {f"k{number}": number for number in range(1_000)}

    assert refused(CHAT, chat(**flood)) == (Refusal.INVALID_REQUEST, None)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.just("needle-in-the-request"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "text", "role", "content", "function", "x é"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(
        st.sampled_from([*ChatBody.model_fields, *EmbeddingsBody.model_fields, "x é"]), json_values
    )
)
def test_whatever_comes_is_passed_or_refused_without_repeating_a_value(request_: dict[str, Any]) -> None:
    for endpoint in (CHAT, EMBEDDINGS):
        verdict = verdict_on(endpoint, request_)
        if isinstance(verdict, str):
            assert verdict == request_["model"]
        else:
            assert "needle" not in str(verdict)
            assert re.fullmatch(r"[A-Za-z0-9_.?-]{1,64}", verdict.param or "none")
