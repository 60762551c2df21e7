"""The texts of a request, each by itself, with its role and where it stands.

A message, a tool's result and a retrieved document are scanned apart, so that one cannot hide in the length
of another: a part of a message is a text of its own. Addresses and bytes of images, audio and files are no
texts; nobody looks into them here.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple, get_args

import orjson

DEPTH_MAX: Final = 64
"""Deeper strings of a tool's parameters or of a schema are passed over; ADMIT refuses such requests first."""

Role = Literal["system", "user", "assistant", "tool", "input", "definition", "metadata"]
"""`developer` counts as system; `input` is what embeddings are made of; `definition` is the words of declared
tools and answer schemas; `metadata` what the application wrote beside the conversation, and the ids of tool
calls."""
ROLES: Final[tuple[Role, ...]] = get_args(Role)

Path = tuple[str | int, ...]

_MESSAGE_ROLES: Final[Mapping[str, Role]] = {
    "developer": "system",
    "system": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
_PART_FIELDS: Final[Mapping[str, str]] = {"text": "text", "refusal": "refusal"}


class Text(NamedTuple):
    role: Role
    path: Path
    """Keys and positions from the request's body on."""
    text: str


def texts(request: Mapping[str, Any]) -> Iterator[Text]:
    """Every text of a chat or embeddings body that has passed `schemas.requests`, in the body's order."""
    for position, message in enumerate(request.get("messages") or ()):
        yield from _message(message, ("messages", position))
    yield from _inputs(request.get("input"))
    yield from _definitions(request)
    yield from _strings(request.get("metadata"), ("metadata",), "metadata")
    yield from _strings(request.get("user"), ("user",), "metadata")
    yield from _strings(request.get("stop"), ("stop",), "metadata")


def json_path(path: Path) -> str:
    """As RFC 9535 writes it: `$.messages[0].content`."""
    return "$" + "".join(map(_step, path))


def _step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if step.isidentifier() else f"[{orjson.dumps(step).decode()}]"


def rewritten(request: dict[str, Any], changes: Mapping[Path, str]) -> dict[str, Any]:
    """A copy with other texts at some paths. What leads to no change is shared with the original."""
    body = dict(request)
    for path, text in changes.items():
        body = _with(body, path, text)
    return body


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
        yield Text(role, (*path, "function", "arguments"), call["function"]["arguments"])


def _parts(parts: list[Mapping[str, Any]], at: Path, role: Role) -> Iterator[Text]:
    for position, part in enumerate(parts):
        field = _PART_FIELDS.get(part["type"])
        if field is not None:
            yield Text(role, (*at, position, field), part[field])


def _inputs(given: Any) -> Iterator[Text]:
    """Of embeddings: a text, or texts. Token ids, of which there may be a million, are none."""
    if isinstance(given, str) or (given and isinstance(given[0], str)):
        yield from _strings(given, ("input",), "input")


def _definitions(request: Mapping[str, Any]) -> Iterator[Text]:
    for position, tool in enumerate(request.get("tools") or ()):
        at: Path = ("tools", position, "function")
        for field in ("description", "parameters"):
            yield from _strings(tool["function"].get(field), (*at, field), "definition")
    schema = (request.get("response_format") or {}).get("json_schema") or {}
    for field in ("description", "schema"):
        yield from _strings(schema.get(field), ("response_format", "json_schema", field), "definition")


def _strings(value: Any, at: Path, role: Role) -> Iterator[Text]:
    """Every string in `value`, depth first, without recursion."""
    waiting = [(value, at)]
    while waiting:
        node, path = waiting.pop()
        if isinstance(node, str):
            yield Text(role, path, node)
        elif len(path) >= DEPTH_MAX:
            continue
        elif isinstance(node, dict):
            waiting += [(child, (*path, key)) for key, child in reversed(node.items())]
        elif isinstance(node, list):
            waiting += [(node[index], (*path, index)) for index in range(len(node) - 1, -1, -1)]


def _with(node: Any, path: Path, text: str) -> Any:
    if not path:
        return text
    copy = node.copy()
    copy[path[0]] = _with(node[path[0]], path[1:], text)
    return copy
