"""A text as overlapping windows, each with its rules and marks: what training and the detector read."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from broker.policy.injection.features import Document, read
from broker.policy.injection.lexicon import Lexicon
from broker.policy.injection.rules import RulePack
from broker.policy.views import PLAIN, View, disguises, views

WINDOW_CHARS = 1024
STEP_CHARS = 640
BLOCK_STEPS = 5
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
)


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a view. `rules`: places in the pack; `marks`: names of how the view was come by."""

    view: View
    document: Document
    start: int
    stop: int
    rules: tuple[int, ...]
    marks: tuple[str, ...]


def windows(text: str, pack: RulePack, words: Lexicon) -> Iterator[Window]:
    """The windows of the text itself, all of them, then those of the texts hidden in it, up to a limit."""
    hidden = tuple(f"hidden.{kind}" for kind in disguises(text))
    plain, *derived = views(text)
    yield from _of_view(plain, hidden, pack, words)
    found = (window for view in derived for window in _of_view(view, hidden, pack, words))
    yield from islice(found, DERIVED_WINDOWS_MAX)


def _of_view(view: View, hidden: tuple[str, ...], pack: RulePack, words: Lexicon) -> Iterator[Window]:
    document = read(view.text, words)
    kinds = {} if view.kind == PLAIN else dict.fromkeys(view.kind.split("+"))
    marks = (*(f"view.{kind}" for kind in kinds), *hidden)
    for block in _blocks(len(document.lower)):
        likely = _hits(document, block[0][0], block[-1][1], pack, None)
        for start, stop in block:
            rules = likely if len(block) == 1 or not likely else _hits(document, start, stop, pack, likely)
            yield Window(view, document, start, stop, rules, marks)


def _blocks(length: int) -> Iterator[list[tuple[int, int]]]:
    """Windows in rows of a few: what no rule finds in the whole row, none is asked to find in its windows."""
    last = max(length - (WINDOW_CHARS - STEP_CHARS), 1)
    starts = range(0, last, STEP_CHARS)
    for first in range(0, len(starts), BLOCK_STEPS):
        yield [(start, min(start + WINDOW_CHARS, length)) for start in starts[first : first + BLOCK_STEPS]]


def _hits(
    document: Document, start: int, stop: int, pack: RulePack, among: tuple[int, ...] | None
) -> tuple[int, ...]:
    first, last = np.searchsorted(document.starts, (start, stop))
    return tuple(pack.hits(document.lower[start:stop], document.symbols[first:last], among))
