"""A text as overlapping windows, each with its rules and marks: what training and the detector read."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, pairwise, repeat
from typing import NamedTuple

from broker.policy.injection.lexicon import Lexicon
from broker.policy.injection.reading import Reader, Reading, Sums
from broker.policy.injection.rules import RulePack
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


class Segment(NamedTuple):
    """A stretch of a folded text in lower case, from `start`, and what the model gives to its words."""

    start: int
    text: str
    sums: Sums


class Window(NamedTuple):
    """One segment or two. `rules`: places in the pack; `marks`: names of how the view was come by."""

    view: View
    segments: tuple[Segment, ...]
    rules: tuple[int, ...]
    marks: tuple[str, ...]


class Windows:
    """Reads texts by some rules."""

    def __init__(self, pack: RulePack, words: Lexicon, reader: Reader) -> None:
        self._pack = pack
        self._words = words
        self._reader = reader
        self._rows = Memory[tuple[tuple[int, ...], ...]](_ROWS_MAX)
        """Of rows of windows, by their text, the rules of each: texts that grow begin as they did."""

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
        last = edges[-1][0]
        for found, rules in self._with_rules(lower, edges):
            yield Window(view, found, rules, (*marks, *ending) if found[-1].start == last else marks)

    def _with_rules(
        self, lower: str, edges: Sequence[tuple[int, int]]
    ) -> Iterator[tuple[tuple[Segment, ...], tuple[int, ...]]]:
        """In rows of a few: what no rule finds in the whole row, none is asked to find in its windows."""
        for first in range(0, max(len(edges) - 1, 1), BLOCK_WINDOWS):
            row = edges[first : first + BLOCK_WINDOWS + 1]
            texts = [lower[start:stop] for start, stop in row]
            reading = self._reader.read(texts)
            segments = [
                Segment(start, text, sums)
                for (start, _), text, sums in zip(row, texts, reading.sums, strict=True)
            ]
            sides = tuple(pairwise(segments)) or (tuple(segments),)
            yield from zip(sides, self._rules(texts, reading), strict=True)

    def _rules(self, texts: Sequence[str], reading: Reading) -> tuple[tuple[int, ...], ...]:
        """Of each window in a row, in order; those over text behind those over concepts."""
        if len(texts) == 1:
            return ((*reading.rules()[0], *self._pack.over_text.find(_encoded(texts[0]))),)
        whole = "".join(texts)
        rules = self._rows.of(whole)
        if rules is None:
            over_text = self._over_text(whole, texts)
            rules = tuple((*one, *other) for one, other in zip(reading.rules(), over_text, strict=True))
            self._rows.keep(whole, rules)
        return rules

    def _over_text(self, whole: str, texts: Sequence[str]) -> Iterator[Iterable[int]]:
        found = self._pack.over_text.find(_encoded(whole))
        if not found:
            return repeat((), len(texts) - 1)
        return (self._pack.over_text.among(found, _encoded(one + other)) for one, other in pairwise(texts))


def _encoded(text: str) -> bytes:
    return text.encode(errors="replace")


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
