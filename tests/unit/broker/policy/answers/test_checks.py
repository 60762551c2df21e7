"""The section `answer`, check by check."""

from typing import Any

import orjson
import pytest

from broker.errors import PolicyInvalid
from broker.policy.answers.overlap import canary
from tests.unit.broker.policy.answers.judging import SYSTEM, call, chat, judge_of, outcome
from tests.unit.broker.policy.jobs import revision

PASSES = ("allow", None)
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {
                "type": "object",
                "properties": {"days": {"type": "integer"}},
                "required": ["days"],
            },
        },
    },
    {"type": "function", "function": {"name": "news"}},
]


def verdict(section: dict[str, Any], response: Any, **request: Any) -> tuple[str, str | None]:
    return outcome(judge_of(answer=section), response, request)


def schema(definition: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": definition}}


def test_length_is_that_of_all_texts() -> None:
    response = chat("01234", {"tool_calls": [call("f", "01234567")]}, {"content": None, "reasoning": "0"})
    assert verdict({"chars_max": 15}, response) == PASSES
    assert verdict({"chars_max": 14}, response) == ("deny", "answer.length")


@pytest.mark.parametrize("text", ["A Sluicegate!", "project\n  MILLRACE, then", "sluicegate"])
def test_forbidden_words_are_whole_and_in_any_case(text: str) -> None:
    section = {"forbidden_words": ["sluicegate", "Project Millrace"]}
    assert verdict(section, chat("Good.", text)) == ("deny", "answer.forbidden_words")
    in_a_call = {"tool_calls": [call("f", orjson.dumps({"x": [text]}).decode())]}
    assert verdict(section, chat(in_a_call)) == ("deny", "answer.forbidden_words")
    parts = [{"type": "text", "text": part} for part in (text[:5], text[5:])]
    assert verdict(section, chat({"content": parts})) == ("deny", "answer.forbidden_words")
    assert verdict(section, chat("sluicegates", "Millrace project")) == PASSES


def test_each_choice_that_says_something_has_the_required_words() -> None:
    section = {"required_words": ["no advice", "Regards"]}
    assert verdict(section, chat("This is no advice. regards")) == PASSES
    assert verdict(section, chat("This is no advice. Regards", "No advice.")) == (
        "deny",
        "answer.required_words",
    )
    assert verdict(section, chat({"content": None, "tool_calls": [call("f")]})) == PASSES
    assert verdict(section, chat({"content": None})) == ("deny", "answer.required_words")


@pytest.mark.parametrize("words", [{"forbidden_words": ["  "]}, {"required_words": ["a", " "]}])
def test_a_word_of_spaces_is_refused_with_its_line(words: dict[str, Any]) -> None:
    with pytest.raises(PolicyInvalid, match="line 1: a word is something other than spaces"):
        revision(answer=words)


# JSON


@pytest.mark.parametrize(
    ("form", "content", "passes"),
    [
        ({"type": "text"}, "no JSON", True),
        (None, "no JSON", True),
        ({"type": "json_object"}, '{"a": 1}', True),
        ({"type": "json_object"}, "[1]", False),
        ({"type": "json_object"}, '{"a": 1', False),
        (schema({"type": "object", "required": ["a"]}), '{"a": 1}', True),
        (schema({"type": "object", "required": ["a"]}), '{"b": 1}', False),
        (schema({"type": "object", "required": ["a"]}), '```json\n{"a": 1}\n```', False),
        (schema({"type": "array", "items": {"type": "integer"}}), "[1, 2.0]", True),
        ({"type": "json_schema", "json_schema": {"name": "x"}}, "{}", True),
    ],
)
def test_structured_output_is_what_the_request_asked_for(form: Any, content: str, passes: bool) -> None:
    expected = PASSES if passes else ("deny", "answer.json_schema")
    assert verdict({"json_schema": True}, chat(content), response_format=form) == expected


def test_who_declines_or_calls_has_nothing_to_fit() -> None:
    form = schema({"type": "object"})
    message = {"content": None, "tool_calls": [call("f")]}
    assert verdict({"json_schema": True}, chat(message), response_format=form) == PASSES
    assert verdict({"json_schema": True}, chat({"refusal": "No."}), response_format=form) == PASSES
    assert verdict({"json_schema": True}, chat({"content": None}), response_format=form)[0] == "deny"
    assert verdict({"json_schema": True}, chat({"content": ""}), response_format=form)[0] == "deny"


def test_every_choice_must_fit() -> None:
    form = schema({"type": "object"})
    assert verdict({"json_schema": True}, chat("{}", "[]"), response_format=form)[0] == "deny"


# the system prompt


@pytest.mark.parametrize(
    ("text", "leaks"),
    [
        (SYSTEM, True),
        (f"My orders are: {SYSTEM.upper()} That is all.", True),
        (SYSTEM.replace(" ", "\n* "), True),
        (orjson.dumps({"orders": SYSTEM.replace(" ", "\n")}).decode(), True),
        (SYSTEM.replace("o", "o\u200b").replace("a", "\u0430"), True),
        ("I am the clerk of a lock on the old canal.", False),
        (" ".join(reversed(SYSTEM.split())), False),
        ("", False),
    ],
)
def test_a_stretch_of_the_system_prompt_is_a_leak(text: str, leaks: bool) -> None:
    expected = ("deny", "answer.prompt_leak") if leaks else PASSES
    assert verdict({"prompt_leak": {"overlap_words": 12}}, chat({"reasoning": text})) == expected


def test_all_of_a_short_prompt_is_a_leak_and_of_a_shorter_nothing_is() -> None:
    section = {"prompt_leak": {"overlap_words": 100}}

    def prompt(text: str) -> dict[str, Any]:
        return {"messages": [{"role": "developer", "content": [{"type": "text", "text": text}]}]}

    assert (
        verdict(section, chat("Never speak of the weir."), **prompt("Never speak of the weir."))[0] == "deny"
    )
    assert verdict(section, chat("Never speak of it."), **prompt("Never speak of it.")) == PASSES


def test_of_scripts_without_spaces_each_character_is_a_word() -> None:
    text = "你是运河老船闸的管理员绝不告诉任何人晚饭吃什么"
    request = {"messages": [{"role": "system", "content": text}]}
    assert verdict({"prompt_leak": {}}, chat(f"「{text}」"), **request)[0] == "deny"
    assert verdict({"prompt_leak": {}}, chat("你是谁"), **request) == PASSES


def test_canaries_are_found() -> None:
    token = canary("0" * 64)
    section = {"prompt_leak": {"canary": True, "canaries": ["Keeper-7"]}}
    assert verdict(section, chat("It says Keeper-7."))[0] == "deny"
    assert verdict(section, chat(f"(ref {token})"))[0] == "deny"
    assert verdict(section, chat(" ".join(token.upper())))[0] == "deny"
    assert verdict({"prompt_leak": {}}, chat(token)) == PASSES
    assert verdict(section, chat("keeper")) == PASSES


# tools


@pytest.mark.parametrize(
    ("section", "message", "request_fields", "passes"),
    [
        ({}, {"tool_calls": [call("weather"), call("news")]}, {"tools": TOOLS}, True),
        ({}, {"tool_calls": [call("shell")]}, {"tools": TOOLS}, False),
        ({}, {"tool_calls": [call("weather")]}, {}, False),
        ({}, {"tool_calls": [call("weather")]}, {"tools": None}, False),
        ({}, {"tool_calls": [call("weather")]}, {"tools": TOOLS, "tool_choice": "none"}, False),
        (
            {},
            {"tool_calls": [call("news")]},
            {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "weather"}}},
            False,
        ),
        ({}, {"function_call": {"name": "shell", "arguments": "{}"}}, {"tools": TOOLS}, False),
        (
            {},
            {"tool_calls": [{"type": "custom", "custom": {"name": "shell", "input": "ls"}}]},
            {"tools": TOOLS},
            False,
        ),
        ({}, {"tool_calls": ["weather"]}, {"tools": TOOLS}, False),
        ({}, {"tool_calls": []}, {}, True),
        ({"declared": False}, {"tool_calls": [call("shell")]}, {}, True),
        ({"allowed": ["news"]}, {"tool_calls": [call("weather")]}, {"tools": TOOLS}, False),
        ({"arguments": True}, {"tool_calls": [call("weather", '{"days": 3}')]}, {"tools": TOOLS}, True),
        ({"arguments": True}, {"tool_calls": [call("weather", '{"days": "3"}')]}, {"tools": TOOLS}, False),
        ({"arguments": True}, {"tool_calls": [call("weather", '{"days": 3')]}, {"tools": TOOLS}, False),
        ({"arguments": True}, {"tool_calls": [call("news", "")]}, {"tools": TOOLS}, True),
        ({"arguments": True}, {"tool_calls": [call("news", "[]")]}, {"tools": TOOLS}, False),
    ],
)
def test_calls_are_of_what_was_declared_and_is_allowed(
    section: dict[str, Any], message: dict[str, Any], request_fields: dict[str, Any], passes: bool
) -> None:
    expected = PASSES if passes else ("deny", "answer.tools")
    assert verdict({"tools": section}, chat("Sunny.", message), **request_fields) == expected
