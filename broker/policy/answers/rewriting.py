"""Data taken out of an answer, in place: `[EMAIL_1]` where an address stood."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import orjson

from broker.policy.answers.reading import LOGPROBS, Place
from broker.policy.dlp.replacing import Placeholders
from broker.policy.dlp.spans import Span, cover

_STRING: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


def rewrite(
    document: Any,
    places: Sequence[Place],
    spans: Sequence[Sequence[Span]],
    types: Collection[str],
    reserved: Iterable[str],
) -> None:
    """`spans` of each place; those of `types` go. `reserved`: placeholders that will be put back, and
    so stand for something else.

    A choice that something is taken out of loses its log probabilities: its tokens spell the text once more.
    """
    placeholders = Placeholders((place.text for place in places), reserved)
    names: dict[int, _Renaming] = {}
    for place, found in zip(places, spans, strict=True):
        covered = cover((span for span in found if span.type in types), lambda _: False)
        if not covered:
            continue
        without = _without(place, covered, placeholders)
        if place.is_key:
            names.setdefault(id(place.holder), _Renaming(place.holder, {})).names[place.key] = str(without)
        else:
            place.holder[place.key] = without
        if place.choice is not None:
            _forget_tokens(document["choices"][place.choice])
    for renaming in names.values():
        renaming.act()


class _Renaming(NamedTuple):
    """Of properties of one object, all at once, when what stands under them is as it will be."""

    holder: dict[str, Any]
    names: dict[str, str]

    def act(self) -> None:
        items = [(self.names.get(name, name), child) for name, child in self.holder.items()]
        self.holder.clear()
        self.holder.update(items)


def _without(place: Place, spans: Sequence[Span], placeholders: Placeholders) -> str | None:
    if place.key == LOGPROBS:
        return None
    bare = _outside_strings(place.text, spans) if _is_json(place.text) else set()
    parts: list[str] = []
    last = 0
    for span in spans:
        placeholder = placeholders.redact(span.type, place.text[span.start : span.end])
        parts += (place.text[last : span.start], f'"{placeholder}"' if span in bare else placeholder)
        last = span.end
    return "".join((*parts, place.text[last:]))


def _forget_tokens(choice: Any) -> None:
    if isinstance(choice, dict) and choice.get(LOGPROBS) is not None:
        choice[LOGPROBS] = None


def _is_json(text: str) -> bool:
    """An object or a list, as the arguments of a call and structured output are."""
    if text.lstrip()[:1] not in {"{", "["}:
        return False
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _outside_strings(document: str, spans: Sequence[Span]) -> set[Span]:
    """Those that stand in no string of the JSON: a card's number may be written as a number. What takes its
    place is a string.
    """
    bare: set[Span] = set()
    strings = _ends(document)
    start, end = next(strings)
    for span in spans:
        while end <= span.start:
            start, end = next(strings)
        if span.end <= start:
            bare.add(span)
    return bare


def _ends(document: str) -> Iterator[tuple[int, int]]:
    yield from (found.span() for found in _STRING.finditer(document))
    yield len(document), len(document) + 1
