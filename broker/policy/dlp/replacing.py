"""Placeholders in place of what was found, and the way back.

A placeholder is `[EMAIL_1]`: the type and a number; the same value has the same number. The way out and the
way back are the same placeholders: a redaction forgets the values, tokens keep them in a mapping.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from broker.policy.dlp.spans import Span

_PLACEHOLDER = re.compile(r"\[[A-Za-z_][0-9A-Za-z_]{0,63}_[1-9][0-9]{0,8}\]")


class Placeholders:
    """Numbers the values of one job, over all its messages.

    A placeholder that a text already holds is never given out: what is put back is only what was taken out.
    """

    def __init__(self, texts: Iterable[str], reserved: Iterable[str] = ()) -> None:
        """`texts`: all that the placeholders will stand among. `reserved`: the keys of a mapping that is
        still to be put back, so that a redaction of the answer is not taken for a token of the request.
        """
        self._taken = {each.group() for text in texts if "[" in text for each in _PLACEHOLDER.finditer(text)}
        self._taken.update(reserved)
        self._given: dict[tuple[str, str], str] = {}
        self._numbers: dict[str, int] = {}
        self._kept: dict[str, str] = {}

    @property
    def mapping(self) -> Mapping[str, str]:
        """The value behind each placeholder that is a token."""
        return MappingProxyType(self._kept)

    def redact(self, type_: str, value: str) -> str:
        placeholder = self._given.get((type_, value))
        if placeholder is None:
            placeholder = self._given[type_, value] = self._next(type_)
        return placeholder

    def tokenize(self, type_: str, value: str) -> str:
        placeholder = self.redact(type_, value)
        self._kept[placeholder] = value
        return placeholder

    def _next(self, type_: str) -> str:
        while True:
            number = self._numbers[type_] = self._numbers.get(type_, 0) + 1
            placeholder = f"[{type_}_{number}]"
            if placeholder not in self._taken:
                return placeholder


Placeholder = Callable[[str, str], str]
"""From type and value to what stands in its place."""


def replace(text: str, spans: Iterable[Span], placeholder: Placeholder) -> str:
    """`spans`: sorted and disjoint, as a Finder gives them."""
    parts: list[str] = []
    last = 0
    for start, end, type_ in spans:
        parts += (text[last:start], placeholder(type_, text[start:end]))
        last = end
    return "".join((*parts, text[last:]))


def redact(text: str, spans: Iterable[Span]) -> str:
    return replace(text, spans, Placeholders((text,)).redact)


def tokenize(text: str, spans: Iterable[Span]) -> tuple[str, Mapping[str, str]]:
    """The text with placeholders, and the value behind each."""
    placeholders = Placeholders((text,))
    return replace(text, spans, placeholders.tokenize), placeholders.mapping


def restore(text: str, mapping: Mapping[str, str]) -> str:
    """Values put back, in one pass: what a value holds is not looked through again."""
    if not mapping or "[" not in text:
        return text
    return _PLACEHOLDER.sub(lambda found: mapping.get(found.group(), found.group()), text)


def restore_in_json(document: str, mapping: Mapping[str, str]) -> str:
    """For JSON text, such as a tool call's arguments: values are escaped as the inside of a JSON string."""
    return restore(document, {placeholder: json.dumps(value)[1:-1] for placeholder, value in mapping.items()})
