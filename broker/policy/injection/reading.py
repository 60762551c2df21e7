"""What the words of a text say: the weights that the model gives them, and the rules over concepts."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

ROOT_SCALE = 1 << 10
"""The root of a number of features is a whole number of parts, so many to one."""


class Weights(NamedTuple):
    """What the model gives to words, and to three letters of concepts in a row. Without it: nothing."""

    words: Mapping[str, int] = {}
    sequences: Mapping[tuple[str, ...], int] = {}
    family_min: int = 0
    family_max: int = 0


class Reading(Protocol):
    """Of segments that stand side by side."""

    @property
    def families(self) -> Sequence[tuple[int, ...]]:
        """Of each two segments side by side, or of one alone, what each family of features gives: the sum of
        their weights over the root of their number, bounded.
        """

    def rules(self) -> tuple[tuple[int, ...], ...]:
        """Of each two segments side by side the rules that match in the two as if they were the whole, in
        order; of one alone those that match in it. Rules are numbers.
        """


class Reader(Protocol):
    """Time is linear in the text. The compiled one and the interpreted one give the same."""

    def read(self, segments: list[bytes]) -> Reading:
        """`segments`: in lower case, folded, in UTF-8."""
