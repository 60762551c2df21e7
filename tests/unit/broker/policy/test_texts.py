"""The texts of a request: all of them, each by itself, with its role and its place."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.policy.rewriting import rewritten
from broker.policy.texts import DEPTH_MAX, SCHEMA_WORDS, Text, json_path, texts
from broker.settings import AdmitSettings
from schemas.requests import validate_request

CHAT: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "developer", "content": "d"},
        {"role": "system", "content": [{"type": "text", "text": "s"}], "name": "n"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "u1"},
                {"type": "image_url", "image_url": {"url": "https://example.com/x"}},
                {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
                {"type": "file", "file": {"file_data": "AAAA", "filename": "fn"}},
                {"type": "text", "text": "u2"},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "r1"}], "refusal": "r2"},
        {"role": "tool", "tool_call_id": "c", "content": "t"},
    ],
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "f",
                "description": "fd",
                "parameters": {"properties": {"a b": {"description": "pd"}}, "required": ["q"]},
            },
        }
    ],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "j", "description": "jd", "schema": {"title": "jt"}},
    },
    "metadata": {"k": "mv"},
    "user": "usr",
    "stop": ["st"],
}
EXPECTED = [
    ("system", "$.messages[0].content", "d"),
    ("system", "$.messages[1].content[0].text", "s"),
    ("system", "$.messages[1].name", "n"),
    ("user", "$.messages[2].content[0].text", "u1"),
    ("metadata", "$.messages[2].content[3].file.filename", "fn"),
    ("user", "$.messages[2].content[4].text", "u2"),
    ("metadata", "$.messages[3].tool_calls[0].id", "c"),
    ("definition", "$.messages[3].tool_calls[0].function.name", "f"),
    ("assistant", "$.messages[3].tool_calls[0].function.arguments", "{}"),
    ("assistant", "$.messages[4].content[0].refusal", "r1"),
    ("assistant", "$.messages[4].refusal", "r2"),
    ("tool", "$.messages[5].content", "t"),
    ("metadata", "$.messages[5].tool_call_id", "c"),
    ("definition", "$.tools[0].function.name", "f"),
    ("definition", "$.tools[0].function.description", "fd"),
    ("definition", '$.tools[0].function.parameters.properties["a b"]', "a b"),
    ("definition", '$.tools[0].function.parameters.properties["a b"].description', "pd"),
    ("definition", "$.tools[0].function.parameters.required[0]", "q"),
    ("definition", "$.tool_choice.function.name", "f"),
    ("definition", "$.response_format.json_schema.name", "j"),
    ("definition", "$.response_format.json_schema.description", "jd"),
    ("definition", "$.response_format.json_schema.schema.title", "jt"),
    ("metadata", "$.metadata.k", "k"),
    ("metadata", "$.metadata.k", "mv"),
    ("metadata", "$.user", "usr"),
    ("metadata", "$.stop[0]", "st"),
]


def at(body: Any, text: Text) -> Any:
    """What stands where a text says that it does."""
    for step in text.path[:-1]:
        body = body[step]
    last = text.path[-1]
    return next(key for key in body if key == last) if text.is_key else body[last]


def test_every_text_of_a_chat_has_its_role_and_place() -> None:
    validate_request("/v1/chat/completions", CHAT)
    found = list(texts(CHAT))
    assert [(text.role, json_path(text.path), text.text) for text in found] == EXPECTED
    assert all(at(CHAT, text) == text.text for text in found)


@pytest.mark.parametrize(
    ("given_", "found"),
    [
        ("a", [Text("input", ("input",), "a")]),
        (["a", "b"], [Text("input", ("input", 0), "a"), Text("input", ("input", 1), "b")]),
        ([1, 2], []),
        ([[1], [2]], []),
    ],
)
def test_embeddings_are_made_of_texts_or_of_tokens(given_: Any, found: list[Text]) -> None:
    assert list(texts({"model": "m", "input": given_})) == found


def test_texts_are_rewritten_in_a_copy() -> None:
    copy = rewritten(CHAT, [(text, f"<{text.text}>") for text in texts(CHAT)])
    assert [text.text for text in texts(copy)] == [f"<{text}>" for _, _, text in EXPECTED]
    assert [text.text for text in texts(CHAT)] == [text for _, _, text in EXPECTED]
    assert copy["messages"][2]["content"][1] is CHAT["messages"][2]["content"][1]
    assert rewritten(CHAT, []) == CHAT


FUNCTION = {"name": "f", "parameters": {"type": "object", "properties": {"Hidden": {"type": "string"}}}}
SCHEMA = {"name": "f", "schema": {"properties": {"a": {"properties": {"Hidden": {}}}}}}
CALL = {"id": "", "type": "function", "function": {"name": "f", "arguments": '{"Hidden": 1}'}}


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [{"type": "function", "function": FUNCTION}]},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"required": ["Hidden"]}}}]},
        {"response_format": {"type": "json_schema", "json_schema": SCHEMA}},
        {"messages": [{"role": "assistant", "tool_calls": [CALL]}]},
        {"metadata": {"Hidden": "x"}},
    ],
)
def test_no_name_of_a_property_is_passed_over(fields: dict[str, Any]) -> None:
    found = list(texts({"model": "m", "messages": []} | fields))
    assert any("Hidden" in text.text for text in found)
    copy = rewritten({"model": "m", "messages": []} | fields, [(text, "-") for text in found])
    assert "Hidden" not in str(copy)


def test_what_admit_lets_in_is_not_too_deep_to_be_read() -> None:
    assert AdmitSettings.model_fields["depth_max"].metadata[-1].le < DEPTH_MAX


def test_depth_is_bounded() -> None:
    deep: Any = "hidden"
    for _ in range(DEPTH_MAX + 10):
        deep = {"a": deep}
    body = {
        "model": "m",
        "messages": [],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": deep}}],
    }
    assert [text.text for text in texts(body) if not text.is_key] == ["f"]


KEYS = st.text(max_size=3).filter(lambda key: key not in SCHEMA_WORDS)
PARAMETERS = st.recursive(
    st.none() | st.booleans() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=10,
)


def strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for key, child in value.items() for text in (key, *strings(child))]
    if isinstance(value, list):
        return [text for child in value for text in strings(child)]
    return [value] if isinstance(value, str) else []


@given(st.dictionaries(KEYS, PARAMETERS, max_size=3))
def test_no_string_of_a_definition_is_missed(parameters: dict[str, Any]) -> None:
    body = {
        "model": "m",
        "messages": [],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": parameters}}],
    }
    found = list(texts(body))
    assert [text.text for text in found] == ["f", *strings(parameters)]
    assert all(at(body, text) == text.text for text in found)
    assert len({(json_path(text.path), text.is_key) for text in found}) == len(found)
    marked = rewritten(body, [(text, f"<{text.text}>") for text in found])
    assert [text.text for text in texts(marked)] == [f"<{text.text}>" for text in found]
