"""Texts that say themselves what is to be found in them: `Mail «EMAIL:joe@example.com».`"""

import re

from broker.policy.dlp.finder import Finder
from broker.policy.dlp.spans import Kind, Span

FOUND = tuple(kind for kind in Kind if kind != Kind.PERSON)
FINDER = Finder(FOUND)
_MARK = re.compile("«([A-Z_]+):(.*?)»", re.DOTALL)


def unmarked(marked: str) -> tuple[str, tuple[Span, ...]]:
    parts, spans, last, at = [], [], 0, 0
    for mark in _MARK.finditer(marked):
        before, value = marked[last : mark.start()], mark[2]
        start = at + len(before)
        at = start + len(value)
        parts += [before, value]
        spans.append(Span(start, at, mark[1]))
        last = mark.end()
    return "".join([*parts, marked[last:]]), tuple(spans)


def judge(marked: str) -> None:
    """What is marked is found, and nothing else."""
    text, spans = unmarked(marked)
    assert FINDER.find(text) == spans
