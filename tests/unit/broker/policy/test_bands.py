"""Comparisons without the interpreter come to what it says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.policy.bands import band_of
from broker.policy.expressions import Expression, compile_expression, context_of, holds

TYPES = frozenset({"EMAIL"})
NUMBERS = st.integers(0, 300) | st.integers(0, 10**15 - 1)


def compiled(source: str) -> Expression:
    return compile_expression(source, TYPES)


@given(
    st.sampled_from([">", ">=", "<", "<="]), NUMBERS, st.none() | NUMBERS, st.sampled_from(["", " ", "\n"])
)
def test_a_comparison_is_what_the_interpreter_says(
    sign: str, number: int, other: int | None, space: str
) -> None:
    expression = compiled(f"request.messages.chars{space}{sign}{space}{number}{space}")
    value = number if other is None else other
    band = band_of(expression)
    assert band is not None
    read = {"request": {"messages": {"chars": value}}}
    assert (band[0] <= value < band[1]) is holds(expression.program, context_of(read, expression.patterns))


@pytest.mark.parametrize("source", ["injection.tool >= 2200", "dlp.request.EMAIL > 0", "answer.chars < 10"])
def test_comparisons_of_what_every_job_has_are_bands(source: str) -> None:
    assert band_of(compiled(source)) is not None


@pytest.mark.parametrize(
    "source",
    [
        "has(request.n) && request.n > 4",
        "request.messages.chars > 1 && true",
        "request.messages.chars == 5",
        "request.messages.chars > request.messages.count",
        "5 < request.messages.chars",
        "!(request.messages.chars > 5)",
        "request.model > '5'",
        "has(request.temperature) && request.temperature > 1.5",
    ],
)
def test_other_conditions_are_left_to_the_interpreter(source: str) -> None:
    assert band_of(compiled(source)) is None
