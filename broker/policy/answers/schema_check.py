"""Whether a value fits a JSON Schema, by the `jsonschema` package, within a number of steps.

The package may take time that grows with the power of a schema's depth, writes out values in messages that
nobody reads here, compares items of arrays with each other, and matches patterns by backtracking. So each
keyword is paid for in steps before it runs, values say nothing of themselves, alternatives are left at the
first fault, and patterns run on RE2. References are local, which `schema_form` sees to; nothing is fetched.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, cached_property
from typing import Any, Final, cast

import orjson
from jsonschema import Draft7Validator, Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from referencing import Registry

from broker.policy.answers import schema_form
from broker.policy.answers.schema_form import pattern

STEPS_LEAST: Final = 20_000
STEPS_A_CHARACTER: Final = 2
"""Of the text that is checked."""
STEPS_MOST: Final = 400_000
"""About a second and a half."""
_PATTERN_CHARS_A_STEP: Final = 64
_EXACT_BELOW: Final = 2**53

Errors = Iterable[ValidationError]
Keyword = Callable[[Any, Any, Any, Any], Errors | None]


class TooCostly(Exception):
    """The value cannot be checked by the schema within the steps that there are."""


class Meter(FormatChecker):
    """The steps of one check. It goes where formats are looked up, and knows none of them."""

    def __init__(self, steps: int) -> None:
        super().__init__(formats=())
        self._left = steps

    def spend(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise TooCostly


class _Object(dict[str, Any]):
    def __repr__(self) -> str:
        return "an object"


class _Array(list[Any]):
    def __repr__(self) -> str:
        return "an array"

    @cached_property
    def keys(self) -> frozenset[bytes]:
        return frozenset(map(_key, self))


class _Text(str):
    __slots__ = ()

    def __repr__(self) -> str:
        return "a text"


def fits(value: Any, schema: Any, chars: int) -> bool:
    """`value`: parsed JSON that was written in so many characters. `schema`: one that `schema_form` takes.

    Raises TooCostly; also RecursionError, where a schema leads back to itself.
    """
    meter = Meter(min(STEPS_LEAST + STEPS_A_CHARACTER * chars, STEPS_MOST))
    own = _quiet(schema)
    if isinstance(own, dict):
        own.pop("$id", None)
    made = _validator(schema_form.dialect(schema))(own, format_checker=meter, registry=Registry())
    return next(iter(made.iter_errors(_quiet(value))), None) is None


def _quiet(value: Any) -> Any:
    """Equal to `value`, and short where it is written out."""
    if isinstance(value, dict):
        return _Object((key, _quiet(child)) for key, child in value.items())
    if isinstance(value, list):
        return _Array(map(_quiet, value))
    return _Text(value) if isinstance(value, str) else value


@cache
def _validator(dialect: str) -> type[Validator]:
    base: Any = Draft7Validator if dialect == schema_form.DRAFT_7 else Draft202012Validator
    keywords: dict[str, Keyword] = {**base.VALIDATORS, **_OWN}
    made: type[Validator] = cast(Any, extend)(
        base, {name: _paid(name, keyword) for name, keyword in keywords.items()}
    )
    return made


def _paid(name: str, keyword: Keyword) -> Keyword:
    is_looked_up = name in {"enum", "const"}

    def paid(validator: Any, demand: Any, instance: Any, schema: Any) -> Errors | None:
        validator.format_checker.spend(1 + (0 if is_looked_up else _size(demand)) + _size(instance))
        return keyword(validator, demand, instance, schema)

    return paid


def _size(value: Any) -> int:
    return len(value) if isinstance(value, dict | list) else 0


def _nodes(value: Any) -> int:
    if not isinstance(value, dict | list):
        return 1
    children = value.values() if isinstance(value, dict) else value
    return 1 + sum(map(_nodes, children))


def _any_of(validator: Any, demand: Any, instance: Any, schema: Any) -> Errors:
    if not any(_suits(validator, each, instance) for each in demand):
        yield ValidationError("none")


def _one_of(validator: Any, demand: Any, instance: Any, schema: Any) -> Errors:
    suiting = 0
    for each in demand:
        suiting += _suits(validator, each, instance)
        if suiting > 1:
            break
    if suiting != 1:
        yield ValidationError("not one")


def _suits(validator: Any, schema: Any, instance: Any) -> bool:
    return next(validator.descend(instance, schema), None) is None


def _enum(validator: Any, demand: Any, instance: Any, schema: Any) -> Errors:
    validator.format_checker.spend(_nodes(instance))
    if _key(instance) not in demand.keys:
        yield ValidationError("none of them")


def _const(validator: Any, demand: Any, instance: Any, schema: Any) -> Errors:
    validator.format_checker.spend(_nodes(demand) + _nodes(instance))
    if _key(instance) != _key(demand):
        yield ValidationError("another")


def _unique(validator: Any, demand: Any, instance: Any, schema: Any) -> Errors:
    if demand and isinstance(instance, list):
        validator.format_checker.spend(_nodes(instance))
        if len({_key(each) for each in instance}) < len(instance):
            yield ValidationError("twice")


def _key(value: Any) -> bytes:
    """The same of equal values, as JSON Schema has them: 1 and 1.0 are equal, 1 and true are not."""
    return orjson.dumps(_whole(value), option=orjson.OPT_SORT_KEYS)


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_whole(child) for child in value]
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) < _EXACT_BELOW
    return int(value) if is_whole else value


def _pattern(validator: Any, demand: Any, instance: Any, schema: Any) -> Errors:
    if isinstance(instance, str) and not _matches(validator, demand, instance):
        yield ValidationError("no match")


def _pattern_properties(validator: Any, demand: Any, instance: Any, schema: Any) -> Errors:
    for source, each in demand.items():
        for name, child in instance.items() if isinstance(instance, dict) else ():
            if _matches(validator, source, name):
                yield from validator.descend(child, each)


def _additional_properties(validator: Any, demand: Any, instance: Any, schema: Any) -> Errors:
    if isinstance(instance, dict):
        for name in _additional(validator, instance, schema):
            yield from validator.descend(instance[name], demand)


def _additional(validator: Any, instance: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    named, patterns = schema.get("properties", ()), schema.get("patternProperties", ())
    for name in instance:
        if name not in named and not any(_matches(validator, source, name) for source in patterns):
            yield name


def _matches(validator: Any, source: str, text: str) -> bool:
    validator.format_checker.spend(1 + len(text) // _PATTERN_CHARS_A_STEP)
    return pattern(source).search(text) is not None


_OWN: Final[Mapping[str, Keyword]] = {
    "additionalProperties": _additional_properties,
    "anyOf": _any_of,
    "const": _const,
    "enum": _enum,
    "oneOf": _one_of,
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "uniqueItems": _unique,
}
