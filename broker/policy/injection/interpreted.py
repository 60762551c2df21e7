"""Words by dictionaries and rules by `re`: a reader for where nothing could be compiled."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, chain, repeat

from broker.policy.injection.concepts import ConceptRules
from broker.policy.injection.features import sequences
from broker.policy.injection.lexicon import Lexicon
from broker.policy.injection.patterns import Part
from broker.policy.injection.reading import Sums
from broker.policy.injection.tokens import tokenize

_Symbols = Sequence[str]


class InterpretedReader:
    """See `reading.Reader`."""

    def __init__(
        self,
        parts: Mapping[int, Part],
        words: Lexicon,
        word_weights: Mapping[str, int],
        sequence_weights: Mapping[tuple[str, ...], int],
    ) -> None:
        self._words = words
        self._rules = ConceptRules(parts, words)
        self._weights = word_weights.get, sequence_weights.get

    def read(self, segments: Sequence[str]) -> "InterpretedReading":
        return InterpretedReading([self._read(segment) for segment in segments], self._rules)

    def _read(self, segment: str) -> tuple[_Symbols, Sums]:
        word, sequence = self._weights
        words = tokenize(segment)
        symbols = self._words.symbols(words)
        letters = self._words.letters(symbols)
        return symbols, (
            (sum(map(word, words, repeat(0))), len(words)),
            (sum(map(sequence, sequences(letters), repeat(0))), max(len(letters) - 2, 0)),
        )


class InterpretedReading:
    """See `reading.Reading`."""

    def __init__(self, read: Iterable[tuple[_Symbols, Sums]], rules: ConceptRules) -> None:
        self._symbols: tuple[_Symbols, ...]
        self.sums: tuple[Sums, ...]
        self._symbols, self.sums = zip(*read, strict=True)
        self._rules = rules

    def rules(self) -> tuple[tuple[int, ...], ...]:
        if len(self._symbols) == 1:
            return (self._rules.find(self._symbols[0]).rules,)
        edges = [0, *accumulate(map(len, self._symbols))]
        found = self._rules.find(list(chain.from_iterable(self._symbols)))
        return tuple(map(tuple, self._rules.of_windows(found, edges)))
