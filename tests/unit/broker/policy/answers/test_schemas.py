"""JSON Schema within bounds: what is taken, that it judges as the drafts say, and that nothing takes long."""

from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from referencing import Registry

from broker.policy.answers import schema_check, schema_form
from broker.policy.answers.schema_check import TooCostly, fits
from broker.policy.answers.schema_form import DEPTH_MAX, DRAFT_7, NODES_MAX, Unfit, check

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "pattern": "^[A-Z]"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name"],
    "additionalProperties": False,
}
TREE = {
    "$defs": {
        "node": {
            "anyOf": [
                {"type": "number"},
                *(
                    {
                        "type": "object",
                        "properties": {
                            "op": {"const": op},
                            "left": {"$ref": "#/$defs/node"},
                            "right": {"$ref": "#/$defs/node"},
                        },
                        "required": ["op", "left", "right"],
                    }
                    for op in ("add", "sub", "mul", "div")
                ),
            ]
        }
    },
    "$ref": "#/$defs/node",
}
DOUBLING = {
    "$defs": {
        "x": {
            "anyOf": [
                {"properties": {"a": {"$ref": "#/$defs/x"}}, "required": ["b"]},
                {"properties": {"a": {"$ref": "#/$defs/x"}}, "required": ["c"]},
            ]
        }
    },
    "$ref": "#/$defs/x",
}


def nested(depth: int, leaf: Any, **rest: Any) -> Any:
    for _ in range(depth):
        leaf = {"a": leaf} | rest
    return leaf


def suits(value: Any, schema: Any) -> bool:
    check(schema)
    return fits(value, schema, len(orjson.dumps(value)))


@pytest.mark.parametrize(
    ("value", "schema", "expected"),
    [
        ({"name": "Ann", "age": 3}, PERSON, True),
        ({"name": "Ann", "age": 3.0}, PERSON, True),
        ({"name": "ann"}, PERSON, False),
        ({"name": "Ann", "x": 1}, PERSON, False),
        ({"age": 3}, PERSON, False),
        ([1, True, 1.5], {"uniqueItems": True}, True),
        ([1, 1.0], {"uniqueItems": True}, False),
        ([{"a": 1, "b": 2}, {"b": 2.0, "a": 1}], {"uniqueItems": True}, False),
        (1.0, {"const": 1}, True),
        (True, {"enum": [1, "true"]}, False),
        ({"x-1": 1}, {"patternProperties": {"^x-": {"type": "string"}}}, False),
        ({"x-1": 1}, {"patternProperties": {"^x-": True}, "additionalProperties": False}, True),
        ({"y": 1}, {"patternProperties": {"^x-": True}, "additionalProperties": {"type": "integer"}}, True),
        (3, {"oneOf": [{"minimum": 2}, {"maximum": 5}]}, False),
        (7, {"oneOf": [{"minimum": 2}, {"maximum": 5}]}, True),
        ([1, "a"], {"$schema": f"{DRAFT_7}#", "items": [{"type": "integer"}, {"type": "string"}]}, True),
        ([1, 2], {"$schema": DRAFT_7, "items": [{"type": "integer"}, {"type": "string"}]}, False),
        (
            [1, 2],
            {"$id": "https://example.com/x", "items": {"$ref": "#/$defs/n"}, "$defs": {"n": True}},
            True,
        ),
        ("not-a-date", {"format": "date"}, True),
        ({"op": "add", "left": 1, "right": {"op": "mul", "left": 2, "right": 3}}, TREE, True),
        ({"op": "add", "left": 1, "right": {"op": "pow", "left": 2, "right": 3}}, TREE, False),
        (1, True, True),
        (1, False, False),
    ],
)
def test_values_fit_as_the_drafts_say(value: Any, schema: Any, expected: bool) -> None:
    assert suits(value, schema) is expected


@pytest.mark.parametrize(
    "schema",
    [
        3,
        {"$ref": "https://example.com/schema.json"},
        {"$ref": "other.json#/a"},
        {"$ref": "#anchor"},
        {"$ref": "#/$defs/none"},
        {"$schema": "http://json-schema.org/draft-04/schema#"},
        {"$schema": 4},
        {"properties": {"a": {"$id": "https://example.com/x"}}},
        {"$anchor": "a"},
        {"$dynamicRef": "#a"},
        {"unevaluatedProperties": False},
        {"type": "text"},
        {"type": []},
        {"required": "a"},
        {"properties": []},
        {"properties": {"a": 1}},
        {"anyOf": {}},
        {"pattern": "(?=a)"},
        {"pattern": "(a)\\1"},
        {"pattern": "("},
        {"pattern": "(((((((((a{1,99}){1,99}){1,99})))))))"},
        {"patternProperties": {"(?<!a)": True}},
        {"minLength": -1},
        {"multipleOf": 0},
        {"enum": 1},
        {"uniqueItems": 1},
        nested(DEPTH_MAX, True, type="object"),
        {"enum": list(range(NODES_MAX))},
    ],
)
def test_what_cannot_be_checked_by_is_told_before(schema: Any) -> None:
    with pytest.raises(Unfit):
        check(schema)


def test_names_of_properties_are_no_keywords() -> None:
    schema = {
        "properties": {"$id": {"type": "string"}, "$ref": {"type": "integer"}, "pattern": {"const": "("}}
    }
    assert suits({"$id": "x", "$ref": 1, "pattern": "("}, schema)


@pytest.mark.parametrize(
    ("value", "schema", "error"),
    [
        (nested(60, 1), DOUBLING, TooCostly),
        (1, {"$ref": "#"}, RecursionError),
        (1, {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}, RecursionError),
        (
            [[n] for n in range(3_000)],
            {"items": {"not": {"contains": {"enum": [[n] for n in range(90)]}}}},
            None,
        ),
        (["a" * 100_000], {"items": {"pattern": "^(a+)+$"}}, None),
        ([{"a": n} for n in range(20_000)], {"uniqueItems": True}, None),
        ([1] * 100, {"items": {"not": {"anyOf": [{"type": "string"}] * 500}}}, TooCostly),
    ],
)
def test_a_hostile_schema_takes_its_steps_and_no_more(value: Any, schema: Any, error: Any) -> None:
    """The bound is in steps; what a test can say of time is that it ends."""
    if error is None:
        suits(value, schema)
        return
    with pytest.raises(error):
        suits(value, schema)


def test_the_steps_of_a_check_follow_from_the_length_of_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    spent: list[int] = []
    spend = schema_check.Meter.spend

    def noted(self: schema_check.Meter, steps: int) -> None:
        spent.append(steps)
        spend(self, steps)

    monkeypatch.setattr(schema_check.Meter, "spend", noted)
    for size in (100, 1_000):
        spent.clear()
        value = nested(50, "x" * size)
        with pytest.raises(TooCostly):
            fits(value, DOUBLING, size)
        allowed = schema_check.STEPS_LEAST + schema_check.STEPS_A_CHARACTER * size
        assert allowed < sum(spent) <= allowed + max(spent)


scalars = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0, "a", "b", "ab"])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


def _objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    named = st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    several = st.lists(inner, min_size=1, max_size=3)
    return st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["object", "array", "string", "integer", "number", "null", "boolean"]),
            "properties": named,
            "patternProperties": st.dictionaries(st.sampled_from(["^a", "b$"]), inner, max_size=2),
            "additionalProperties": inner,
            "propertyNames": st.just({"enum": ["a", "b"]}),
            "required": st.lists(st.sampled_from("abc"), max_size=2),
            "items": inner,
            "prefixItems": several,
            "contains": inner,
            "uniqueItems": st.booleans(),
            "minItems": st.integers(0, 2),
            "maxLength": st.integers(0, 2),
            "minimum": st.integers(-2, 2),
            "multipleOf": st.sampled_from([1, 2, 0.5]),
            "pattern": st.sampled_from(["^a", "b$"]),
            "enum": st.lists(values, min_size=1, max_size=3),
            "const": values,
            "anyOf": several,
            "oneOf": several,
            "allOf": several,
            "not": inner,
            "if": inner,
            "then": inner,
            "else": inner,
            "dependentRequired": st.just({"a": ["b"]}),
            "$ref": st.just("#/$defs/leaf"),
        },
    )


schemas = st.recursive(st.booleans() | _objects(st.booleans()), _objects, max_leaves=5)


@given(value=values, schema=schemas)
def test_it_judges_as_the_package_does_without_bounds(value: Any, schema: Any) -> None:
    whole = {"$defs": {"leaf": {"type": ["object", "string", "integer"]}}, "allOf": [schema]}
    expected = Draft202012Validator(whole, registry=Registry()).is_valid(value)
    assert suits(value, whole) is expected


@given(
    schema=st.recursive(
        scalars,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "type",
                        "properties",
                        "$ref",
                        "items",
                        "anyOf",
                        "enum",
                        "pattern",
                        "required",
                        "if",
                        "$schema",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    ),
    value=values,
)
def test_any_json_is_a_schema_that_judges_or_is_refused(schema: Any, value: Any) -> None:
    try:
        check(schema)
    except Unfit:
        return
    with suppress(TooCostly, RecursionError):
        assert fits(value, schema, 10) in {True, False}


def test_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were a reference to another document let through, it would lead nowhere."""
    monkeypatch.setattr("urllib.request.urlopen", lambda *_: pytest.fail("asked the network"))
    monkeypatch.setattr(schema_form, "check", lambda _: None)
    with pytest.raises(Exception, match="Unresolvable"):
        fits(1, {"$ref": "https://example.com/schema.json"}, 10)
