"""Words by dictionaries and rules by `re`: a reader for where nothing could be compiled."""

from collections.abc import Mapping, Sequence
from itertools import accumulate, chain, pairwise, repeat
from math import isqrt

from broker.policy.injection.concepts import ConceptRules
from broker.policy.injection.features import sequences
from broker.policy.injection.lexicon import Lexicon
from broker.policy.injection.patterns import Part
from broker.policy.injection.reading import ROOT_SCALE, Weights
from broker.policy.injection.tokens import tokenize

_Sums = tuple[tuple[int, int], ...]
"""Of a segment, per family: the sum of its features' weights, and their number."""


class InterpretedReader:
    """See `reading.Reader`."""

    def __init__(self, parts: Mapping[int, Part], words: Lexicon, weights: Weights) -> None:
        self._words = words
        self._rules = ConceptRules(parts, words)
        self._word_weight, self._sequence_weight = weights.words.get, weights.sequences.get
        self._min, self._max = weights.family_min, weights.family_max

    def read(self, segments: list[bytes]) -> "InterpretedReading":
        read = [self._read(segment) for segment in segments]
        sums = [each for _, each in read]
        sides = [_added(one, other) for one, other in pairwise(sums)] or sums
        families = [tuple(self._bounded(total, count) for total, count in side) for side in sides]
        return InterpretedReading(families, [symbols for symbols, _ in read], self._rules)

    def _read(self, segment: bytes) -> tuple[Sequence[str], _Sums]:
        words = tokenize(segment)
        symbols = self._words.symbols(words)
        letters = self._words.letters(symbols)
        return symbols, (
            (sum(map(self._word_weight, words, repeat(0))), len(words)),
            (sum(map(self._sequence_weight, sequences(letters), repeat(0))), max(len(letters) - 2, 0)),
        )

    def _bounded(self, total: int, count: int) -> int:
        part = total * ROOT_SCALE // isqrt(count * ROOT_SCALE * ROOT_SCALE) if count else 0
        return max(self._min, min(self._max, part))


def _added(one: _Sums, other: _Sums) -> _Sums:
    return tuple(
        (total + further, count + more) for (total, count), (further, more) in zip(one, other, strict=True)
    )


class InterpretedReading:
    """See `reading.Reading`."""

    def __init__(
        self,
        families: Sequence[tuple[int, ...]],
        symbols: Sequence[Sequence[str]],
        rules: ConceptRules,
    ) -> None:
        self.families = families
        self._symbols = symbols
        self._rules = rules

    def rules(self) -> tuple[tuple[int, ...], ...]:
        if len(self._symbols) == 1:
            return (self._rules.find(self._symbols[0]).rules,)
        edges = [0, *accumulate(map(len, self._symbols))]
        found = self._rules.find(list(chain.from_iterable(self._symbols)))
        return tuple(map(tuple, self._rules.of_windows(found, edges)))
