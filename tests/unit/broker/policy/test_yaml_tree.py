"""YAML as plain data with lines; whatever comes in, data or PolicyInvalid comes out, and soon."""

from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import PolicyInvalid
from broker.policy.yaml_tree import BYTES_MAX, DEPTH_MAX, VALUES_MAX, read_tree

KEYS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=8)
SCALARS = st.none() | st.booleans() | st.integers(-(10**15) + 1, 10**15 - 1) | KEYS
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def refused(text: str | bytes) -> PolicyInvalid:
    with pytest.raises(PolicyInvalid) as caught:
        read_tree(text)
    return caught.value


def test_each_value_knows_its_line() -> None:
    tree = read_tree("a: 1\nb:\n  - x\n  - c: [y,\n     z]\n")
    assert tree.value == {"a": 1, "b": ["x", {"c": ["y", "z"]}]}
    assert tree.lines[("b", 1, "c", 1)] == 5
    assert {path: line for path, line in tree.lines.items() if len(path) < 3} == {
        (): 1,
        ("a",): 1,
        ("b",): 2,
        ("b", 0): 3,
        ("b", 1): 4,
    }
    assert tree.line(("b", 1, "c", 7, "more")) == 4


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("True", "True"),
        ("true", True),
        ("~", None),
        ("null", None),
        ("12", 12),
        ("-3", -3),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("012", 12),
        ("0x1F", "0x1F"),
        ("1:30", "1:30"),
        (".inf", ".inf"),
        (".", "."),
        ("1.2.3", "1.2.3"),
        ("2026-01-01", "2026-01-01"),
        ("'12'", "12"),
        ('"true"', "true"),
        ("|\n  12", "12"),
        ("9" * 40, "9" * 40),
    ],
)
def test_a_plain_scalar_is_what_it_looks_like_and_no_more(text: str, value: Any) -> None:
    found = read_tree(text).value
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "line 1: the document is empty"),
        ("# nothing", "line 1: the document is empty"),
        ("a: 1\n---\nb: 2", "line 3: a file holds one document"),
        ("a: &x 1\nb: *x", "line 1: anchors and aliases are not taken: write it out"),
        ("a: 1\nb: *x", "line 2: anchors and aliases are not taken: write it out"),
        ("a: !!python/object:os.system x", "line 1: tags are not taken"),
        ("a: 1\nb: 2\na: 3", "line 3: `a` stands here twice"),
        ("? [a]\n: 1", "line 1: a key must be plain text"),
        ("a: [1,\n  2", "line 2: not YAML: did not find expected ',' or ']'"),
        ("a:\n\t- b", "line 2: not YAML: found character that cannot start any token"),
        ("a: 1\nb: \x01", "line 2: not YAML: a character that YAML does not take"),
        (b"a: 1\nb: \xff", "line 2: the document is not UTF-8"),
        ("[" * (DEPTH_MAX + 1), f"line 1: a document may nest {DEPTH_MAX} levels at most"),
        ("- \n" * (VALUES_MAX + 1), f"line {VALUES_MAX}: a document may have {VALUES_MAX} values at most"),
        (" " * (BYTES_MAX + 1), f"a document may have {BYTES_MAX} bytes at most"),
        ("a: \ud800", "line 1: the document is not UTF-8"),
    ],
)
def test_what_is_refused_is_refused_by_its_line(text: str | bytes, error: str) -> None:
    assert str(refused(text)) == error


@given(TREES)
def test_json_is_read_as_it_is(value: Any) -> None:
    assert read_tree(orjson.dumps(value)).value == value


@given(st.text(max_size=200) | st.binary(max_size=200))
def test_nothing_but_policy_invalid_comes_out(text: str | bytes) -> None:
    with suppress(PolicyInvalid):
        read_tree(text)


@given(
    st.lists(
        st.sampled_from(
            [
                "a: ",
                "- ",
                "[",
                "]",
                "{",
                "}",
                "\n",
                "  ",
                "x",
                "'",
                '"',
                "|",
                "&a ",
                "*a",
                "!t ",
                "? ",
                "#",
                ",",
                "---\n",
                "1",
            ]
        ),
        max_size=60,
    )
)
def test_pieces_of_yaml_in_any_order_do_no_harm(pieces: list[str]) -> None:
    text = "".join(pieces)
    try:
        tree = read_tree(text)
    except PolicyInvalid:
        return
    orjson.dumps(tree.value)
    assert max(tree.lines.values()) <= text.count("\n") + 1


@pytest.mark.parametrize(
    "piece",
    ["[", "{", "? ", "- ", "{a: ", "a,", "'", '"', ":", "&a ", "*a ", "|\n", " #", "\\", "a: [", "\t"],
)
def test_the_largest_document_of_one_piece_is_read_or_refused(piece: str) -> None:
    text = piece * (BYTES_MAX // len(piece))
    with suppress(PolicyInvalid):
        read_tree(text)
