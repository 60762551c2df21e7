"""A provider's answer as it is judged: its choices, and every text in it with its place.

Providers add fields of their own, such as a model's reasoning, so no list of fields is kept: every string is
a text, names of properties too, but for the few that stand outside the model's reach, the names that the API
itself has, and embeddings. Nothing here fails on any JSON.
"""

from collections.abc import Collection, Iterable, Iterator
from itertools import zip_longest
from typing import Any, Final, NamedTuple

import orjson

TEXTS_MAX: Final = 10_000
"""In one answer; each has its price, however short."""
DEPTH_MAX: Final = 128
"""Of the answer's JSON."""
NAME_CHARS_MAX: Final = 128

_OUTSIDE: Final = frozenset(
    {"choices", "id", "object", "created", "model", "system_fingerprint", "service_tier", "usage"}
)
"""Fields of the answer that the provider's server fills in, and its choices, which are read one by one."""
_KINDS: Final = frozenset({"finish_reason", "id", "object", "role", "type"})
LOGPROBS: Final = "logprobs"
_TOKENS: Final = frozenset({"token", "tokens"})
_ALTERNATIVES: Final = "top_logprobs"
_OPTION: Final = frozenset({"bytes", "logprob", "token"})
_NAMES: Final = frozenset({
    "annotations", "arguments", "audio", "bytes", "choices", "content", "created", "data",
    "embedding", "end_index", "expires_at", "finish_reason", "format", "function", "function_call",
    "id", "index", "input", "logprob", "logprobs", "message", "model", "name", "object",
    "reasoning", "reasoning_content", "reasoning_details", "refusal", "role", "signature",
    "start_index", "summary", "system_fingerprint", "text", "title", "token", "tokens",
    "tool_calls", "transcript", "type", "url", "url_citation", "usage",
})  # fmt: skip
"""Of properties that answers have; every other name is a text."""
_VECTOR: Final = "embedding"
"""Numbers, or base64, of which nobody can read anything."""


class TooMuch(Exception):
    """An answer that is too deep, or has too many texts, to be judged."""


class Place(NamedTuple):
    """A text of the answer: `holder[key]`, or with `is_key` the name `key` itself. `choice`: its choice's
    position; None outside of choices.
    """

    holder: Any
    key: Any
    text: str
    choice: int | None
    is_content: bool = False
    """It is what the choice says, or a part of that; parts are read as one too."""
    is_key: bool = False
    is_alternative: bool = False
    """It is made of tokens that the model might have said, and did not."""


class Call(NamedTuple):
    """Of a function; `name` and `arguments` are empty where the answer has no such texts."""

    name: str
    arguments: str


class Choice(NamedTuple):
    content: str
    """The texts of its content, one after another."""
    refusal: str
    """What the model says where it declines."""
    finish_reason: str
    calls: tuple[Call, ...]


class Reading(NamedTuple):
    choices: tuple[Choice, ...]
    places: tuple[Place, ...]
    plain: tuple[str, ...]
    """Every text once, as `plain` has it, and what a choice says in several parts as one."""

    @property
    def chars(self) -> int:
        """In all texts that the model said, but for those that tell of what kind something is."""
        return sum(len(place.text) for place in self._said() if not place.is_key)

    @property
    def said(self) -> Iterator[str]:
        """The same texts, and names of properties."""
        return (place.text for place in self._said())

    def _said(self) -> Iterator[Place]:
        return (place for place in self.places if not (place.is_alternative or place.key in _KINDS))


def read(document: dict[str, Any]) -> Reading:
    """`document`: the answer's JSON, parsed. Raises TooMuch."""
    choices = _list(_of(document, "choices"))
    places = tuple(_bounded(_places(document, choices)))
    read = tuple(map(_choice, choices))
    texts = dict.fromkeys([*(place.text for place in places), *(choice.content for choice in read)])
    return Reading(read, places, tuple(map(plain, texts)))


def plain(text: str) -> str:
    """Of a text that is JSON, such as the arguments of a call, its own texts and names without any escape, a
    line each; of any other the text.
    """
    if text.lstrip()[:1] not in {"{", "["}:
        return text
    try:
        return "\n".join(_words_of(orjson.loads(text)))
    except orjson.JSONDecodeError:
        return text


def _words_of(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        node = waiting.pop()
        if isinstance(node, str):
            yield node
        elif isinstance(node, dict):
            waiting += [part for pair in reversed(node.items()) for part in reversed(pair)]
        elif isinstance(node, list):
            waiting += reversed(node)


def _choice(raw: Any) -> Choice:
    message = _of(raw, "message")
    content = _of(message, "content")
    calls = [_call(each) for each in _list(_of(message, "tool_calls"))]
    if isinstance(single := _of(message, "function_call"), dict):
        calls.append(_called(single))
    return Choice(
        content=content if isinstance(content, str) else "".join(map(_part, _list(content))),
        refusal=_text(_of(message, "refusal")),
        finish_reason=_text(_of(raw, "finish_reason"))[:NAME_CHARS_MAX],
        calls=tuple(calls),
    )


def _part(part: Any) -> str:
    return _text(_of(part, "text"))


def _call(raw: Any) -> Call:
    """Of any kind: a call that is no function's has its name under its own type."""
    inner = _of(raw, "function")
    return _called(inner if isinstance(inner, dict) else _of(raw, _text(_of(raw, "type"))))


def _called(raw: Any) -> Call:
    return Call(_text(_of(raw, "name"))[:NAME_CHARS_MAX], _text(_of(raw, "arguments")))


def _bounded(places: Iterable[Place]) -> Iterator[Place]:
    for number, place in enumerate(places):
        if number >= TEXTS_MAX:
            raise TooMuch(f"an answer may have {TEXTS_MAX} texts")
        yield place


def _places(document: Any, choices: list[Any]) -> Iterator[Place]:
    for position, choice in enumerate(choices):
        if isinstance(choice, str):
            yield Place(choices, position, choice, position)
        elif isinstance(choice, dict | list):
            yield from _of_choice(choice, position)
    yield from _strings(document, None, of_root=_OUTSIDE, anywhere=(_VECTOR,))


def _of_choice(choice: Any, position: int) -> Iterator[Place]:
    """Its tokens are its other texts once more, and a text where they are not; and so are alternatives."""
    message = _of(choice, "message")
    contents = {id(part) for part in (message, *_list(_of(message, "content")))}
    told: set[str] = set()
    for place in _strings(choice, position, of_root=(LOGPROBS,)):
        told.add(place.text)
        is_content = id(place.holder) in contents and place.key in {"content", "text"}
        yield place._replace(is_content=is_content)
    for tokens in _token_texts(_of(choice, LOGPROBS)):
        if tokens and tokens not in told:
            yield Place(choice, LOGPROBS, tokens, position)
    for tokens in _alternative_texts(_of(choice, LOGPROBS)):
        if tokens and tokens not in told:
            yield Place(choice, LOGPROBS, tokens, position, is_alternative=True)


def _token_texts(logprobs: Any) -> Iterator[str]:
    """Of each list of tokens the text that they make up, without alternatives."""
    if isinstance(logprobs, str):
        yield logprobs
    for child in logprobs.values() if isinstance(logprobs, dict) else _list(logprobs):
        found = _strings([child], None, anywhere=(_ALTERNATIVES,))
        yield "".join(place.text for place in found if place.key in _TOKENS or isinstance(place.holder, list))


def _alternative_texts(logprobs: Any) -> Iterator[str]:
    """Of each list of tokens what the first alternatives to each make up, then the second ones, and so on:
    whoever keeps a model from saying what it would have said finds it there.
    """
    for name, child in logprobs.items() if isinstance(logprobs, dict) else [("", logprobs)]:
        if name == _ALTERNATIVES:
            places = child if isinstance(child, list) else [child]
        else:
            places = [_of(entry, _ALTERNATIVES) for entry in _list(child)]
        yield from map("".join, zip_longest(*map(_options, places), fillvalue=""))


def _options(place: Any) -> list[str]:
    """What might have stood in one place, in order. Of the usual form there may be a hundred thousand."""
    if isinstance(place, list) and all(_is_option(each) for each in place):
        return [each["token"] for each in place]
    return [found.text for found in _strings([place], None)]


def _is_option(given: Any) -> bool:
    return isinstance(given, dict) and given.keys() <= _OPTION and isinstance(given.get("token"), str)


def _strings(
    root: Any, choice: int | None, of_root: Collection[str] = (), anywhere: Collection[str] = ()
) -> Iterator[Place]:
    """Every string and every name of a property below `root`, depth first and in order, without recursion.
    `of_root`, `anywhere`: names of fields that are passed over.
    """
    waiting: list[tuple[Any, int]] = [(root, 0)]
    while waiting:
        node, depth = waiting.pop()
        if isinstance(node, Place):
            yield node
            continue
        if depth > DEPTH_MAX:
            raise TooMuch(f"an answer may nest {DEPTH_MAX} levels")
        passed_over = {*anywhere, *of_root} if depth == 0 else anywhere
        found: list[tuple[Any, int]] = []
        for key, child in node.items() if isinstance(node, dict) else enumerate(node):
            if key in passed_over:
                continue
            if isinstance(key, str) and key not in _NAMES:
                found.append((Place(node, key, key, choice, is_key=True), depth))
            if isinstance(child, str):
                found.append((Place(node, key, child, choice), depth))
            elif isinstance(child, dict | list):
                found.append((child, depth + 1))
        waiting += reversed(found)


def _of(node: Any, key: str) -> Any:
    return node.get(key) if isinstance(node, dict) else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
