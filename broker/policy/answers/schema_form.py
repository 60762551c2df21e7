"""Which JSON Schemas an answer can be checked by, in bounded time and with nothing fetched.

Drafts 2020-12 and 7, without what reaches beyond the schema (references to other documents, `$id`, anchors),
what depends on how the rest was evaluated (`unevaluated…`), and patterns that RE2 does not take. What no
draft knows is passed over, as the drafts say, and so is `format`, which is a remark and no demand.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote

from broker.policy.expressions import ExpressionInvalid, compile_pattern

NODES_MAX: Final = 10_000
"""Values in the schema, of any kind."""
DEPTH_MAX: Final = 64
PATTERN_CHARS_MAX: Final = 1_000
PATTERNS_REMEMBERED: Final = 256
DRAFT_7: Final = "http://json-schema.org/draft-07/schema"
DRAFT_2020_12: Final = "https://json-schema.org/draft/2020-12/schema"

_TYPES: Final = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})
_REFUSED: Final = frozenset(
    {
        "$anchor",
        "$dynamicAnchor",
        "$dynamicRef",
        "$id",
        "$recursiveAnchor",
        "$recursiveRef",
        "$schema",
        "$vocabulary",
        "dependencies",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)
"""`$schema` and `$id` may stand at the root."""
_OF_ROOT: Final = frozenset({"$id", "$schema"})
_SCHEMAS: Final = frozenset(
    {
        "additionalItems",
        "additionalProperties",
        "contains",
        "else",
        "if",
        "items",
        "not",
        "propertyNames",
        "then",
    }
)
_LISTS: Final = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_MAPS: Final = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"})
_REFERENCE: Final = re.compile("#(?:/.*)?", re.DOTALL)
_DIGITS: Final = re.compile("0|[1-9][0-9]{0,8}")


class Unfit(ValueError):
    """Why a schema cannot be checked by, in words without a value of it."""


@lru_cache(PATTERNS_REMEMBERED)
def pattern(source: str) -> Any:
    """Compiled, in RE2. Raises Unfit."""
    if len(source) > PATTERN_CHARS_MAX:
        raise Unfit(f"a pattern may have {PATTERN_CHARS_MAX} characters")
    try:
        return compile_pattern(source)
    except ExpressionInvalid:
        raise Unfit("a pattern is not RE2's, which has no lookaround, or is too large") from None


def dialect(schema: Any) -> str:
    """Raises Unfit."""
    named = schema.get("$schema", DRAFT_2020_12) if isinstance(schema, dict) else DRAFT_2020_12
    plain = named.rstrip("#") if isinstance(named, str) else ""
    if plain not in {DRAFT_7, DRAFT_2020_12}:
        raise Unfit("`$schema` is that of draft 2020-12 or of draft 7")
    return plain


def check(schema: Any) -> None:
    """`schema`: parsed JSON. Raises Unfit."""
    dialect(schema)
    _check_size(schema)
    for node in _schemas(schema):
        _check_node(node, schema, is_root=node is schema)


def _check_size(schema: Any) -> None:
    waiting: list[tuple[Any, int]] = [(schema, 1)]
    nodes = 0
    while waiting:
        node, depth = waiting.pop()
        nodes += 1
        if nodes > NODES_MAX or depth > DEPTH_MAX:
            raise Unfit(f"a schema may have {NODES_MAX} values and nest {DEPTH_MAX} levels")
        children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        waiting += [(child, depth + 1) for child in children]


def _schemas(root: Any) -> Iterator[dict[str, Any]]:
    """Every schema in a schema that is an object. Raises Unfit where there is something else."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, bool):
            continue
        if not isinstance(node, dict):
            raise Unfit("a schema is an object, true or false")
        yield node
        waiting += _children(node)


def _children(node: Mapping[str, Any]) -> Iterator[Any]:
    for name, value in node.items():
        if name in _LISTS or (name == "items" and isinstance(value, list)):
            yield from _taken(name, value, list)
        elif name in _SCHEMAS:
            yield value
        elif name in _MAPS:
            yield from _taken(name, value, dict).values()


def _taken(name: str, value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise Unfit(f"`{name}` is malformed")
    return value


def _check_node(node: Mapping[str, Any], root: Any, *, is_root: bool) -> None:
    for name, value in node.items():
        if name in _REFUSED and not (is_root and name in _OF_ROOT):
            raise Unfit(f"`{name}` is not taken here")
        if name in _FORMS and not _FORMS[name](value):
            raise Unfit(f"`{name}` is malformed")
        if name == "pattern":
            pattern(value)
        elif name == "patternProperties":
            for source in value:
                pattern(source)
        elif name == "$ref" and not isinstance(_target(value, root), dict | bool):
            raise Unfit("a `$ref` leads to another place of the schema: `#`, or `#/` and the way to it")


def _target(reference: Any, root: Any) -> Any:
    """What a local reference leads to (RFC 6901); None where it is none, or leads nowhere."""
    if not isinstance(reference, str) or not _REFERENCE.fullmatch(reference):
        return None
    node = root
    for step in unquote(reference[1:]).split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(node, dict):
            node = node.get(name)
        elif isinstance(node, list) and _DIGITS.fullmatch(name) and int(name) < len(node):
            node = node[int(name)]
        else:
            return None
    return node


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return _is_number(value) and value >= 0 and value == int(value)


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _are_types(value: Any) -> bool:
    named = [value] if isinstance(value, str) else value
    return bool(named) and _are_names(named) and _TYPES.issuperset(named)


_NUMBERS: Final = ("exclusiveMaximum", "exclusiveMinimum", "maximum", "minimum")
_COUNTS: Final = (
    *("maxContains", "maxItems", "maxLength", "maxProperties"),
    *("minContains", "minItems", "minLength", "minProperties"),
)
_FORMS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "$ref": _is_text,
    "dependentRequired": lambda value: isinstance(value, dict) and all(map(_are_names, value.values())),
    "enum": lambda value: isinstance(value, list),
    "multipleOf": lambda value: _is_number(value) and value > 0,
    "pattern": _is_text,
    "required": _are_names,
    "type": _are_types,
    "uniqueItems": _is_flag,
    **dict.fromkeys(_NUMBERS, _is_number),
    **dict.fromkeys(_COUNTS, _is_count),
}
