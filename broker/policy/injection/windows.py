"""A text as overlapping windows, each with its rules and marks: what training and the detector read."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, islice, pairwise
from typing import NamedTuple

from broker.policy.injection.lexicon import Lexicon
from broker.policy.injection.rules import RulePack
from broker.policy.injection.tokens import tokenize
from broker.policy.views import PLAIN, View, disguises, views

WHOLE_CHARS = 1280
"""A text no longer than this is one window; a longer one is read in segments, two to a window."""
SEGMENT_CHARS = 320
BLOCK_WINDOWS = 10
DERIVED_WINDOWS_MAX = 160

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


@dataclass(slots=True, eq=False)
class Segment:
    """A stretch of a folded text in lower case, from `start`, with what the model reads in it."""

    start: int
    text: str
    words: list[str]
    symbols: Sequence[str]
    """Of the words, one each."""
    letters: list[str]
    """Of the words that have a concept, one each. Lists: a character beyond Latin-1 is made, and hashed, each
    time that it is read off a text.
    """

    @property
    def concepts(self) -> str:
        return "".join(self.letters)


class Window(NamedTuple):
    """One segment or two. `rules`: places in the pack; `marks`: names of how the view was come by."""

    view: View
    segments: tuple[Segment, ...]
    rules: tuple[int, ...]
    marks: tuple[str, ...]


def windows(text: str, pack: RulePack, words: Lexicon) -> Iterator[Window]:
    """The windows of the text itself, all of them, then those of the texts hidden in it, up to a limit."""
    hidden = tuple(f"hidden.{kind}" for kind in disguises(text))
    plain, *derived = views(text)
    yield from _of_view(plain, hidden, unpaired(plain.text), pack, words)
    found = (window for view in derived for window in _of_view(view, hidden, (), pack, words))
    yield from islice(found, DERIVED_WINDOWS_MAX)


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


def _of_view(
    view: View, hidden: tuple[str, ...], ending: tuple[str, ...], pack: RulePack, words: Lexicon
) -> Iterator[Window]:
    """`ending` marks the last window alone."""
    kinds = {} if view.kind == PLAIN else dict.fromkeys(view.kind.split("+"))
    marks = (*(f"view.{kind}" for kind in kinds), *hidden)
    lower = words.parted(view.text.lower())
    edges = _edges(lower)
    last = edges[-1][0]
    for found, rules in _with_rules(lower, edges, pack, words):
        yield Window(view, found, rules, (*marks, *ending) if found[-1].start == last else marks)


def _segment(start: int, text: str, words: Lexicon) -> Segment:
    found = tokenize(text)
    symbols = words.symbols(found)
    return Segment(start, text, found, symbols, words.letters(symbols))


def _edges(lower: str) -> list[tuple[int, int]]:
    if len(lower) <= WHOLE_CHARS:
        return [(0, len(lower))]
    starts = range(0, len(lower), SEGMENT_CHARS)
    return [(start, min(start + SEGMENT_CHARS, len(lower))) for start in starts]


def _with_rules(
    lower: str, edges: Sequence[tuple[int, int]], pack: RulePack, words: Lexicon
) -> Iterator[tuple[tuple[Segment, ...], tuple[int, ...]]]:
    """Windows in rows of a few: what no rule finds in the whole row, none is asked to find in its windows."""
    segment = _segment(0, lower[: edges[0][1]], words)
    if len(edges) == 1:
        yield (segment,), pack.find(segment.text, segment.symbols).rules
        return
    for first in range(0, len(edges) - 1, BLOCK_WINDOWS):
        block = [segment]
        for start, stop in edges[first + 1 : first + BLOCK_WINDOWS + 1]:
            block.append(_segment(start, lower[start:stop], words))
        yield from _of_block(block, pack)
        segment = block[-1]


def _of_block(
    block: Sequence[Segment], pack: RulePack
) -> Iterator[tuple[tuple[Segment, ...], tuple[int, ...]]]:
    text = "".join([segment.text for segment in block])
    rules = pack.rows.of(text)
    if rules is None:
        symbols = list(chain.from_iterable([segment.symbols for segment in block]))
        edges = [0, *accumulate([len(segment.symbols) for segment in block])]
        rules = pack.of_windows(pack.find(text, symbols), [segment.text for segment in block], edges)
        pack.rows.keep(text, rules)
    yield from zip(pairwise(block), rules, strict=True)
