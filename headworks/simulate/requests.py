"""Reads the two OpenAI request bodies as far as an answer depends on them, and counts their tokens."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

TOKENS_A_MESSAGE = 3
"""What OpenAI's own counting guide adds for a message's role and delimiters."""
BYTES_A_TOKEN = 4
CHOICES_MAX = 128
DIMENSIONS_DEFAULT = 1536
DIMENSIONS_MAX = 4096
INPUTS_MAX = 2048


class RequestRefused(ValueError):
    """The body is not a request this endpoint answers; `param` is the field at fault, or None."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


@dataclass(frozen=True, slots=True)
class ChatRequest:
    model: str
    prompt_tokens: int
    completion_tokens_limit: int | None
    """For each choice; None where the request sets none."""
    choices: int
    stream: bool
    include_usage: bool


@dataclass(frozen=True, slots=True)
class EmbeddingsRequest:
    model: str
    inputs: tuple[bytes, ...]
    """One a vector, in order: what the vector is derived from."""
    prompt_tokens: int
    dimensions: int
    base64: bool


def read_chat(body: bytes) -> ChatRequest:
    """Raises RequestRefused."""
    fields = _object(body)
    messages = fields.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(one, dict) for one in messages):
        raise RequestRefused("'messages' must be a list of one message or more", "messages")
    limit_name = "max_completion_tokens" if fields.get("max_completion_tokens") is not None else "max_tokens"
    options = fields.get("stream_options")
    return ChatRequest(
        model=_model(fields),
        prompt_tokens=_chat_tokens(messages, fields.get("tools")),
        completion_tokens_limit=_whole(fields, limit_name, None, 1, 2**53),
        choices=_whole(fields, "n", 1, 1, CHOICES_MAX) or 1,
        stream=fields.get("stream") is True,
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
    )


def read_embeddings(body: bytes) -> EmbeddingsRequest:
    """Raises RequestRefused."""
    fields = _object(body)
    inputs = tuple(_embedding_inputs(fields.get("input")))
    if not 1 <= len(inputs) <= INPUTS_MAX:
        raise RequestRefused(f"'input' must hold 1 to {INPUTS_MAX} inputs", "input")
    encoding = fields.get("encoding_format", "float")
    if encoding not in {"float", "base64"}:
        raise RequestRefused("'encoding_format' must be float or base64", "encoding_format")
    return EmbeddingsRequest(
        model=_model(fields),
        inputs=tuple(derived for derived, _ in inputs),
        prompt_tokens=sum(tokens for _, tokens in inputs),
        dimensions=_whole(fields, "dimensions", DIMENSIONS_DEFAULT, 1, DIMENSIONS_MAX) or DIMENSIONS_DEFAULT,
        base64=encoding == "base64",
    )


def model_of(body: bytes) -> str | None:
    """The model a body names, or None: for the record of a call that is refused unread."""
    try:
        return _model(_object(body))
    except RequestRefused:
        return None


def _object(body: bytes) -> dict[str, Any]:
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError:
        # Not the decoder's own text: it quotes the document, and the document is a prompt.
        raise RequestRefused("the body is not valid JSON") from None
    if not isinstance(fields, dict):
        raise RequestRefused("the body must be a JSON object")
    return fields


def _model(fields: dict[str, Any]) -> str:
    model = fields.get("model")
    if not isinstance(model, str) or not model:
        raise RequestRefused("'model' must be a name", "model")
    return model


def _whole(fields: dict[str, Any], name: str, default: int | None, least: int, most: int) -> int | None:
    value = fields.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise RequestRefused(f"'{name}' must be a whole number from {least} to {most}", name)
    return value


def _chat_tokens(messages: list[dict[str, Any]], tools: Any) -> int:
    """A quarter of the text's bytes and TOKENS_A_MESSAGE a message: below one token a byte, by design."""
    text_tokens = sum(_tokens(text) for message in messages for text in _texts(message.get("content")))
    tool_tokens = -(-len(orjson.dumps(tools)) // BYTES_A_TOKEN) if tools else 0
    return text_tokens + tool_tokens + TOKENS_A_MESSAGE * len(messages)


def _texts(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in content:
            if isinstance(part, dict) and isinstance(part.get("text"), str):
                yield part["text"]


def _tokens(text: str) -> int:
    return -(-_byte_count(text) // BYTES_A_TOKEN)


def _byte_count(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _embedding_inputs(given: Any) -> Iterator[tuple[bytes, int]]:
    """(what the vector is derived from, tokens) for a text, a list of texts, token ids, or lists of them."""
    if isinstance(given, list) and given and isinstance(given[0], str | list):
        for one in given:
            yield _embedding_input(one)
    else:
        yield _embedding_input(given)


def _embedding_input(one: Any) -> tuple[bytes, int]:
    if isinstance(one, str) and one:
        return one.encode(), max(1, _tokens(one))
    if isinstance(one, list) and one and all(type(token) is int for token in one):
        return orjson.dumps(one), len(one)
    raise RequestRefused("'input' must be text, token ids, or a list of either, and not empty", "input")
