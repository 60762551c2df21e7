"""Rules over concepts, looked for sentence by sentence.

Most rules never reach over the end of a sentence, and few sentences hold all the concepts that one needs: so
each is asked of those alone, a few words long.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from broker.policy.injection.lexicon import Lexicon
from broker.policy.injection.needs import Needs
from broker.policy.injection.patterns import Part, begins, expression, nearest, stays, tries
from broker.policy.pattern_sets import pattern_set

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

    def __init__(self, parts: Mapping[int, Part], words: Lexicon) -> None:
        self._matches = {number: _matcher(part) for number, part in parts.items()}
        self._needs = Needs(parts, words)
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
    compiled = pattern_set([expression(part)], _MEMORY_BYTES)
    return lambda symbols: compiled.Match(symbols.encode())
