"""The texts of a request, each by itself, with its role and where it stands.

A part of a message is a text of its own, and so are the names that an application gives: of functions, of
properties, of files. Addresses and bytes of images, audio and files are no texts: nobody looks into them.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple, get_args

import orjson

DEPTH_MAX: Final = 256
"""Deeper strings of a tool's parameters or of a schema are passed over; ADMIT refuses such requests first."""

Role = Literal["system", "user", "assistant", "tool", "input", "definition", "metadata"]
"""`developer` counts as system; `input` is what embeddings are made of; `definition` is the words of declared
tools and answer schemas, names among them; `metadata` what the application wrote beside the conversation, and
the ids of tool calls."""
ROLES: Final[tuple[Role, ...]] = get_args(Role)

Path = tuple[str | int, ...]

_MESSAGE_ROLES: Final[Mapping[str, Role]] = {
    "developer": "system",
    "system": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
SCHEMA_WORDS: Final = frozenset({
    "$schema", "$id", "$ref", "$defs", "definitions", "type", "properties", "required", "items",
    "description", "title", "enum", "const", "default", "examples", "format", "pattern", "nullable",
    "additionalProperties", "anyOf", "oneOf", "allOf", "not", "minimum", "maximum", "minLength",
    "maxLength", "minItems", "maxItems", "uniqueItems", "exclusiveMinimum", "exclusiveMaximum",
    "multipleOf",
})  # fmt: skip
"""They say nothing of anybody."""
_PART_FIELDS: Final[Mapping[str, str]] = {"text": "text", "refusal": "refusal"}


class Text(NamedTuple):
    role: Role
    path: Path
    """Keys and positions from the request's body on."""
    text: str
    is_key: bool = False
    """It is the last key of the path, and not what stands under it."""
    is_name: bool = False
    """The name of a function or of a schema, which takes letters, digits, `_` and `-` alone."""


def texts(request: Mapping[str, Any]) -> Iterator[Text]:
    """Every text of a chat or embeddings body that has passed `schemas.requests`, in the body's order."""
    for position, message in enumerate(request.get("messages") or ()):
        yield from _message(message, ("messages", position))
    yield from _inputs(request.get("input"))
    yield from _definitions(request)
    for field in ("metadata", "user", "stop"):
        if (given := request.get(field)) is not None:
            yield from _strings(given, (field,), "metadata")


def json_path(path: Path) -> str:
    """As RFC 9535 writes it: `$.messages[0].content`."""
    return "$" + "".join(map(_step, path))


def _step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if step.isidentifier() else f"[{orjson.dumps(step).decode()}]"


def _message(message: Mapping[str, Any], at: Path) -> Iterator[Text]:
    role = _MESSAGE_ROLES.get(message["role"], "user")
    content = message.get("content")
    if isinstance(content, str):
        yield Text(role, (*at, "content"), content)
    elif content:
        yield from _parts(content, (*at, "content"), role)
    for field in ("refusal", "name"):
        if message.get(field):
            yield Text(role, (*at, field), message[field])
    if message.get("tool_call_id"):
        yield Text("metadata", (*at, "tool_call_id"), message["tool_call_id"])
    for position, call in enumerate(message.get("tool_calls") or ()):
        path = (*at, "tool_calls", position)
        yield Text("metadata", (*path, "id"), call["id"])
        yield from _name(call["function"], (*path, "function"))
        yield Text(role, (*path, "function", "arguments"), call["function"]["arguments"])


def _parts(parts: list[Mapping[str, Any]], at: Path, role: Role) -> Iterator[Text]:
    for position, part in enumerate(parts):
        field = _PART_FIELDS.get(part["type"])
        if field is not None:
            yield Text(role, (*at, position, field), part[field])
        elif part["type"] == "file":
            yield from _strings(part["file"].get("filename"), (*at, position, "file", "filename"), "metadata")


def _inputs(given: Any) -> Iterator[Text]:
    """Of embeddings: a text, or texts. Token ids, of which there may be a million, are none."""
    if isinstance(given, str) or (given and isinstance(given[0], str)):
        yield from _strings(given, ("input",), "input")


def _definitions(request: Mapping[str, Any]) -> Iterator[Text]:
    for position, tool in enumerate(request.get("tools") or ()):
        at: Path = ("tools", position, "function")
        yield from _definition(tool["function"], at, "parameters")
    choice = request.get("tool_choice")
    if isinstance(choice, dict):
        yield from _name(choice["function"], ("tool_choice", "function"))
    schema = (request.get("response_format") or {}).get("json_schema")
    if schema:
        yield from _definition(schema, ("response_format", "json_schema"), "schema")


def _definition(given: Mapping[str, Any], at: Path, schema: str) -> Iterator[Text]:
    yield from _name(given, at)
    for field in ("description", schema):
        yield from _strings(given.get(field), (*at, field), "definition")


def _name(given: Mapping[str, Any], at: Path) -> Iterator[Text]:
    yield Text("definition", (*at, "name"), given["name"], is_name=True)


def _strings(value: Any, at: Path, role: Role) -> Iterator[Text]:
    """Every string in `value`, keys too but for the words of JSON Schema, depth first, without recursion."""
    waiting: list[tuple[Any, Path, bool]] = [(value, at, False)]
    while waiting:
        node, path, is_key = waiting.pop()
        if isinstance(node, str):
            yield Text(role, path, node, is_key)
        elif len(path) >= DEPTH_MAX:
            continue
        elif isinstance(node, dict):
            for key, child in reversed(node.items()):
                waiting.append((child, (*path, key), False))
                if key not in SCHEMA_WORDS:
                    waiting.append((key, (*path, key), True))
        elif isinstance(node, list):
            waiting += [(node[index], (*path, index), False) for index in range(len(node) - 1, -1, -1)]
