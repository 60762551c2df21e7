"""What the linear model reads beside the rules: words, and three concepts in a row.

A feature counts as often as it stands in a window; the sum of a family's weights over a window is divided by
the root of the number of its features there.
"""

from collections.abc import Iterator, Sequence

FAMILIES = ("word", "sequence")


def sequences(concepts: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Each three in a row."""
    return zip(concepts, concepts[1:], concepts[2:], strict=False)
