"""What the linear model reads beside the rules: words, and three concepts in a row.

A feature counts as often as it stands in a window; the sum of a family's weights over a window is divided by
the root of the number of its features there.
"""

from collections.abc import Iterator

FAMILIES = ("word", "sequence")


def sequences(concepts: str) -> Iterator[tuple[str, ...]]:
    """Each three in a row of a text whose letters are concepts."""
    letters = list(
        concepts
    )  # a letter beyond Latin-1 is made, and hashed, each time that it is read off a text
    return zip(letters, letters[1:], letters[2:], strict=False)
