"""A text as overlapping windows, each with its rules and marks: what training and the detector read."""

import re
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from typing import NamedTuple

from broker.policy.injection.lexicon import Lexicon
from broker.policy.injection.reading import Reader, Reading
from broker.policy.injection.rows import Known, Row
from broker.policy.injection.rules import RulePack
from broker.policy.injection.tokens import encoded
from broker.policy.memory import Memory
from broker.policy.views import PLAIN, View, disguises, views

WHOLE_CHARS = 1280
"""A text no longer than this is one window; a longer one is read in segments, two to a window."""
SEGMENT_CHARS = 320
BLOCK_WINDOWS = 10
DERIVED_WINDOWS_MAX = 160
_ROWS_MAX = 4_096

MARKS = (
    "view.decoded",
    "view.spaced",
    "view.reversed",
    "view.shifted",
    "view.leet",
    "hidden.tags",
    "hidden.invisible",
    "hidden.lookalikes",
    "shape.unpaired_2",
    "shape.unpaired_3",
    "shape.unpaired_5",
)
_UNPAIRED = (2, 3, 5)
_PAIRS = (("(", ")"), ("[", "]"), ("{", "}"))
_LINE_CHARS = 1024
_PROSE = re.compile("(?:[A-Za-z]{1,12}[ ,]{1,2}){3}")
# A bracket that is no part of `a)`, `12)`, `:)` or `;-(`: a search leaps from one to the next.
_BRACKET = re.compile(r"[][(){}](?<![:;][()])(?<![:;]-[()])(?<!(?<![\w(])\w\))(?<!(?<![\w(])\w\w\))")


class Window(NamedTuple):
    """Of a view that was folded and set in lower case. `marks`: names of how the view was come by."""

    view: View
    start: int
    """In characters."""
    segments: tuple[bytes, ...]
    """One or two."""
    families: tuple[int, ...]
    """What the model's families of features give."""
    rules: tuple[int, ...]
    """Places in the pack of the rules over concepts that match."""
    marks: tuple[str, ...]
    row: Row
    place: int
    """In the row."""


class Windows:
    """Reads texts by some rules."""

    def __init__(self, pack: RulePack, words: Lexicon, reader: Reader) -> None:
        self._over_text = pack.over_text
        self._words = words
        self._reader = reader
        self._rows = Memory[Known](_ROWS_MAX)

    def of(self, text: str) -> Iterator[Window]:
        """The windows of the text itself, all, then those of the texts hidden in it, up to a limit."""
        hidden = tuple(f"hidden.{kind}" for kind in disguises(text))
        plain, *derived = views(text)
        yield from self._of_view(plain, hidden, unpaired(plain.text))
        found = (window for view in derived for window in self._of_view(view, hidden, ()))
        yield from islice(found, DERIVED_WINDOWS_MAX)

    def _of_view(self, view: View, hidden: tuple[str, ...], ending: tuple[str, ...]) -> Iterator[Window]:
        """`ending` marks the last window alone."""
        kinds = {} if view.kind == PLAIN else dict.fromkeys(view.kind.split("+"))
        marks = (*(f"view.{kind}" for kind in kinds), *hidden)
        lower = self._words.parted(view.text.lower())
        edges = _edges(lower)
        last = max(len(edges) - 2, 0)
        for first in range(0, max(len(edges) - 1, 1), BLOCK_WINDOWS):
            stretches = edges[first : first + BLOCK_WINDOWS + 1]
            segments = [encoded(lower[start:stop]) for start, stop in stretches]
            sides = tuple(pairwise(segments)) or (tuple(segments),)
            reading = self._reader.read(segments)
            row, over_concepts = self._row(segments, reading)
            found = zip(sides, reading.families, over_concepts, strict=True)
            for place, (side, families, rules) in enumerate(found):
                number = first + place
                seen = (*marks, *ending) if number == last else marks
                yield Window(view, edges[number][0], side, families, rules, seen, row, place)

    def _row(self, segments: Sequence[bytes], reading: Reading) -> tuple[Row, tuple[tuple[int, ...], ...]]:
        """And the rules over concepts of each of its windows."""
        whole = b"".join(segments)
        known = self._rows.of(whole) if len(segments) > 1 else None
        if known is None:
            known = Known(reading.rules(), self._over_text.likely(whole), {}, {})
            if len(segments) > 1:
                self._rows.keep(whole, known)
        return Row(segments, whole, known, self._over_text), known.over_concepts


def unpaired(text: str) -> tuple[str, ...]:
    """How many brackets of the last line lack their other half, by steps.

    Optimised suffixes are appended tokens without syntax, so that their brackets do not close; prose and
    program text close them within a line or spread them over many lines. Signs of lists are passed over.
    """
    line = text.rstrip().rpartition("\n")[2][-_LINE_CHARS:]
    found = _BRACKET.findall(line)
    if len(found) < _UNPAIRED[0]:
        return ()
    lone = sum([abs(found.count(first) - found.count(last)) for first, last in _PAIRS])
    if lone < _UNPAIRED[0] or not _PROSE.search(line):
        return ()
    return tuple(f"shape.unpaired_{step}" for step in _UNPAIRED if lone >= step)


def _edges(lower: str) -> list[tuple[int, int]]:
    if len(lower) <= WHOLE_CHARS:
        return [(0, len(lower))]
    starts = range(0, len(lower), SEGMENT_CHARS)
    return [(start, min(start + SEGMENT_CHARS, len(lower))) for start in starts]
