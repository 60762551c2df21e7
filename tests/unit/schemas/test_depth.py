from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.depth import depth_within

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=30,
)


def depth_of(value: Any) -> int:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if children is None else 1 + max(map(depth_of, children), default=0)


@given(json_values)
def test_the_limit_is_the_depth_itself(value: Any) -> None:
    depth = depth_of(value)

    assert depth_within(value, depth)
    assert not depth_within(value, depth - 1) or depth == 0


@pytest.mark.parametrize(("value", "depth"), [("x", 0), ([], 1), ({}, 1), ({"a": [1]}, 2), ([[], [[]]], 3)])
def test_what_counts_as_a_level(value: Any, depth: int) -> None:
    assert depth_of(value) == depth
    assert depth_within(value, depth)


def test_nesting_beyond_the_stack_is_measured_without_recursion() -> None:
    value: list[Any] = []
    for _ in range(200_000):
        value = [value]

    assert not depth_within(value, 64)
    assert depth_within(value, 200_001)

    while value:  # taken apart by hand: freeing it whole would recurse
        value = value.pop()
