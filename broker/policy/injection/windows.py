"""A text as overlapping windows, each with its rules and marks: what training and the detector read."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, islice, pairwise
from typing import NamedTuple

from broker.policy.injection.lexicon import Lexicon, Numbers
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
class Block:
    """A stretch of a folded text in lower case, in segments, with what the model reads in it."""

    starts: Sequence[int]
    """Of the segments, in characters of the text."""
    texts: Sequence[str]
    words: Sequence[Sequence[str]]
    """Of each segment."""
    edges: Sequence[int]
    """Where each segment's words begin among all, and the end of the last."""
    numbers: Numbers
    """Of all words."""
    symbols: Numbers


class Window(NamedTuple):
    """One segment of a block or two. `rules`: places in the pack; `marks`: how the view was come by."""

    view: View
    block: Block
    segments: tuple[int, ...]
    rules: tuple[int, ...]
    marks: tuple[str, ...]

    @property
    def start(self) -> int:
        """Where it begins in the text of the view, in characters."""
        return self.block.starts[self.segments[0]]


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
    for first in range(0, max(len(edges) - 2, 1), BLOCK_WINDOWS):
        block = _block(lower, edges[first : first + BLOCK_WINDOWS + 2], words)
        at_end = first + BLOCK_WINDOWS + 2 >= len(edges)
        rules = _rules(block, pack)
        for place, found in enumerate(rules):
            segments = (place,) if len(block.starts) == 1 else (place, place + 1)
            last = at_end and place + 1 == len(rules)
            yield Window(view, block, segments, found, (*marks, *ending) if last else marks)


def _edges(lower: str) -> list[int]:
    """Where segments begin, and the end of the last."""
    if len(lower) <= WHOLE_CHARS:
        return [0, len(lower)]
    return [*range(0, len(lower), SEGMENT_CHARS), len(lower)]


def _block(lower: str, edges: Sequence[int], words: Lexicon) -> Block:
    texts = [lower[start:stop] for start, stop in pairwise(edges)]
    found = [tokenize(text) for text in texts]
    numbers = words.numbers(list(chain.from_iterable(found)))
    return Block(edges[:-1], texts, found, [0, *accumulate(map(len, found))], numbers, words.symbols(numbers))


def _rules(block: Block, pack: RulePack) -> Sequence[tuple[int, ...]]:
    """Of each window. What no rule finds in the whole block, none is asked to find in its windows."""
    text = "".join(block.texts)
    if len(block.texts) == 1:
        return (pack.find(text, block.symbols).rules,)
    rules = pack.rows.of(text)
    if rules is None:
        rules = pack.of_windows(pack.find(text, block.symbols), block.texts, block.edges)
        pack.rows.keep(text, rules)
    return rules
