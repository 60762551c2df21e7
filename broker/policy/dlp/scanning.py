"""The view of a text that detectors search, and the patterns they search it with.

A view has one byte for each character, so that an offset in it is an offset in the text: Latin-1 as it is,
full-width and other styled letters of ASCII and the decimal digits of all scripts as ASCII, unusual spaces
and hyphens as the usual ones, `?` for everything else. Patterns are RE2, which runs in linear time.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache
from typing import NamedTuple, Protocol

import numpy as np
import re2
from numpy.typing import NDArray

from broker.policy.pattern_sets import pattern_set

_FOLDED_BELOW = 0x20000
"""No decimal digit and no styled form of ASCII stands above this code point."""
_SIGNS_BYTES = 32 * 2**20
_DASHES = "\u2010\u2011\u2012\u2013\u2212\ufe58\ufe63"
_SPACES = "\u00a0\u1680\u2028\u2029\u202f\u205f\u3000"
_INVISIBLE = "\u00ad\u200b\u200c\u200d\u2060\ufeff"
_UNSEEN = (
    "\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069"
    "\ufe00-\ufe0f\ufeff\U000e0000-\U000e01ef"
)
"""Characters that nobody sees, and that a model reads over."""
_ESCAPE = r"\\u[0-9A-Fa-f]{4}"
_UNKNOWN = ord("?")
_WRITTEN_OTHERWISE = re.compile(rf"[{_UNSEEN}]+|\\u([0-9A-Fa-f]{{4}})")
"""Those, and JSON's escapes, which stand in the arguments of tool calls."""
_MARKS = frozenset("@.-_+:/()='\"")
"""What joins the parts of what is looked for."""
_DIGITS = b"0123456789"
ROW_MIN = 7
"""Digits in a row, of what is told by them."""
_WITHIN_NUMBERS = b" -./()+"
_AS_ROWS = bytes(
    ord("0") if byte in _DIGITS else ord("-") if byte in _WITHIN_NUMBERS else ord(" ") for byte in range(256)
)

WORD = frozenset(
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_" + bytes(range(0xC0, 0x100))
)
"""Bytes of a view that belong to a word."""
DIGIT = frozenset(_DIGITS)
_HYPHEN, _POINT = b"-."


class View(NamedTuple):
    data: bytes
    """As many bytes as the text has characters."""
    digits: int
    """How many of the bytes are decimal digits."""
    rows: bytes
    """The rows of digits, each digit a `0`; what may stand within a number parts no row. Empty where there
    are too few digits for any that is looked for.
    """
    as_seen: bool
    """Nobody sees the text otherwise than it is written (`seen`); False too where it takes a look to tell."""

    def may_hold(self, digits: int) -> bool:
        """There are so many digits, and in one row if they are ROW_MIN or more."""
        return self.digits >= digits and (digits < ROW_MIN or b"0" * digits in self.rows)


class Found(Protocol):
    def start(self, group: int = 0, /) -> int: ...

    def end(self, group: int = 0, /) -> int: ...

    def group(self, group: int = 0, /) -> bytes: ...


class Pattern(Protocol):
    @property
    def pattern(self) -> bytes: ...

    def search(self, text: bytes, pos: int = ..., endpos: int = ...) -> Found | None: ...

    def match(self, text: bytes, pos: int = ..., endpos: int = ...) -> Found | None: ...

    def finditer(self, text: bytes) -> Iterator[Found]: ...


def pattern(source: str) -> Pattern:
    """RE2 over views; raises ValueError where the pattern is not RE2's."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.log_errors = False
    return _compiled(source.encode("latin-1"), options)


class Signs:
    """Which of many patterns stand in a view: one pass for all, where each by itself costs as much."""

    def __init__(self, sources: Iterable[str]) -> None:
        self._set = pattern_set(sources, _SIGNS_BYTES, latin1=True)

    def held(self, data: bytes) -> list[int]:
        """Places of the patterns that match somewhere, sorted."""
        return sorted(self._set.Match(data) or ())


def utf8_pattern(source: str, max_memory_bytes: int, ignore_case: bool = False) -> Pattern:
    """RE2 over UTF-8; raises ValueError where the pattern is not RE2's or takes more memory."""
    options = re2.Options()
    options.max_mem = max_memory_bytes
    options.case_sensitive = not ignore_case
    options.log_errors = False
    return _compiled(source.encode(), options)


def _compiled(source: bytes, options: re2.Options) -> Pattern:
    try:
        compiled: Pattern = re2.compile(source, options)
    except re2.error as error:
        reason = error.args[0] if error.args else "not a pattern"
        raise ValueError(reason.decode() if isinstance(reason, bytes) else str(reason)) from None
    return compiled


def view(text: str) -> View:
    data, as_seen = _single_bytes(text)
    digits = len(data) - len(data.translate(None, _DIGITS))
    rows = data.translate(_AS_ROWS).translate(None, b"-") if digits >= ROW_MIN else b""
    return View(data, digits, rows, as_seen)


class Seen(NamedTuple):
    """A text without the characters that nobody sees, and without escapes.

    `places`: where in the text each of its characters stands, and last the text's end.
    """

    text: str
    places: tuple[int, ...]


def seen(text: str) -> Seen | None:
    """None where it is written as it is seen."""
    if _hiding().search(text.encode("utf-8", "replace")) is None:
        return None
    parts: list[str] = []
    places: list[int] = []
    last = 0
    for found in _WRITTEN_OTHERWISE.finditer(text):
        parts.append(text[last : found.start()])
        places += range(last, found.start())
        if found[1]:
            parts.append(_escaped(found[1]))
            places.append(found.start())
        last = found.end()
    places += range(last, len(text) + 1)
    return Seen("".join((*parts, text[last:])), tuple(places))


def _escaped(digits: str) -> str:
    """Of a pair of surrogates, which stands for what is looked for nowhere, two question marks."""
    code = int(digits, 16)
    return "?" if 0xD800 <= code < 0xE000 else chr(code)


def _single_bytes(text: str) -> tuple[bytes, bool]:
    """A view's bytes, and whether it is as it is seen."""
    if text.isascii():
        return text.encode("ascii"), "\\" not in text or "\\u" not in text
    folding = _folding()
    if folding.far.search(text.encode("utf-8", "replace")) is None:
        return text.encode("latin-1", "replace").translate(folding.near), True
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    return folding.every.take(codes, mode="clip").tobytes(), False


class _Folding(NamedTuple):
    every: NDArray[np.uint8]
    """A byte for each code point; the last one is that of all that lie behind."""
    near: bytes
    """The same of Latin-1."""
    far: Pattern
    """What is beyond and yet no `?`, and what `seen` may leave out: in few texts there is any."""


@cache
def _folding() -> _Folding:
    every = "".join(map(_folded, range(_FOLDED_BELOW))).encode("latin-1")
    far = "".join(rf"\x{{{code:X}}}" for code in range(0x100, _FOLDED_BELOW) if every[code] != _UNKNOWN)
    hiding = rf"[{far}{_UNSEEN}]|{_ESCAPE}"
    return _Folding(np.frombuffer(every, np.uint8), every[:0x100], utf8_pattern(hiding, _SIGNS_BYTES))


@cache
def _hiding() -> Pattern:
    return utf8_pattern(rf"[{_UNSEEN}]|{_ESCAPE}", _SIGNS_BYTES)


def _folded(code: int) -> str:
    character = chr(code)
    if character in _DASHES:
        return "-"
    if character in _INVISIBLE or character in _SPACES or 0x2000 <= code <= 0x200A:
        return " "
    if code < 0x100:
        return character
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    plain = unicodedata.normalize("NFKC", character)
    return plain if plain.isascii() and (plain.isalnum() or plain in _MARKS) and len(plain) == 1 else "?"


def begins_word(data: bytes, start: int) -> bool:
    """Nothing of a word stands before `start`, nor a part joined by a hyphen or a number by a point."""
    if not start:
        return True
    if data[start - 1] in WORD:
        return False
    return start == 1 or not _joins(data[start - 1], data[start - 2])


def ends_word(data: bytes, end: int) -> bool:
    """Nothing of a word stands at `end`, nor a part joined by a hyphen or a number by a point."""
    if end >= len(data):
        return True
    if data[end] in WORD:
        return False
    return end + 1 == len(data) or not _joins(data[end], data[end + 1])


def _joins(joint: int, neighbor: int) -> bool:
    return (joint == _HYPHEN and neighbor in WORD) or (joint == _POINT and neighbor in DIGIT)
