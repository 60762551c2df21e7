from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headworks.simulate.requests import (
    TOKENS_A_MESSAGE,
    ChatRequest,
    EmbeddingsRequest,
    RequestRefused,
    model_of,
    read_chat,
    read_embeddings,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def chat(**fields: Any) -> ChatRequest:
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}], **fields}
    return read_chat(orjson.dumps(body))


def embeddings(**fields: Any) -> EmbeddingsRequest:
    return read_embeddings(orjson.dumps({"model": "e", "input": "hello", **fields}))


@given(st.lists(TEXT, min_size=1))
def test_prompt_tokens_never_exceed_a_token_a_byte_and_the_overhead(texts: list[str]) -> None:
    messages = [{"role": "user", "content": text} for text in texts]
    tokens = chat(messages=messages).prompt_tokens
    assert 1 <= tokens <= sum(len(text.encode()) for text in texts) + TOKENS_A_MESSAGE * len(texts)


def test_a_quarter_of_the_bytes_is_counted_in_text_and_in_text_parts() -> None:
    parts = [{"type": "text", "text": "é" * 4}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    assert chat(messages=[{"role": "user", "content": "a" * 8}]).prompt_tokens == 2 + TOKENS_A_MESSAGE
    assert chat(messages=[{"role": "user", "content": parts}]).prompt_tokens == 2 + TOKENS_A_MESSAGE
    assert chat(messages=[{"role": "assistant", "content": None}]).prompt_tokens == TOKENS_A_MESSAGE


def test_tools_count() -> None:
    tool = {"type": "function", "function": {"name": "look_up"}}
    assert chat(tools=[tool]).prompt_tokens > chat().prompt_tokens


@pytest.mark.parametrize(
    ("fields", "limit"),
    [
        ({}, None),
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 7}, 7),
        ({"max_completion_tokens": None, "max_tokens": 3}, 3),
    ],
)
def test_both_names_of_the_output_limit_are_read(fields: dict[str, Any], limit: int | None) -> None:
    assert chat(**fields).completion_tokens_limit == limit


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"model": 4}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": ["hi"]}, "messages"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"max_completion_tokens": True}, "max_completion_tokens"),
        ({"n": 129}, "n"),
    ],
)
def test_a_chat_request_is_refused_by_its_field(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        chat(**fields)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("given_input", "vectors", "tokens"),
    [
        ("12345", 1, 2),
        (["1234", "1"], 2, 2),
        ([1, 2, 3], 1, 3),
        ([[1, 2], [3]], 2, 3),
    ],
)
def test_embedding_inputs_are_texts_or_token_ids(given_input: Any, vectors: int, tokens: int) -> None:
    request = embeddings(input=given_input)
    assert (len(request.inputs), request.prompt_tokens) == (vectors, tokens)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": [""]}, "input"),
        ({"input": [1, "a"]}, "input"),
        ({"input": ["a"] * 2049}, "input"),
        ({"dimensions": 0}, "dimensions"),
        ({"encoding_format": "hex"}, "encoding_format"),
    ],
)
def test_an_embeddings_request_is_refused_by_its_field(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        embeddings(**fields)
    assert caught.value.param == param


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"nul", b"\xff", b"[" * 5000])
def test_a_body_that_is_no_json_object_is_refused_without_quoting_it(body: bytes) -> None:
    with pytest.raises(RequestRefused) as caught:
        read_chat(body)
    assert str(caught.value) in {"the body is not valid JSON", "the body must be a JSON object"}
    assert caught.value.__cause__ is None


def test_the_model_of_a_refused_body_is_told_where_it_names_one() -> None:
    assert model_of(b'{"model": "m", "messages": 5}') == "m"
    assert model_of(b"{") is None
