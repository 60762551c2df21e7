"""Rules over concepts, looked for sentence by sentence.

Most rules never reach over the end of a sentence, and few sentences hold all the concepts that one needs: so
each is asked of those alone, a few words long.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from itertools import chain
from operator import or_
from typing import NamedTuple

from broker.policy.injection.lexicon import END, PLAIN, Lexicon
from broker.policy.injection.patterns import (
    Part,
    automaton,
    begins,
    expression,
    nearest,
    parse,
    stays,
    tries,
    ways,
)

_MEMORY_BYTES = 8 << 20
_TRIES_MAX = 200

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
        self._needs = _Needs(parts, words)
        self._moving = frozenset(n for n, part in parts.items() if not stays(part) or begins(part))

    def find(self, each: Sequence[str]) -> Found:
        """In the symbols of a text's words."""
        stretches: dict[int, list[_Stretch]] = {}
        symbols = "".join(each)
        sentences, across = self._needs.likely(symbols, each)
        for start, stop, likely in sentences:
            sentence = symbols[start:stop]
            for number in likely:
                if self._matches[number](sentence):
                    stretches.setdefault(number, []).append((start, stop))
        rules = sorted([*stretches, *(number for number in across if self._matches[number](symbols))])
        return Found(tuple(rules), symbols, stretches)

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
        """The windows, by place, that the rule matches when asked of each whole."""
        match = self._matches[number]
        return {
            place
            for place, (start, stop) in enumerate(zip(edges, edges[2:], strict=False))
            if match(found.symbols[start:stop])
        }

    def _in_sentences(self, number: int, found: Found, edges: Sequence[int]) -> set[int]:
        """The same of a rule that stays in a sentence: asked again only of sentences that a window cuts."""
        places: set[int] = set()
        for low, high in found.stretches[number]:
            first, last = bisect_right(edges, low) - 2, bisect_left(edges, high)
            for place in range(max(first, 0), min(last, len(edges) - 2)):
                start, stop = max(low, edges[place]), min(high, edges[place + 2])
                if stop - start == high - low or (
                    place not in places and start < stop and self._matches[number](found.symbols[start:stop])
                ):
                    places.add(place)
        return places


def _matcher(part: Part) -> Callable[[str], object]:
    """`re` is the quicker one over a few words, but goes back: RE2 is for what has many ways to read on."""
    if tries(part) <= _TRIES_MAX:
        return re.compile(nearest(part)).search
    compiled = automaton([expression(part)], _MEMORY_BYTES)
    return lambda symbols: compiled.Match(symbols.encode())


class _Needs:
    """What each way through a rule needs, wherever it stands in a sentence.

    A number has a bit for each need of each way, and one behind them. A symbol has the bits of the needs that
    it meets. Where all of a way's are met, one more at the first of them is carried to the bit behind.
    """

    def __init__(self, parts: Mapping[int, Part], words: Lexicon) -> None:
        self._met_by = dict.fromkeys((PLAIN, END, *chain.from_iterable(words.concepts.values())), 0)
        self._rule_of: dict[int, int] = {}
        self._firsts = self._staying = self._crossing = 0
        place = 0
        for number, part in parts.items():
            for way in ways(part):
                self._firsts |= 1 << place
                for need in way:
                    for symbol in need:
                        self._met_by[symbol] |= 1 << place
                    place += 1
                self._rule_of[place] = number
                if stays(part):
                    self._staying |= 1 << place
                else:
                    self._crossing |= 1 << place
                place += 1

    def likely(self, symbols: str, each: Sequence[str]) -> tuple[list[tuple[int, int, list[int]]], list[int]]:
        """Start and stop of sentences, each with the rules that may match in it; and those that may match
        over the end of a sentence. `each`: the symbols one by one, which a list gives quicker than a text.
        """
        met_of, firsts, staying = self._met_by.__getitem__, self._firsts, self._staying
        found = []
        start, every = 0, met_of(END)
        for sentence in symbols.split(END):
            stop = start + len(sentence)
            met = reduce(or_, map(met_of, each[start:stop]), 0)
            every |= met
            if done := met + firsts & staying:
                found.append((start, stop, self._rules_of(done)))
            start = stop + len(END)
        return found, self._rules_of(every + firsts & self._crossing)

    def _rules_of(self, done: int) -> list[int]:
        return sorted({self._rule_of[place] for place in _numbers(done)})


def _numbers(bits: int) -> Iterator[int]:
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest
