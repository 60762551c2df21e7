"""What the linear model reads beside the rules: words, and three concepts in a row.

A feature counts as often as it stands in a window; the sum of a family's weights over a window is divided by
the root of the number of its features there.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np

from broker.policy.injection.lexicon import Lexicon, Numbers
from broker.policy.injection.model import Model, ModelBroken

FAMILIES = ("word", "sequence")
_LENGTH = 3
_Concept = TypeVar("_Concept")

Sum = tuple[int, int]
"""Of features: the sum of their weights, and their number."""


def sequences(concepts: Sequence[_Concept]) -> Iterator[tuple[_Concept, ...]]:
    """Each three in a row."""
    return zip(*(concepts[first:] for first in range(_LENGTH)), strict=False)


class Weights:
    """What the model gives for each feature, in tables."""

    def __init__(self, learned: Model, words: Lexicon) -> None:
        """Raises ModelBroken."""
        self._words = np.zeros(words.size, np.int64)
        self._words[words.numbers(list(learned.words))] = list(learned.words.values())
        self._sequences = _Sequences(learned.sequences, words)

    def sums(self, numbers: Numbers, letters: Numbers, edges: Sequence[int]) -> list[tuple[Sum, Sum]]:
        """Per part of a text, by family. `letters`: of each word, 0 for none; `edges`: where parts begin, and
        the end of the last.
        """
        given = _running(self._words.take(numbers)).take(edges).tolist()
        lettered = letters != 0
        cuts = _running(lettered).take(edges).tolist()
        rows = self._sequences.running(letters[lettered])
        found = []
        for part in range(len(edges) - 1):
            word = given[part + 1] - given[part], edges[part + 1] - edges[part]
            first = cuts[part]
            count = max(cuts[part + 1] - first - _LENGTH + 1, 0)
            found.append((word, (int(rows[first + count] - rows[first]) if count else 0, count)))
        return found


class _Sequences:
    """By the first two letters the number of a row, by it and the third the weight."""

    def __init__(self, weights: Mapping[str, int], words: Lexicon) -> None:
        letter_of = {name: letter for letter, name in enumerate(words.names)}
        try:
            spelled = {
                tuple([letter_of[name] for name in key.split(" ")]): weight for key, weight in weights.items()
            }
        except KeyError as missing:
            raise ModelBroken(f"no concept {missing}") from None
        used = sorted({letter for key in spelled for letter in key})
        self._place = np.zeros(len(words.names), np.int64)
        self._place[used] = range(1, len(used) + 1)
        self._used = len(used) + 1
        pairs = {pair: number for number, pair in enumerate(sorted({key[:2] for key in spelled}), 1)}
        self._pairs = np.zeros(self._used**2, np.int64)
        self._weights = np.zeros((len(pairs) + 1) * self._used, np.int64)
        for (first, second), number in pairs.items():
            self._pairs[self._place[first] * self._used + self._place[second]] = number
        for (first, second, third), weight in spelled.items():
            self._weights[pairs[first, second] * self._used + self._place[third]] = weight

    def running(self, letters: Numbers) -> Numbers:
        """What the sequences that begin before each letter give together."""
        places = self._place.take(letters)
        pairs = self._pairs.take(places[:-2] * self._used + places[1:-1])
        return _running(self._weights.take(pairs * self._used + places[2:]))


def _running(given: Numbers) -> Numbers:
    sums = np.zeros(len(given) + 1, np.int64)
    np.cumsum(given, out=sums[1:])
    return sums
