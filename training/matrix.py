"""All windows of all rows as one sparse matrix: rules, marks, then hashed features."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from broker.policy.injection import rules
from broker.policy.injection.features import FAMILIES, OFFSETS, SIZE
from broker.policy.injection.windows import MARKS, Window, windows
from training.rows import Row

SCALES = {"word": 0.7, "pair": 0.7, "concepts": 1.0, "shape": 1.5}


@dataclass(frozen=True, slots=True)
class Windows:
    """`table`: one line a window; `row`: the row that each is of."""

    table: sparse.csr_matrix
    row: NDArray[np.int64]
    rules: tuple[rules.Rule, ...]

    @property
    def fixed(self) -> int:
        """How many columns are rules and marks."""
        return len(self.rules) + len(MARKS)


def build(rows: Sequence[Row]) -> Windows:
    pack, words = rules.load()
    places: list[NDArray[np.int64]] = []
    values: list[NDArray[np.float64]] = []
    row: list[int] = []
    for number, entry in enumerate(rows):
        for window in windows(entry.text, pack, words):
            found = list(_columns(window, len(pack.rules)))
            places.append(np.concatenate([columns for columns, _ in found]))
            values.append(np.concatenate([amounts for _, amounts in found]))
            row.append(number)
    ends = np.cumsum([0, *(len(columns) for columns in places)])
    width = len(pack.rules) + len(MARKS) + SIZE
    table = sparse.csr_matrix((np.concatenate(values), np.concatenate(places), ends), shape=(len(row), width))
    return Windows(table, np.array(row), pack.rules)


def _columns(window: Window, rule_count: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    fixed = [*window.rules, *(rule_count + MARKS.index(mark) for mark in window.marks)]
    yield np.array(fixed, np.int64), np.ones(len(fixed))
    document = window.document
    for family, features, where in zip(FAMILIES, document.features, document.places, strict=True):
        edges = (window.start, window.stop)
        first, last = edges if where is None else np.searchsorted(where, edges)
        found, counts = np.unique(features[first:last], return_counts=True)
        if len(found):
            yield found + rule_count + len(MARKS), counts * (SCALES[family] / np.sqrt(counts.sum()))


def family_of(column: int) -> str:
    """The family of a hashed feature."""
    return max((family for family in FAMILIES if OFFSETS[family] <= column), key=OFFSETS.__getitem__)
