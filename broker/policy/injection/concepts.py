"""Rules over concepts, looked for sentence by sentence.

Most rules never reach over the end of a sentence, and few sentences hold all the concepts that one needs, in
its order: so each is asked of those alone, a few words long. One automaton for several rules over a whole
text is slower: it makes a new state at nearly every word of a new text.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from itertools import chain
from operator import or_
from typing import NamedTuple

from broker.policy.injection.lexicon import END, PLAIN, Lexicon
from broker.policy.injection.patterns import automaton, begins, over_symbols, rarest, stays, ways

_MEMORY_BYTES = 8 << 20
_NEEDS = 3
_ORDERED_MAX = 96
"""Symbols of a sentence; in a longer one nearly every need stands somewhere before and behind every other."""

_Stretch = tuple[int, int]


class Found(NamedTuple):
    """What stands in a text. `stretches`: in which sentences, of the rules that stay in one."""

    rules: tuple[int, ...]
    symbols: str
    stretches: Mapping[int, list[_Stretch]]


class ConceptRules:
    """By number. Time is linear in the text: RE2 does not backtrack."""

    def __init__(self, patterns: Mapping[int, str], words: Lexicon) -> None:
        self._sets = {
            number: automaton([over_symbols(pattern, words)], _MEMORY_BYTES)
            for number, pattern in patterns.items()
        }
        self._steps = Steps(patterns, words)
        self._moving = frozenset(
            number for number, pattern in patterns.items() if not stays(pattern) or begins(pattern)
        )

    def find(self, each: Sequence[str]) -> Found:
        """In the symbols of a text's words."""
        stretches: dict[int, list[_Stretch]] = {}
        symbols = "".join(each)
        sentences, across = self._steps.likely(symbols, each)
        for start, stop, likely in sentences:
            for number in self._matching(likely, symbols[start:stop]):
                stretches.setdefault(number, []).append((start, stop))
        rules = sorted([*stretches, *self._matching(across, symbols)])
        return Found(tuple(rules), symbols, stretches)

    def within(self, found: Found, start: int, stop: int) -> Iterator[int]:
        """Of what was found the rules that match in a part of the text, as if it were the whole."""
        for number in found.rules:
            if number in self._moving:
                holds = self._matches(number, found.symbols[start:stop])
            else:
                holds = any(
                    self._in_part(number, found.symbols, max(low, start), min(high, stop), high - low)
                    for low, high in found.stretches[number]
                    if low < stop and start < high
                )
            if holds:
                yield number

    def _in_part(self, number: int, symbols: str, start: int, stop: int, whole: int) -> bool:
        return stop - start == whole or self._matches(number, symbols[start:stop])

    def _matches(self, number: int, symbols: str) -> bool:
        return bool(self._sets[number].Match(symbols.encode()))

    def _matching(self, likely: Iterable[int], symbols: str) -> list[int]:
        encoded = symbols.encode() if likely else b""
        return [number for number in likely if self._sets[number].Match(encoded)]


class Steps:
    """How far rules have come: what each way through one needs, in its order, however far apart.

    A state has a bit for each way and need. A symbol that meets a need moves the ways on that wait for it.
    """

    def __init__(self, patterns: Mapping[int, str], words: Lexicon) -> None:
        every = [(number, way) for number, pattern in patterns.items() for way in ways(pattern, words)]
        crossing = sum(1 << place for place, (number, _) in enumerate(every) if not stays(patterns[number]))
        self._rules = [number for number, _ in every]
        self._width = width = len(every)
        self._shift = width * (_NEEDS - 1)
        self._staying = (1 << width) - 1 & ~crossing
        self._crossing = sum(crossing << step * width for step in range(_NEEDS))
        self._entry = self._always = 0
        self._met_by = dict.fromkeys((PLAIN, END, *chain.from_iterable(words.concepts.values())), 0)
        for place, (_, way) in enumerate(every):
            needed = rarest(way, _NEEDS)
            first = _NEEDS - len(needed)
            self._entry |= 1 << first * width + place if needed else 0
            self._always |= 0 if needed else 1 << place
            for step, symbols in enumerate(needed, first):
                for symbol in map(chr, _numbers(symbols)):
                    self._met_by[symbol] |= 1 << step * width + place

    def likely(self, symbols: str, each: Sequence[str]) -> tuple[list[tuple[int, int, list[int]]], list[int]]:
        """Start and stop of sentences, each with the rules that may match in it; and those that may match
        over the end of a sentence. `each`: the symbols one by one, which a list gives quicker than a text.
        """
        met_of, entry, always = self._met_by.__getitem__, self._entry, self._always
        width, shift, staying, crossing = self._width, self._shift, self._staying, self._crossing
        at_end = self._met_by[END]
        found = []
        start = state = 0
        for sentence in symbols.split(END):
            stop = start + len(sentence)
            mets: Iterable[int] = map(met_of, each[start:stop])
            if stop - start > _ORDERED_MAX:
                mets = [reduce(or_, map(met_of, set(each[start:stop])))] * _NEEDS
            for met in filter(None, mets):
                state |= (state << width | entry) & met
            done = (state >> shift | always) & staying
            if done and sentence:
                found.append((start, stop, self._rules_of(done)))
            state &= crossing
            state |= (state << width | entry) & at_end
            start = stop + len(END)
        return found, self._rules_of((state >> shift | always) & ~staying)

    def _rules_of(self, ways: int) -> list[int]:
        return sorted({self._rules[place] for place in _numbers(ways)})


def _numbers(bits: int) -> Iterator[int]:
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest
