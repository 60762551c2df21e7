"""Rules over concepts, looked for sentence by sentence.

Most rules never reach over the end of a sentence, and few sentences hold all the concepts that one needs: so
each is asked of those alone, a few words long.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
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
        likely, across = self._needs.likely(symbols)
        for start, stop, number in likely:
            if self._matches[number](text[start:stop]):
                stretches.setdefault(number, []).append((start, stop))
        rules = sorted([*stretches, *(number for number in across if self._matches[number](text))])
        return Found(tuple(rules), text, stretches)

    def of_windows(self, found: Found, edges: Sequence[int]) -> list[list[int]]:
        """Of what was found the rules that match in each two segments side by side.

        They match as if the two were the whole. `edges`: the first symbol of each segment, and the end of the
        last.
        """
        holding: list[list[int]] = [[] for _ in edges[2:]]
        for number in found.rules:
            places = self._anywhere if number in self._moving else self._in_sentences
            for place in sorted(places(number, found, edges)):
                holding[place].append(number)
        return holding

    def _anywhere(self, number: int, found: Found, edges: Sequence[int]) -> set[int]:
        match = self._matches[number]
        return {
            place
            for place, (start, stop) in enumerate(zip(edges, edges[2:], strict=False))
            if match(found.symbols[start:stop])
        }

    def _in_sentences(self, number: int, found: Found, edges: Sequence[int]) -> set[int]:
        holding: set[int] = set()
        for low, high in found.stretches[number]:
            first, last = bisect_right(edges, low) - 2, bisect_left(edges, high)
            for place in range(max(first, 0), min(last, len(edges) - 2)):
                start, stop = max(low, edges[place]), min(high, edges[place + 2])
                if stop - start == high - low or (
                    place not in holding and start < stop and self._matches[number](found.symbols[start:stop])
                ):
                    holding.add(place)
        return holding


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
        self._rules = np.array([number for number, _ in every])
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

    def likely(self, symbols: Numbers) -> tuple[list[tuple[int, int, int]], list[int]]:
        """Start and stop of a sentence and the number of a rule that may match in it, one of each; and the
        rules that may match over the end of a sentence.
        """
        if not len(symbols):
            return [], []
        ends = np.flatnonzero(symbols == ord(END))
        met = np.bitwise_or.reduceat(self._met_by.take(symbols, 0), np.append(0, ends))
        rows, rules = self._rules_of(self._done(met) & ~self._crossing)
        starts, stops = np.append(0, ends + 1)[rows], np.append(ends, len(symbols))[rows]
        _, across = self._rules_of(self._done(np.bitwise_or.reduce(met, keepdims=True)) & self._crossing)
        return list(zip(starts.tolist(), stops.tolist(), rules.tolist(), strict=True)), across.tolist()

    def _done(self, met: _Bits) -> _Bits:
        cells = self._cells
        return met[:, :cells] & met[:, cells : 2 * cells] & met[:, 2 * cells :]

    def _rules_of(self, done: _Bits) -> tuple[Numbers, Numbers]:
        """In which rows which. The ways of a rule stand side by side."""
        bits = np.unpackbits(done.reshape(-1).view(np.uint8), bitorder="little").view(np.bool_)
        rows, places = np.divmod(np.flatnonzero(bits), self._cells * _WIDTH)
        rules = self._rules.take(places)
        first = np.ones(len(rules), np.bool_)
        first[1:] = (rows[1:] != rows[:-1]) | (rules[1:] != rules[:-1])
        return rows[first], rules[first]


def _packed(bits: NDArray[np.uint8]) -> _Bits:
    return np.packbits(bits, axis=-1, bitorder="little").view("<u8")
