"""The bodies of answers in OpenAI's formats. Each says that it is simulated; same request, same answer."""

import base64
import random
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from typing import Any, Final

import orjson

from headworks.simulate.behaviour import Behaviour, Fault
from headworks.simulate.faults import Fate
from headworks.simulate.requests import BYTES_A_TOKEN, DIMENSIONS_MAX, ChatRequest, EmbeddingsRequest

STATEMENT: Final = "This answer is simulated; no model was asked."
FINGERPRINT: Final = "simulated"
STREAM_PIECES_MAX: Final = 64
_WORDS: Final = (
    "water gate weir sluice lock canal stream lake spring source head level flow bank bridge mill wheel pool "
    "runs opens holds turns carries meets crosses leaves the a each every slow clear deep wide early late"
)
_ERROR_TYPES: Final = {401: "invalid_request_error", 429: "requests"}
_ERROR_CODES: Final = {401: "invalid_api_key", 404: "not_found", 429: "rate_limit_exceeded"}


@dataclass(frozen=True, slots=True)
class Completion:
    """One chat answer before it is written out, whole or streamed.

    `completion_tokens` is the truth; `usage` is what the answer says of it, or None where it says nothing.
    """

    id: str
    model: str
    created: int
    text: str
    choices: int
    finish_reason: str
    completion_tokens: int
    usage: dict[str, Any] | None


def completion_of(
    request: ChatRequest, body_sha256: bytes, behaviour: Behaviour, fate: Fate, now: float
) -> Completion:
    """Text, length and token counts follow from the hash of the request; a fate's content replaces the text.

    The statement stands whole even where the request's limit is shorter; the token count keeps to the limit.
    """
    seed = int.from_bytes(body_sha256[:8])
    content = fate.content
    wanted = _tokens_wanted(behaviour, seed, content)
    limit = request.completion_tokens_limit
    tokens = wanted if limit is None else min(wanted, limit)
    bytes_min = behaviour.oversized_bytes if fate.fault is Fault.OVERSIZED else tokens * BYTES_A_TOKEN
    return Completion(
        id=f"chatcmpl-simulated-{body_sha256[:12].hex()}",
        model=request.model,
        created=int(now),
        text=_text(seed, bytes_min) if content is None else f"{STATEMENT} {_cut(content, tokens)}",
        choices=request.choices,
        finish_reason="stop" if tokens == wanted else "length",
        completion_tokens=tokens * request.choices,
        usage=_usage_with(fate.fault, request.prompt_tokens, tokens * request.choices, seed),
    )


def _tokens_wanted(behaviour: Behaviour, seed: int, content: str | None) -> int:
    if content is not None:
        return max(1, -(-len(content.encode()) // BYTES_A_TOKEN))
    span = behaviour.completion_tokens_max - behaviour.completion_tokens_min + 1
    return behaviour.completion_tokens_min + seed % span


def _cut(content: str, tokens: int) -> str:
    return content.encode()[: tokens * BYTES_A_TOKEN].decode(errors="ignore")


def whole_chat(completion: Completion) -> bytes:
    """The body of an unstreamed answer (`chat.completion`)."""
    answer: dict[str, Any] = {
        **_heading(completion, "chat.completion"),
        "choices": [
            {
                "index": index,
                "message": {"role": "assistant", "content": completion.text, "refusal": None},
                "logprobs": None,
                "finish_reason": completion.finish_reason,
            }
            for index in range(completion.choices)
        ],
    }
    if completion.usage is not None:
        answer["usage"] = completion.usage
    return orjson.dumps(answer)


def streamed_chat(completion: Completion, *, include_usage: bool) -> Iterator[bytes]:
    """Server-sent events (`chat.completion.chunk`): role, pieces of text, finish, usage if asked, [DONE]."""
    blank_usage = {"usage": None} if include_usage else {}
    indexes = range(completion.choices)
    for index in indexes:
        yield _event(completion, [_delta(index, {"role": "assistant", "content": ""}, None)], blank_usage)
    for piece in _pieces(completion.text):
        for index in indexes:
            yield _event(completion, [_delta(index, {"content": piece}, None)], blank_usage)
    for index in indexes:
        yield _event(completion, [_delta(index, {}, completion.finish_reason)], blank_usage)
    if include_usage and completion.usage is not None:
        yield _event(completion, [], {"usage": completion.usage})
    yield b"data: [DONE]\n\n"


def _heading(completion: Completion, kind: str) -> dict[str, Any]:
    return {
        "id": completion.id,
        "object": kind,
        "created": completion.created,
        "model": completion.model,
        "system_fingerprint": FINGERPRINT,
    }


def _delta(index: int, delta: dict[str, str], finish_reason: str | None) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _event(completion: Completion, choices: list[dict[str, Any]], more: dict[str, Any]) -> bytes:
    chunk = {**_heading(completion, "chat.completion.chunk"), "choices": choices, **more}
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


def _pieces(text: str) -> Iterator[str]:
    size = max(16, -(-len(text) // STREAM_PIECES_MAX))
    for start in range(0, len(text), size):
        yield text[start : start + size]


def embeddings_body(request: EmbeddingsRequest, behaviour: Behaviour, fault: Fault | None) -> bytes:
    """Vectors derived from each input's hash; `system_fingerprint` says they are simulated."""
    answer: dict[str, Any] = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": _vector(one, request)}
            for index, one in enumerate(request.inputs)
        ],
        "model": request.model,
        "system_fingerprint": FINGERPRINT,
    }
    usage = _usage_with(fault, request.prompt_tokens, 0, len(request.inputs))
    if usage is not None:
        answer["usage"] = {name: usage[name] for name in ("prompt_tokens", "total_tokens")}
    if fault is Fault.OVERSIZED:
        answer["padding"] = _text(0, behaviour.oversized_bytes)
    return orjson.dumps(answer)


def models_body(models: tuple[str, ...]) -> bytes:
    data = [{"id": name, "object": "model", "created": 0, "owned_by": FINGERPRINT} for name in models]
    return orjson.dumps({"object": "list", "data": data})


def error_body(status: int, reason: str, param: str | None = None) -> bytes:
    """OpenAI's error object; the message says first who speaks."""
    kind = _ERROR_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    error = {
        "message": f"Simulated provider: {reason}",
        "type": kind,
        "param": param,
        "code": _ERROR_CODES.get(status),
    }
    return orjson.dumps({"error": error})


def broken(body: bytes) -> bytes:
    """As long as `body` and almost like it, but not JSON: its last closing brace is a bracket."""
    return body[:-1] + b"]"


def _usage_with(
    fault: Fault | None, prompt_tokens: int, completion_tokens: int, seed: int
) -> dict[str, Any] | None:
    if fault is Fault.MISSING_USAGE:
        return None
    if fault is Fault.ABSURD_USAGE:
        return _absurd_usage(seed % 3)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def _absurd_usage(variant: int) -> dict[str, Any]:
    nonsense: Any = (-7, 10**18, "many")[variant]
    return {"prompt_tokens": nonsense, "completion_tokens": nonsense, "total_tokens": nonsense}


def _text(seed: int, bytes_min: int) -> str:
    """The statement, then words from an offset that `seed` gives; at least `bytes_min` long, ASCII."""
    words = _book()
    missing = bytes_min - len(STATEMENT) - 1
    if missing <= 0:
        return STATEMENT
    start = words.find(" ", seed % (len(words) // 2)) + 1
    if start + missing > len(words):
        words = words[:start] + words[start:] * (missing // (len(words) - start) + 1)
    return f"{STATEMENT} {words[start : start + missing]}"


@cache
def _book() -> str:
    chooser = random.Random("headworks")  # not for secrets: the same words in every process
    return " ".join(chooser.choices(_WORDS.split(), k=8192)) + " "


@cache
def _numbers() -> tuple[float, ...]:
    chooser = random.Random("headworks")
    spread = DIMENSIONS_MAX**-0.5
    return tuple(round(chooser.gauss(0, spread), 7) for _ in range(4 * DIMENSIONS_MAX))


def _vector(derived_from: bytes, request: EmbeddingsRequest) -> tuple[float, ...] | str:
    start = int.from_bytes(blake2b(derived_from, digest_size=8).digest()) % (3 * DIMENSIONS_MAX)
    numbers = _numbers()[start : start + request.dimensions]
    return base64.b64encode(array("f", numbers).tobytes()).decode() if request.base64 else numbers
