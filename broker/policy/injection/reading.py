"""What the words of a text say: the weights that the model gives them, and the rules over concepts."""

from collections.abc import Sequence
from typing import Protocol

Sums = tuple[tuple[int, int], ...]
"""Of a segment, per family: the sum of its features' weights, and their number."""


class Reading(Protocol):
    """Of segments that stand side by side."""

    @property
    def sums(self) -> Sequence[Sums]:
        """Of each segment."""

    def rules(self) -> tuple[tuple[int, ...], ...]:
        """Of each two segments side by side the rules that match in the two as if they were the whole, in
        order; of one alone those that match in it. Rules are numbers.
        """


class Reader(Protocol):
    """Time is linear in the text. The compiled one and the interpreted one give the same."""

    def read(self, segments: Sequence[str]) -> Reading:
        """`segments`: in lower case, folded."""
