"""Conditions: what may be written, what is refused and why, and what happens when one fails."""

from contextlib import suppress
from typing import Any

import cel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.policy.expressions import (
    MACROS_MAX,
    NESTING_MAX,
    SOURCE_CHARS_MAX,
    Expression,
    ExpressionInvalid,
    compile_expression,
    context_of,
    holds,
)

TYPES = frozenset({"EMAIL", "CODENAME"})


def compiled(source: str) -> Expression:
    return compile_expression(source, TYPES)


def refused(source: str) -> str:
    with pytest.raises(ExpressionInvalid) as caught:
        compiled(source)
    return str(caught.value)


def run(source: str, **values: Any) -> bool | None:
    expression = compiled(source)
    return holds(expression.program, context_of(values, expression.patterns))


@pytest.mark.parametrize(
    ("source", "reads", "phase"),
    [
        ("true", set(), "request"),
        ("lane in ['bulk', \"standard\"]", {"lane"}, "request"),
        ("request.messages.count > 3 && !(lane == 'bulk')", {"request.messages.count", "lane"}, "request"),
        ("has(request.n) && request.n > 4", {"request.n"}, "request"),
        ("!has(tags.user)", {"tags.user"}, "request"),
        ("has(request.n) ? request.n > 1 : false", {"request.n"}, "request"),
        ("request.tools.exists(tool, tool.startsWith('x'))", {"request.tools"}, "request"),
        ("request.tools.filter(t, t == 'a').size() > 0", {"request.tools"}, "request"),
        ("size(request.tools) > 0x10", {"request.tools"}, "request"),
        (
            "dlp.request.EMAIL + dlp.request.CODENAME >= 5",
            {"dlp.request.EMAIL", "dlp.request.CODENAME"},
            "request",
        ),
        ("injection.score >= 50", {"injection.score"}, "request"),
        ("dlp.answer.EMAIL > 0 && lane == 'bulk'", {"dlp.answer.EMAIL", "lane"}, "answer"),
        (
            "answer.chars > 3 // a comment\n || answer.tools.exists(t, t == 'x')",
            {"answer.chars", "answer.tools"},
            "answer",
        ),
        (r"request.model.matches(r'^gpt-\d')", {"request.model"}, "request"),
        ("string(request.messages.count) == '1'", {"request.messages.count"}, "request"),
    ],
)
def test_what_a_condition_reads_is_known_before_it_runs(source: str, reads: set[str], phase: str) -> None:
    expression = compiled(source)
    assert set(expression.reads) == reads
    assert expression.phase == phase


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("", "a condition is empty"),
        ("// nothing", "a condition is empty"),
        ("request.modle == 'x'", "`request.modle` is no fact"),
        ("colour == 'red'", "`colour` is no fact"),
        ("request.model.x == 'red'", "`request.model.x` is no fact"),
        ("request['model'] == 'x'", "`request` holds several facts: name the one that is meant, with a dot"),
        ("'x' in dlp.request", "`dlp.request` holds several facts: name the one that is meant, with a dot"),
        ("dlp.request.EMAILS > 0", "`dlp.request.EMAILS`: no such type of data is known"),
        (
            "request.temperature > 1.0",
            "a job may lack `request.temperature`: ask `has(request.temperature)` first",
        ),
        ("has(lane)", "line 1 of the condition, column 5: invalid argument to has() macro"),
        (
            "answer.chars > injection.score",
            "a condition reads what is found in the request or in the answer, not both",
        ),
        (
            "dlp.request.EMAIL + dlp.answer.EMAIL > 0",
            "a condition reads what is found in the request or in the answer, not both",
        ),
        ("request.tools.map(t, t + t) == []", "`map` is no function that a condition may call"),
        ("timestamp('2026-01-01T00:00:00Z') == 1", "`timestamp` is no function that a condition may call"),
        ("now() > 3", "`now` is no function that a condition may call"),
        ("request.tools.exists(t, request.tools.exists(u, u == t))", "a macro may not stand in another"),
        ("request.tools.exists(lane, lane == 'x')", "`lane` cannot name an element of a list"),
        ("request.tools.exists(request, request == 'x')", "`request` cannot name an element of a list"),
        ("request.tools.exists(t, t.name == 'x')", "`t` is a text and has no `name`"),
        ("request.model.matches(lane)", 'matches` is written `x.matches("…")`, with the pattern written out'),
        ("matches(request.model, 'x')", 'matches` is written `x.matches("…")`, with the pattern written out'),
        ("request.model.matches('(')", "not a pattern that RE2 takes: missing ): ("),
        (
            r"request.model.matches(r'\pL{200}')",
            "not a pattern that RE2 takes: pattern too large - compile failed",
        ),
        ("{'a': 1}.a == 1", "column 1: `{` has no place in a condition"),
        ("lane == `bulk`", "column 9: `\N{GRAVE ACCENT}` has no place in a condition"),
        ("lane == '''bulk'''", "column 11: a text stands right behind another"),
        ("lane == 'bulk", "column 9: `'` has no place in a condition"),
        ("lane == 'é' && größe", "column 18: `ö` has no place in a condition"),
        ("true)", "column 5: `)` closes nothing"),
        ("(true]", "column 6: `]` closes nothing"),
        (".lane == 'bulk'", "this way of writing it is not taken"),
        ("(" * (NESTING_MAX + 1), f"a condition may nest {NESTING_MAX} deep and use {MACROS_MAX} macros"),
        (
            " || ".join(["request.tools.exists(t, t == 'x')"] * (MACROS_MAX + 1)),
            f"a condition may nest {NESTING_MAX} deep and use {MACROS_MAX} macros",
        ),
        ("x" * (SOURCE_CHARS_MAX + 1), f"a condition may have {SOURCE_CHARS_MAX} characters at most"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_reason(source: str, reason: str) -> None:
    assert refused(source).lstrip("`") == reason.lstrip("`")


def test_syntax_errors_are_the_interpreters_with_their_place() -> None:
    assert refused("lane ==").startswith("line 1 of the condition, column 8: Syntax error")
    assert refused("lane ==\n == 'x'").startswith("line 2 of the condition, column 2: Syntax error")


def test_matches_runs_on_re2_and_anywhere_in_the_text() -> None:
    assert run("lane.matches('ul')", lane="bulk") is True
    assert run("lane.matches('^ul')", lane="bulk") is False
    assert run("lane.matches('a') || lane.matches('k$')", lane="bulk") is True
    assert run("lane.matches('(a+)+$')", lane="a" * 10_000 + "b") is False


@pytest.mark.parametrize(
    ("source", "values"),
    [
        ("request.messages.count / 0 > 1", {"request": {"messages": {"count": 1}}}),
        ("request.tools[3] == 'x'", {"request": {"tools": []}}),
        ("lane > 3", {"lane": "bulk"}),
        ("lane", {"lane": "bulk"}),
        ("size(lane)", {"lane": "bulk"}),
        ("lane == 'bulk'", {}),
        ("request.messages.count * 9223372036854775807 > 1", {"request": {"messages": {"count": 3}}}),
        ("int(lane) == 1", {"lane": "bulk"}),
    ],
)
def test_a_condition_that_fails_or_yields_no_boolean_yields_none(source: str, values: dict[str, Any]) -> None:
    assert run(source, **values) is None


class Panics:
    def execute(self, context: object) -> bool:
        raise type("PanicException", (BaseException,), {})


class Stopped:
    def execute(self, context: object) -> bool:
        raise KeyboardInterrupt


def test_a_panic_of_the_interpreter_is_a_failure_and_an_interrupt_is_not() -> None:
    context = cel.Context({})
    assert holds(Panics(), context) is None  # type: ignore[arg-type]  # a program cannot be made to panic
    with pytest.raises(KeyboardInterrupt):
        holds(Stopped(), context)  # type: ignore[arg-type]  # nor to be interrupted


PIECES = st.sampled_from(
    [
        *("lane", "request", "model", "tools", "messages", "count", "t", "dlp.request.EMAIL", "answer.chars"),
        *("true", "1", "2.5", "'x'", '"y"', "''", "'\\d'"),
        *("(", ")", "[", "]", "{", "}", ".", ",", "==", "&&", "||", "!", "?", ":", "+", "-", "<", "//", "\n"),
        *("in", "has", "size", "matches", "filter", "exists"),
    ]
)


@given(st.lists(PIECES, max_size=25).map(" ".join) | st.text(max_size=40))
def test_whatever_is_written_is_compiled_or_refused(source: str) -> None:
    with suppress(ExpressionInvalid):
        expression = compiled(source)
        assert holds(expression.program, context_of({}, expression.patterns)) in (True, False, None)
