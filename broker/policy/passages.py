"""What of a job's texts is read together.

Each text is read by itself, so that one cannot hide in the length of another. But data and orders can be
split over two parts of a message or over two messages of a role, which a model reads as one; and a scan has
its price however short the text, so that thousands of messages of a word would hold up everybody else's jobs.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from broker.policy.texts import Role, Text

ALONE_MAX: Final = 32
"""Of more texts the short ones of a role go together."""
SHORT_CHARS_MAX: Final = 800
NAME_CHARS_MAX: Final = 64
"""What is shorter in a declared tool or schema counts as a name: of a property, a type, a value."""
EDGE_CHARS: Final = 256
"""Of a longer text so much of its beginning and of its end is read together with its neighbors."""
BREAK: Final = "\n\0\n"
"""Stands where texts are cut off from one another: nothing that is looked for goes across."""


def passages(texts: Sequence[Text]) -> Iterator[tuple[Role, str]]:
    """What is scanned for orders to the model: each text by itself, as long as there are few, and together
    those that follow one another. Of many the short ones of a role go together, and names always do.
    """
    names = [text for text in texts if _is_name(text)]
    for role in _roles(names):
        yield role, " ".join(dict.fromkeys(text.text for text in names if text.role == role))
    others = [text for text in texts if not _is_name(text)] if names else texts
    if len(others) <= ALONE_MAX:
        yield from [(text.role, text.text) for text in others]
        if len(others) > 1:
            yield from ((run[0].role, _joined(run)) for run in runs(others))
        return
    yield from ((text.role, text.text) for text in others if len(text.text) > SHORT_CHARS_MAX)
    for role in _roles(others):
        yield role, _joined([text for text in others if text.role == role])


def runs(texts: Iterable[Text]) -> Iterator[list[Text]]:
    """Two or more texts of a conversation that follow one another in a role: parts, and messages."""
    contents = (text for text in texts if _is_content(text) and text.text)
    for _, run in groupby(contents, key=_role):
        found = list(run)
        if len(found) > 1:
            yield found


class Piece(NamedTuple):
    """A stretch of a text, beginning at `start`. `cut`: it does not follow on the piece before it."""

    source: Text
    start: int
    text: str
    cut: bool = False


def pieces(run: Iterable[Text]) -> Iterator[Piece]:
    """Short texts whole, and of each long one its two ends."""
    for text in run:
        if len(text.text) <= 2 * EDGE_CHARS:
            yield Piece(text, 0, text.text)
        else:
            at = len(text.text) - EDGE_CHARS
            yield Piece(text, 0, text.text[:EDGE_CHARS])
            yield Piece(text, at, text.text[at:], cut=True)


def _joined(run: Sequence[Text]) -> str:
    """Of a conversation as if nothing parted the texts; of others, which are nobody's turn, in lines."""
    parting = " " if _is_content(run[0]) else "\n"
    found = "".join((BREAK if piece.cut else parting) + piece.text for piece in pieces(run))
    return found.removeprefix(parting)


def _roles(texts: Iterable[Text]) -> list[Role]:
    return sorted({text.role for text in texts})


def _is_name(text: Text) -> bool:
    return text.is_key or text.is_name or (text.role == "definition" and len(text.text) <= NAME_CHARS_MAX)


def _is_content(text: Text) -> bool:
    return text.path[0] == "messages" and "content" in text.path[2:3]


def _role(text: Text) -> Role:
    return text.role
