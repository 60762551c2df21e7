"""How many tokens the provider can count of a request's input, at most.

Everything that reaches the model is counted, and what cannot be counted is refused by name, so the fields of
a request, a message and a content part are closed lists: those of `schemas.bodies`, as a test holds. The
request's nesting must be bounded before.
"""

import json
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

from broker.errors import JobRefused
from broker.pricing.book import InputBound
from schemas.reasons import Refusal

CHAT_FIELDS: Final = frozenset({
    # Counted here, or by the estimate of the output.
    "messages", "tools", "tool_choice", "response_format", "n", "max_completion_tokens", "max_tokens",
    # They neither reach the model as text nor change the price.
    "model", "temperature", "top_p", "stop", "presence_penalty", "frequency_penalty", "logit_bias",
    "logprobs", "top_logprobs", "seed", "stream", "parallel_tool_calls", "user", "metadata",
    "reasoning_effort", "verbosity",
})  # fmt: skip
EMBEDDINGS_FIELDS: Final = frozenset({"input", "model", "dimensions", "encoding_format", "user"})
MESSAGE_FIELDS: Final = frozenset({"role", "content", "name", "refusal", "tool_calls", "tool_call_id"})

_PLAIN_MESSAGE_FIELDS: Final = frozenset({"role", "content"})
_ROLES: Final = frozenset({"system", "developer", "user", "assistant", "tool"})
_PART_TEXTS: Final = {"text": "text", "refusal": "refusal"}
_WORD_CHARS_MAX: Final = 64

_Size = Callable[[str], int]


def chat_tokens_max(request: Mapping[str, Any], bound: InputBound) -> int:
    """Of a chat completion.

    Raises JobRefused (`invalid_request`, `unpriced_parameter`, `unpriced_content`).
    """
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages:
        _invalid("messages", "it must be a list of messages")
    size = _SIZES[bound.kind]
    tokens = bound.request_tokens + len(messages) * bound.message_tokens
    for message in messages:
        tokens += _message_tokens(message, bound, size)
    for field in ("tool_choice", "response_format"):
        value = request.get(field)
        if value is not None and not isinstance(value, str):
            tokens += _json_tokens(value, bound)
    tools = request.get("tools")
    return tokens if tools is None else tokens + _tools_tokens(tools, bound)


def embeddings_tokens_max(request: Mapping[str, Any], bound: InputBound) -> int:
    """Of an embeddings call: a text, texts, token ids, or lists of token ids.

    Raises JobRefused (`invalid_request`).
    """
    given = request.get("input")
    inputs: list[Any] = given if isinstance(given, list) else [given] if isinstance(given, str) else []
    kinds = set(map(type, inputs))
    if kinds == {int}:
        return bound.request_tokens + bound.message_tokens + len(inputs)
    if kinds == {str}:
        size = _SIZES[bound.kind]
        tokens = sum(size(text) for text in inputs)
    elif kinds == {list} and all(set(map(type, ids)) == {int} for ids in inputs):
        tokens = sum(len(ids) for ids in inputs)
    else:
        _invalid("input", "it must be a text, a list of texts, a list of token ids, or a list of such lists")
    return bound.request_tokens + len(inputs) * bound.message_tokens + tokens


def refuse_unknown(fields: Mapping[str, Any], known: frozenset[str], where: str = "") -> None:
    """Raise JobRefused (`unpriced_parameter`) for the first field that is not on the list."""
    if not known.issuperset(fields):
        name = where + _word(next(field for field in fields if field not in known))
        raise JobRefused(Refusal.UNPRICED_PARAMETER, f"{name} cannot be priced", name)


def _message_tokens(message: Any, bound: InputBound, size: _Size) -> int:
    if not isinstance(message, dict):
        _invalid("messages", "each must be an object")
    refuse_unknown(message, MESSAGE_FIELDS, "messages.")
    role = message.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        _invalid("messages.role", "it is not a known role")
    if role == "tool":
        size = _quoted_size
    content = message.get("content")
    tokens = size(content) if isinstance(content, str) else _parts_tokens(content, bound, size)
    if not _PLAIN_MESSAGE_FIELDS.issuperset(message):
        tokens += _extra_tokens(message, bound, size)
    return tokens


def _parts_tokens(content: Any, bound: InputBound, size: _Size) -> int:
    if content is None:
        return 0
    if not isinstance(content, list):
        _invalid("messages.content", "it must be a text or a list of parts")
    return sum(bound.message_tokens + size(_part_text(part)) for part in content)


def _part_text(part: Any) -> str:
    if not isinstance(part, dict):
        _invalid("messages.content", "each part must be an object")
    kind = part.get("type")
    field = _PART_TEXTS.get(kind) if isinstance(kind, str) else None
    if field is None:
        raise JobRefused(
            Refusal.UNPRICED_CONTENT, f"content of type {_word(kind)} cannot be priced", "messages.content"
        )
    refuse_unknown(part, frozenset({"type", field}), "messages.content.")
    text = part.get(field)
    if not isinstance(text, str):
        _invalid(f"messages.content.{field}", "it must be a text")
    return text


def _extra_tokens(message: Mapping[str, Any], bound: InputBound, size: _Size) -> int:
    tokens = 0
    for field in ("name", "refusal", "tool_call_id"):
        value = message.get(field)
        if isinstance(value, str):
            tokens += 1 + size(value)
        elif value is not None:
            _invalid(f"messages.{field}", "it must be a text")
    calls = message.get("tool_calls")
    if calls is None:
        return tokens
    if not isinstance(calls, list):
        _invalid("messages.tool_calls", "it must be a list")
    return tokens + len(calls) * bound.tool_tokens + _json_tokens(calls, bound)


def _tools_tokens(tools: Any, bound: InputBound) -> int:
    if not isinstance(tools, list):
        _invalid("tools", "it must be a list")
    for tool in tools:
        kind = tool.get("type") if isinstance(tool, dict) else None
        if kind != "function":
            # Others run at the provider, for a price of their own.
            raise JobRefused(Refusal.UNPRICED_CONTENT, f"tool type {_word(kind)} cannot be priced", "tools")
    return bound.tools_tokens + len(tools) * bound.tool_tokens + _json_tokens(tools, bound)


def _utf8_size(text: str) -> int:
    # A lone surrogate cannot be sent as it is; what replaces it has three bytes, as `surrogatepass` gives it.
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _nfc_utf8_size(text: str) -> int:
    """NFC can lengthen a text up to three times in UTF-8 (Unicode Standard Annex 15)."""
    return len(text) if text.isascii() else _utf8_size(unicodedata.normalize("NFC", text))


def _quoted_size(text: str) -> int:
    """Some chat templates write a tool's result as a JSON string. At least as long as the text's NFC."""
    return _escaped_size(json.dumps(text))


def _json_tokens(value: Any, bound: InputBound) -> int:
    return bound.json_tokens_per_byte * _escaped_size(json.dumps(value))


def _escaped_size(rendered: str) -> int:
    """Of JSON with ASCII escapes, had it HTML-safe ones too, which make six characters of `<`."""
    return len(rendered) + 5 * sum(map(rendered.count, "<>&'"))


_SIZES: Final[Mapping[str, _Size]] = {"utf8_bytes": _utf8_size, "nfc_utf8_bytes": _nfc_utf8_size}


def _word(value: Any) -> str:
    """Names are for messages; what does not look like one may be a piece of a prompt."""
    is_word = isinstance(value, str) and len(value) <= _WORD_CHARS_MAX and value.isidentifier()
    return value if is_word else "(not a name)"


def _invalid(param: str, what: str) -> NoReturn:
    raise JobRefused(Refusal.INVALID_REQUEST, f"{param}: {what}", param)
