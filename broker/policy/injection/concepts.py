"""Rules over concepts, looked for sentence by sentence.

Most rules never reach over the end of a sentence, and few sentences hold all the concepts that one needs: so
each is asked of those alone, a few words long.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from broker.policy.injection.lexicon import END, Lexicon, Numbers
from broker.policy.injection.patterns import Part, automaton, begins, expression, parse, stays, tries, ways

_MEMORY_BYTES = 8 << 20
_TRIES_MAX = 64
_NEEDS = 3
_WIDTH = 64

_Bits = NDArray[np.uint64]
_Stretch = tuple[int, int]


class Found(NamedTuple):
    """What stands in a text. `stretches`: in which sentences, of the rules that stay in one."""

    rules: tuple[int, ...]
    symbols: str
    stretches: Mapping[int, list[_Stretch]]


class ConceptRules:
    """By number. Time is linear in the text."""

    def __init__(self, patterns: Mapping[int, str], words: Lexicon) -> None:
        """Raises PatternInvalid."""
        parts = {number: parse(pattern, words) for number, pattern in patterns.items()}
        self._matches = {number: _matcher(part) for number, part in parts.items()}
        self._needs = Needs(parts, words)
        self._moving = frozenset(n for n, part in parts.items() if not stays(part) or begins(part))

    def find(self, symbols: Numbers) -> Found:
        """In the symbols of a text's words."""
        stretches: dict[int, list[_Stretch]] = {}
        text = symbols.astype("<u4").tobytes().decode("utf-32-le")
        sentences, across = self._needs.likely(symbols)
        for start, stop, likely in sentences:
            sentence = text[start:stop]
            for number in likely:
                if self._matches[number](sentence):
                    stretches.setdefault(number, []).append((start, stop))
        rules = sorted([*stretches, *(number for number in across if self._matches[number](text))])
        return Found(tuple(rules), text, stretches)

    def within(self, found: Found, start: int, stop: int) -> Iterator[int]:
        """Of what was found the rules that match in a part of the text, as if it were the whole."""
        for number in found.rules:
            if number in self._moving:
                holds = bool(self._matches[number](found.symbols[start:stop]))
            else:
                holds = any(
                    self._in_part(number, found.symbols, max(low, start), min(high, stop), high - low)
                    for low, high in found.stretches[number]
                    if low < stop and start < high
                )
            if holds:
                yield number

    def _in_part(self, number: int, symbols: str, start: int, stop: int, whole: int) -> bool:
        return stop - start == whole or bool(self._matches[number](symbols[start:stop]))


def _matcher(part: Part) -> Callable[[str], object]:
    """`re` is the quicker one over a few words, but goes back: RE2 is for what has many ways to read on."""
    spelled = expression(part)
    if tries(part) <= _TRIES_MAX:
        return re.compile(spelled).search
    compiled = automaton([spelled], _MEMORY_BYTES)
    return lambda symbols: compiled.Match(symbols.encode())


class Needs:
    """What each way through a rule needs, wherever it stands in a sentence.

    A symbol has a bit for each way and need that it meets.
    """

    def __init__(self, parts: Mapping[int, Part], words: Lexicon) -> None:
        every = [(number, way) for number, part in parts.items() for way in ways(part)]
        self._rules = [number for number, _ in every]
        self._cells = -(-len(every) // _WIDTH)
        met_by = np.zeros((words.symbols_end, _NEEDS, self._cells * _WIDTH), np.uint8)
        for place, (_, way) in enumerate(every):
            needed = sorted(way, key=len)[:_NEEDS]
            for step, need in enumerate(needed):
                met_by[[ord(symbol) for symbol in need], step, place] = 1
            met_by[:, len(needed) :, place] = 1
        self._met_by = _packed(met_by).reshape(len(met_by), -1)
        crossing = np.zeros(self._cells * _WIDTH, np.uint8)
        crossing[[place for place, (number, _) in enumerate(every) if not stays(parts[number])]] = 1
        self._crossing = _packed(crossing)

    def likely(self, symbols: Numbers) -> tuple[list[tuple[int, int, list[int]]], list[int]]:
        """Start and stop of sentences, each with the rules that may match in it; and those that may match
        over the end of a sentence.
        """
        if not len(symbols):
            return [], []
        starts = [0, *np.flatnonzero(symbols == ord(END)).tolist()]
        met = np.bitwise_or.reduceat(self._met_by[symbols], starts)
        done = self._done(met) & ~self._crossing
        across = self._done(np.bitwise_or.reduce(met)) & self._crossing
        ends = [*starts[1:], len(symbols)]
        sentences = [
            (starts[row] + (row > 0), ends[row], self._rules_of(done[row]))
            for row in np.flatnonzero(done.any(axis=1)).tolist()
        ]
        return sentences, self._rules_of(across)

    def _done(self, met: _Bits) -> _Bits:
        cells = self._cells
        return met[..., :cells] & met[..., cells : 2 * cells] & met[..., 2 * cells :]

    def _rules_of(self, done: _Bits) -> list[int]:
        return sorted({self._rules[place] for place in _places(int.from_bytes(done.tobytes(), "little"))})


def _packed(bits: NDArray[np.uint8]) -> _Bits:
    return np.packbits(bits, axis=-1, bitorder="little").view("<u8")


def _places(bits: int) -> Iterator[int]:
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest
