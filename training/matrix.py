"""All windows of all rows as one sparse matrix: rules, marks, then words and sequences of concepts."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from broker.policy.injection import rules
from broker.policy.injection.features import FAMILIES, sequences
from broker.policy.injection.lexicon import Lexicon
from broker.policy.injection.readers import quickest
from broker.policy.injection.reading import Weights
from broker.policy.injection.tokens import tokenize
from broker.policy.injection.windows import MARKS, Windows
from training.rows import Row

SCALES = {"word": 0.7, "sequence": 1.0}
GROUPS_MIN = 2
"""Groups of sources in which a feature has to stand to be in the matrix at all."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """`table`: one line a window; `row`: the row that each is of."""

    table: sparse.csr_matrix
    row: NDArray[np.int64]
    rules: tuple[rules.Rule, ...]
    features: dict[str, tuple[str, ...]]
    """By family the features in the order of their columns."""

    @property
    def fixed(self) -> int:
        """How many columns are rules and marks."""
        return len(self.rules) + len(MARKS)

    def span(self, family: str) -> tuple[int, int]:
        """The columns of a family: the first, and the one after the last."""
        first = self.fixed
        for name in FAMILIES:
            last = first + len(self.features[name])
            if name == family:
                break
            first = last
        return first, last


def build(rows: Sequence[Row]) -> Matrix:
    pack, words = rules.load()
    reading = Windows(pack, words, quickest(pack.over_concepts, words, Weights()))
    fixed: list[list[int]] = []
    counts: dict[str, list[Counter[str]]] = {family: [] for family in FAMILIES}
    row: list[int] = []
    for number, entry in enumerate(rows):
        for window in reading.of(entry.text):
            said = [tokenize(segment) for segment in window.segments]
            marks = (len(pack.rules) + MARKS.index(mark) for mark in window.marks)
            over_text = (rule for rule in window.row.likely if window.row.matches(window.place, rule))
            fixed.append([*window.rules, *over_text, *marks])
            counts["word"].append(_counted(said))
            counts["sequence"].append(_counted(_spelled(found, words) for found in said))
            row.append(number)
    groups = [rows[number].group for number in row]
    features = {family: _features(counts[family], groups) for family in FAMILIES}
    parts = [_ones(fixed, len(pack.rules) + len(MARKS))]
    parts += [_scaled(counts[family], features[family], SCALES[family]) for family in FAMILIES]
    return Matrix(sparse.hstack(parts).tocsr(), np.array(row), pack.rules, features)


def _spelled(found: Sequence[str], words: Lexicon) -> list[str]:
    letters = words.letters(words.symbols(found))
    return [" ".join([words.names[letter] for letter in three]) for three in sequences(letters)]


def _counted(parts: Iterable[list[str]]) -> Counter[str]:
    return Counter(chain.from_iterable(parts))


def _features(counts: Sequence[Counter[str]], groups: Sequence[str]) -> tuple[str, ...]:
    seen: dict[str, set[str]] = {}
    for found, group in zip(counts, groups, strict=True):
        for feature in found:
            seen.setdefault(feature, set()).add(group)
    return tuple(sorted(feature for feature, where in seen.items() if len(where) >= GROUPS_MIN))


def _ones(lines: Sequence[list[int]], width: int) -> sparse.csr_matrix:
    ends = np.cumsum([0, *map(len, lines)])
    places = np.array(list(chain.from_iterable(lines)), np.int64)
    return sparse.csr_matrix((np.ones(len(places)), places, ends), shape=(len(lines), width))


def _scaled(counts: Sequence[Counter[str]], features: Sequence[str], scale: float) -> sparse.csr_matrix:
    """Counts over the root of the number of all features of the family in the window."""
    place = {feature: n for n, feature in enumerate(features)}
    places: list[int] = []
    values: list[float] = []
    ends = [0]
    for found in counts:
        unit = scale / max(found.total(), 1) ** 0.5
        known = sorted((place[feature], count * unit) for feature, count in found.items() if feature in place)
        places += [column for column, _ in known]
        values += [value for _, value in known]
        ends.append(len(places))
    return sparse.csr_matrix((values, places, ends), shape=(len(counts), len(features)))
