"""Rules over concepts as automata without empty steps (Glushkov), a bit for each place in a pattern."""

from collections.abc import Iterator
from functools import reduce
from operator import or_
from typing import NamedTuple

from broker.policy.injection.lexicon import END
from broker.policy.injection.patterns import Either, Gap, Part, PatternInvalid, Repeat, Row, Start, Word

PLACES_MAX = 64


class Automaton(NamedTuple):
    """Bit n of a number speaks of place n. Places take one symbol each."""

    takes: tuple[frozenset[str], ...]
    """Of each place, the symbols that it takes."""
    follow: tuple[int, ...]
    """Of each place, those that may come next."""
    first: int
    first_at_start: int
    """The same where the text begins."""
    last: int
    """Where a match may end."""


class _Piece(NamedTuple):
    """A part of an automaton. `_at_start`: where the text begins, and nothing was taken."""

    first: int = 0
    first_at_start: int = 0
    last: int = 0
    empty: bool = True
    empty_at_start: bool = True


def automaton(part: Part, alphabet: frozenset[str]) -> Automaton:
    """Raises PatternInvalid when it needs more than PLACES_MAX places, or none: it would match anywhere."""
    return _Builder(alphabet).whole(part)


class _Builder:
    def __init__(self, alphabet: frozenset[str]) -> None:
        self._alphabet = alphabet
        self._takes: list[frozenset[str]] = []
        self._follow: list[int] = []

    def whole(self, part: Part) -> Automaton:
        first, first_at_start, last, _, empty = self._piece(part)
        if len(self._takes) > PLACES_MAX:
            raise PatternInvalid(f"a pattern has {len(self._takes)} places, more than {PLACES_MAX}")
        if empty:
            raise PatternInvalid("a pattern matches where nothing stands")
        return Automaton(tuple(self._takes), tuple(self._follow), first, first_at_start, last)

    def _piece(self, part: Part) -> _Piece:
        match part:
            case Word(symbols):
                return self._place(symbols)
            case Gap(least, most, over_ends):
                word = Word(self._alphabet if over_ends else self._alphabet - {END})
                return self._repeated(word, least, most)
            case Start():
                return self._place(frozenset({END}))._replace(empty_at_start=True)
            case Row(parts):
                whole = _Piece()
                for each in parts:
                    whole = self._joined(whole, self._piece(each))
                return whole
            case Either(parts):
                return _either([self._piece(each) for each in parts])
            case Repeat(inner, least, most):
                return self._repeated(inner, least, most)

    def _place(self, symbols: frozenset[str]) -> _Piece:
        bit = 1 << len(self._takes)
        self._takes.append(symbols)
        self._follow.append(0)
        return _Piece(bit, bit, bit, empty=False, empty_at_start=False)

    def _repeated(self, part: Part, least: int, most: int) -> _Piece:
        """One, and behind it the rest: so each place has but the next one behind it."""
        if not most:
            return _Piece()
        head = self._piece(part)
        whole = self._joined(head, self._repeated(part, max(least - 1, 0), most - 1))
        return whole if least else whole._replace(empty=True, empty_at_start=True)

    def _joined(self, one: _Piece, other: _Piece) -> _Piece:
        for place in places(one.last):
            self._follow[place] |= other.first
        return _Piece(
            one.first | (other.first if one.empty else 0),
            one.first_at_start | (other.first_at_start if one.empty_at_start else 0),
            other.last | (one.last if other.empty else 0),
            one.empty and other.empty,
            one.empty_at_start and other.empty_at_start,
        )


def _either(pieces: list[_Piece]) -> _Piece:
    return _Piece(
        reduce(or_, [piece.first for piece in pieces]),
        reduce(or_, [piece.first_at_start for piece in pieces]),
        reduce(or_, [piece.last for piece in pieces]),
        any(piece.empty for piece in pieces),
        any(piece.empty_at_start for piece in pieces),
    )


def places(bits: int) -> Iterator[int]:
    """The numbers of the bits that are set, from the lowest."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest
