"""How many tokens the provider can count of a request's input, at most.

Everything that reaches the model is counted, and what cannot be counted is refused by name, so the fields of
a request, a message and a content part are closed lists: those of `schemas.bodies`, as a test holds. The
request's nesting must be bounded before.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, NoReturn

from broker.errors import JobRefused
from broker.normal_forms import normalized
from broker.pricing.book import ImageBound, InputBound
from broker.pricing.counters import TokenCounter
from schemas.reasons import Refusal

CHAT_FIELDS: Final = frozenset({
    # Counted here, or by the estimate of the output.
    "messages", "tools", "tool_choice", "response_format", "n", "max_completion_tokens", "max_tokens",
    # They neither reach the model as text nor change the price.
    "model", "temperature", "top_p", "stop", "presence_penalty", "frequency_penalty", "logit_bias",
    "logprobs", "top_logprobs", "seed", "stream", "parallel_tool_calls", "user", "metadata",
    "reasoning_effort", "verbosity",
    # It changes the price: the estimate sees to it.
    "service_tier",
})  # fmt: skip
EMBEDDINGS_FIELDS: Final = frozenset({"input", "model", "dimensions", "encoding_format", "user"})
MESSAGE_FIELDS: Final = frozenset({"role", "content", "name", "refusal", "tool_calls", "tool_call_id"})

EXACT_CHARS_MAX: Final = 8_192
"""Of one request; texts beyond it are bounded. To count so many takes 0.4 ms in English, 2.5 ms at worst."""

_PLAIN_MESSAGE_FIELDS: Final = frozenset({"role", "content"})
_ROLES: Final = frozenset({"system", "developer", "user", "assistant", "tool"})
_PART_TEXTS: Final = {"text": "text", "refusal": "refusal"}
_IMAGE_FIELDS: Final = frozenset({"url", "detail"})
_IMAGE_SOURCES: Final = ("https://", "http://", "data:image/")
_WORD_CHARS_MAX: Final = 64


class Measure(NamedTuple):
    """How the parts of a request are measured, for one model: the most tokens of each."""

    bound: InputBound
    text: Callable[[str], int]
    quoted: Callable[[str], int]
    """Of a text that may be sent as a JSON string."""
    json: Callable[[Any], int]
    """Bytes of a JSON value, however it is rendered."""
    images: ImageBound | None


def measure(
    bound: InputBound, images: ImageBound | None = None, counter: TokenCounter | None = None
) -> Measure:
    """For one request: what `counter` counts is limited to EXACT_CHARS_MAX."""
    text, quoted, value = _SIZES[bound.kind]
    if counter is not None:
        text = _Exact(counter, text).size
    return Measure(bound, text, quoted, value, images)


def chat_tokens_max(request: Mapping[str, Any], by: Measure) -> int:
    """Of a chat completion.

    Raises JobRefused (`invalid_request`, `unpriced_parameter`, `unpriced_content`).
    """
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages:
        _invalid("messages", "it must be a list of messages")
    tokens = by.bound.request_tokens + len(messages) * by.bound.message_tokens
    for message in messages:
        tokens += _message_tokens(message, by)
    for field in ("tool_choice", "response_format"):
        value = request.get(field)
        if value is not None and not isinstance(value, str):
            tokens += _json_tokens(value, by)
    tools = request.get("tools")
    return tokens if tools is None else tokens + _tools_tokens(tools, by)


def embeddings_tokens_max(request: Mapping[str, Any], by: Measure) -> int:
    """Of an embeddings call: a text, texts, token ids, or lists of token ids.

    Raises JobRefused (`invalid_request`).
    """
    given = request.get("input")
    inputs: list[Any] = given if isinstance(given, list) else [given] if isinstance(given, str) else []
    kinds = set(map(type, inputs))
    if kinds == {int}:
        return by.bound.request_tokens + by.bound.message_tokens + len(inputs)
    if kinds == {str}:
        tokens = sum(map(by.text, inputs))
    elif kinds == {list} and all(set(map(type, ids)) == {int} for ids in inputs):
        tokens = sum(len(ids) for ids in inputs)
    else:
        _invalid("input", "it must be a text, a list of texts, a list of token ids, or a list of such lists")
    return by.bound.request_tokens + len(inputs) * by.bound.message_tokens + tokens


def refuse_unknown(fields: Mapping[str, Any], known: frozenset[str], where: str = "") -> None:
    """Raise JobRefused (`unpriced_parameter`) for the first field that is not on the list."""
    if not known.issuperset(fields):
        name = where + _word(next(field for field in fields if field not in known))
        raise JobRefused(Refusal.UNPRICED_PARAMETER, f"{name} cannot be priced", name)


def _message_tokens(message: Any, by: Measure) -> int:
    if not isinstance(message, dict):
        _invalid("messages", "each must be an object")
    refuse_unknown(message, MESSAGE_FIELDS, "messages.")
    role = message.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        _invalid("messages.role", "it is not a known role")
    size = by.quoted if role == "tool" else by.text
    content = message.get("content")
    tokens = size(content) if isinstance(content, str) else _parts_tokens(content, by, size)
    if not _PLAIN_MESSAGE_FIELDS.issuperset(message):
        tokens += _extra_tokens(message, by, size)
    return tokens


def _parts_tokens(content: Any, by: Measure, size: Callable[[str], int]) -> int:
    if content is None:
        return 0
    if not isinstance(content, list):
        _invalid("messages.content", "it must be a text or a list of parts")
    tokens = len(content) * by.bound.message_tokens
    for part in content:
        if not isinstance(part, dict):
            _invalid("messages.content", "each part must be an object")
        tokens += (
            _image_tokens(part, by.images) if part.get("type") == "image_url" else size(_part_text(part))
        )
    return tokens


def _part_text(part: Mapping[str, Any]) -> str:
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


def _image_tokens(part: Mapping[str, Any], images: ImageBound | None) -> int:
    """What an image costs depends on its size, which is not looked at: the most that any image can."""
    where = "messages.content.image_url"
    if images is None:
        raise JobRefused(
            Refusal.UNPRICED_CONTENT, "content of type image_url has no bound for this model", where
        )
    refuse_unknown(part, frozenset({"type", "image_url"}), "messages.content.")
    image = part.get("image_url")
    if not isinstance(image, dict):
        _invalid(where, "it must be an object")
    refuse_unknown(image, _IMAGE_FIELDS, f"{where}.")
    url = image.get("url")
    if not isinstance(url, str) or not url.startswith(_IMAGE_SOURCES):
        _invalid(f"{where}.url", "it must be an http or https address, or an image as a data URL")
    return images.low_detail_tokens if image.get("detail") == "low" else images.tokens


def _extra_tokens(message: Mapping[str, Any], by: Measure, size: Callable[[str], int]) -> int:
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
    return tokens + len(calls) * by.bound.tool_tokens + _json_tokens(calls, by)


def _tools_tokens(tools: Any, by: Measure) -> int:
    if not isinstance(tools, list):
        _invalid("tools", "it must be a list")
    for tool in tools:
        kind = tool.get("type") if isinstance(tool, dict) else None
        if kind != "function":
            # Others run at the provider, for a price of their own.
            raise JobRefused(Refusal.UNPRICED_CONTENT, f"tool type {_word(kind)} cannot be priced", "tools")
    return by.bound.tools_tokens + len(tools) * by.bound.tool_tokens + _json_tokens(tools, by)


def _json_tokens(value: Any, by: Measure) -> int:
    return by.bound.json_tokens_per_byte * by.json(value)


class _Exact:
    """The exact count of the first texts of a request, and never more than their bound."""

    def __init__(self, counter: TokenCounter, bound: Callable[[str], int]) -> None:
        self._counter = counter
        self._bound = bound
        self._chars_left = EXACT_CHARS_MAX

    def size(self, text: str) -> int:
        bound = self._bound(text)
        if len(text) > self._chars_left:
            return bound
        self._chars_left -= len(text)
        return min(bound, self._counter.count(text))


def _utf8_size(text: str) -> int:
    # A lone surrogate cannot be sent as it is; what replaces it has three bytes, as `surrogatepass` gives it.
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _nfc_size(text: str) -> int:
    """NFC can lengthen a text up to three times in UTF-8 (Unicode Standard Annex 15)."""
    return len(text) if text.isascii() else _utf8_size(normalized("NFC", text))


def _nfkc_size(text: str) -> int:
    """NFKC can lengthen a text eleven times in UTF-8: U+FDFA is 3 bytes, and 18 characters of 33 bytes."""
    return len(text) if text.isascii() else _utf8_size(normalized("NFKC", text))


def _json_size(value: Any) -> int:
    """Some chat templates write a tool's result as a JSON string. At least as long as the text's NFC."""
    return _escaped_size(json.dumps(value))


def _nfkc_json_size(value: Any) -> int:
    """Sent with escapes it stays as it is; sent without, it is normalized and may be longer."""
    escaped, raw = _json_size(value), json.dumps(value, ensure_ascii=False)
    if raw.isascii():
        return escaped
    return max(escaped, _json_size(normalized("NFKC", raw)))


def _no_size(_value: Any) -> int:
    """All is inside the window, which counts once a request."""
    return 0


def _escaped_size(rendered: str) -> int:
    """Of JSON with ASCII escapes, had it HTML-safe ones too, which make six characters of `<`."""
    return len(rendered) + 5 * sum(map(rendered.count, "<>&'"))


_SIZES: Final[Mapping[str, tuple[Callable[[str], int], Callable[[str], int], Callable[[Any], int]]]] = {
    "utf8_bytes": (_utf8_size, _json_size, _json_size),
    "nfc_utf8_bytes": (_nfc_size, _json_size, _json_size),
    "nfkc_utf8_bytes": (_nfkc_size, _nfkc_json_size, _nfkc_json_size),
    "context_window": (_no_size, _no_size, _no_size),
}


def _word(value: Any) -> str:
    """Names are for messages; what does not look like one may be a piece of a prompt."""
    is_word = isinstance(value, str) and len(value) <= _WORD_CHARS_MAX and value.isidentifier()
    return value if is_word else "(not a name)"


def _invalid(param: str, what: str) -> NoReturn:
    raise JobRefused(Refusal.INVALID_REQUEST, f"{param}: {what}", param)
