"""The language of rules over concepts: what a pattern says, as a tree, and what follows from it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, product
from math import prod

from broker.policy.injection.lexicon import END, PLAIN, Lexicon

_TOKEN = re.compile(
    r"<(?P<names>[^>]+)>|~(?P<gap>\d+)|(?P<count>\{\d+(?:,\d+)?\})|\[\^\]|[\^()|]|(?P<blank>\s+)"
)
_SPECIAL = {"END": frozenset({END}), "PLAIN": frozenset({PLAIN})}
# Symbols are two bytes of UTF-8 at most; saying so keeps RE2's automata small.
_ANY = "[\0-\u07ff]"
_NO_END = "[\0-\x09\x0b-\u07ff]"


class PatternInvalid(ValueError):
    """A pattern that the language does not have."""


@dataclass(frozen=True, slots=True)
class Word:
    """One word, by one of some symbols."""

    symbols: frozenset[str]


@dataclass(frozen=True, slots=True)
class Gap:
    """From `least` to `most` words of any kind, of one sentence unless `over_ends`."""

    least: int
    most: int
    over_ends: bool


@dataclass(frozen=True, slots=True)
class Start:
    """The beginning of the text, or an end of a sentence."""


@dataclass(frozen=True, slots=True)
class Row:
    """One part behind the other."""

    parts: tuple["Part", ...]


@dataclass(frozen=True, slots=True)
class Either:
    """One of some parts."""

    parts: tuple["Part", ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """A part from `least` to `most` times."""

    part: "Part"
    least: int
    most: int


Part = Word | Gap | Start | Row | Either | Repeat


def parse(pattern: str, words: Lexicon) -> Part:
    """Raises PatternInvalid; KeyError for a concept that the lexicon does not have."""
    return _Reader(pattern, words).whole()


class _Reader:
    def __init__(self, pattern: str, words: Lexicon) -> None:
        self._pattern = pattern
        self._words = words
        self._tokens = [token for token in _tokens(pattern) if not token["blank"]]

    def whole(self) -> Part:
        found = self._either()
        if self._tokens:
            raise PatternInvalid(f"{self._tokens[0][0]!r} ends what has not begun in {self._pattern!r}")
        return found

    def _either(self) -> Part:
        rows = [self._row()]
        while self._taken("|"):
            rows.append(self._row())
        return rows[0] if len(rows) == 1 else Either(tuple(rows))

    def _row(self) -> Part:
        parts = []
        while self._tokens and self._tokens[0][0] not in "|)":
            token = self._tokens.pop(0)
            parts.append(self._repeated(self._part(token), token))
        return parts[0] if len(parts) == 1 else Row(tuple(parts))

    def _part(self, token: re.Match[str]) -> Part:
        if token["names"]:
            return Word(self._symbols(token["names"]))
        if token["gap"]:
            return Gap(0, int(token["gap"]), over_ends=False)
        if token[0] == "[^]":
            return Gap(1, 1, over_ends=True)
        if token[0] == "^":
            return Start()
        return self._group(token)

    def _group(self, token: re.Match[str]) -> Part:
        if token[0] != "(":
            raise PatternInvalid(f"{token[0]!r} stands behind nothing in {self._pattern!r}")
        found = self._either()
        if not self._taken(")"):
            raise PatternInvalid(f"a group has no end in {self._pattern!r}")
        return found

    def _repeated(self, part: Part, token: re.Match[str]) -> Part:
        """`token`: what the part begins with."""
        if not self._tokens or not self._tokens[0]["count"]:
            return part
        least, _, most = self._tokens.pop(0)[0][1:-1].partition(",")
        counts = int(least), int(most or least)
        if token["gap"]:
            raise PatternInvalid(f"a gap has its count already in {self._pattern!r}")
        return Gap(*counts, over_ends=True) if token[0] == "[^]" else Repeat(part, *counts)

    def _taken(self, sign: str) -> bool:
        return bool(self._tokens and self._tokens[0][0] == sign and self._tokens.pop(0))

    def _symbols(self, names: str) -> frozenset[str]:
        return frozenset().union(
            *(_SPECIAL.get(name) or self._words.concepts[name] for name in names.split("|"))
        )


def _tokens(pattern: str) -> Iterator[re.Match[str]]:
    at = 0
    while at < len(pattern):
        token = _TOKEN.match(pattern, at)
        if token is None:
            raise PatternInvalid(f"{pattern[at]!r} says nothing in {pattern!r}")
        yield token
        at = token.end()


def expression(part: Part) -> str:
    """As a regular expression over a text of symbols, for RE2 as for Python's `re`."""
    match part:
        case Word(symbols):
            return f"[{''.join(sorted(symbols))}]"
        case Gap(least, most, over_ends):
            return f"{_ANY if over_ends else _NO_END}{{{least},{most}}}"
        case Start():
            return f"(?:^|{END})"
        case Row(parts):
            return "".join(map(expression, parts))
        case Either(parts):
            return f"(?:{'|'.join(map(expression, parts))})"
        case Repeat(inner, least, most):
            return f"(?:{expression(inner)}){{{least},{most}}}"


def nearest(part: Part) -> str:
    """The same for `re`, written so that it does not go back into a chain of gaps and words at the end.

    Nothing follows such a chain, so it may take the nearest word each time: one between two of its words is
    nearer to the next.
    """
    match part:
        case Row((*before, last)):
            return "".join(map(expression, before)) + nearest(last)
        case Repeat(Row((Gap(0) as gap, Word() as word)), least, count) if least == count:
            return f"(?>{expression(gap)}?{expression(word)}){{{count}}}"
    return expression(part)


def ways(part: Part) -> list[tuple[frozenset[str], ...]]:
    """The ways through the alternatives: the sets of which a text that matches by that way has one each."""
    match part:
        case Word(symbols) if PLAIN not in symbols:
            return [(symbols,)]
        case Row(parts):
            return [tuple(chain.from_iterable(chosen)) for chosen in product(*map(ways, parts))]
        case Either(parts):
            return list(chain.from_iterable(map(ways, parts)))
        case Repeat(inner, least) if least:
            return ways(inner)
    return [()]


def stays(part: Part, *, first: bool = True) -> bool:
    """No match goes over the end of a sentence: it asks for no end, and for a beginning at its own alone."""
    match part:
        case Word(symbols):
            return END not in symbols
        case Gap():
            return not part.over_ends
        case Row(parts):
            return all(stays(each, first=first and not place) for place, each in enumerate(parts))
        case Either(parts):
            return all(stays(each, first=first) for each in parts)
        case Repeat(inner):
            return stays(inner, first=False)
    return first


def begins(part: Part) -> bool:
    """It asks where a sentence begins."""
    match part:
        case Row(parts) | Either(parts):
            return any(map(begins, parts))
        case Repeat(inner):
            return begins(inner)
    return isinstance(part, Start)


def tries(part: Part) -> int:
    """How many ways at most there are to read on from one place, where a search with `nearest` goes back."""
    match part:
        case Row((*before, Repeat(Row((Gap(0, most), Word())), least, count))) if least == count:
            return prod(map(tries, before)) * (most + 1) * count
        case Gap(least, most):
            return most - least + 1
        case Start():
            return 2
        case Row(parts):
            return prod(map(tries, parts))
        case Either(parts):
            return sum(map(tries, parts))
        case Repeat(inner, least, most):
            return sum(tries(inner) ** count for count in range(least, most + 1))
    return 1
