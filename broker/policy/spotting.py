"""Where personal and secret data stand in a job's texts: in each by itself, and across those that follow."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Final, Protocol

from broker.policy.dlp.spans import Span
from broker.policy.memory import Memory
from broker.policy.passages import BREAK, EDGE_CHARS, Piece, pieces, runs
from broker.policy.texts import Text

REMEMBERED_MAX: Final = 8_192
"""Texts, the last ones that came: some hundred bytes each, where little is in them."""
_REMEMBERED_SPANS_MAX: Final = 32
TOGETHER_CHARS_MAX: Final = 4_096
"""Of texts that are read at once: fewer than a finder tells apart findings."""
_SHORT_CHARS_MAX: Final = 1_024
_NEAR_CHARS: Final = 64
"""So far behind a seam what stands before it may say what a number is."""
_SEAMS: Final = ("", " ")
"""How a provider may put parts together."""

_Shares = list[tuple[Text, Span]]
"""One finding, by the texts that it is in."""


class SpanFinder(Protocol):
    @property
    def reads_apart(self) -> bool:
        """What it finds in a text depends on where the text begins and ends."""
        ...

    def every(self, text: str) -> Sequence[Span]:
        """Of all types, whether or not they overlap others."""
        ...


class Remembered:
    """What one finder found in texts of late, but for those in which it found much."""

    def __init__(self) -> None:
        self._memory = Memory[Sequence[Span]](REMEMBERED_MAX)

    def of(self, text: str) -> Sequence[Span] | None:
        return self._memory.of(text)

    def keep(self, text: str, spans: Sequence[Span]) -> None:
        if len(spans) <= _REMEMBERED_SPANS_MAX:
            self._memory.keep(text, spans)


def spot(
    texts: Sequence[Text], finder: SpanFinder, remembered: Remembered | None = None
) -> dict[Text, list[Span]]:
    """The findings of each text that has some, sorted; of one type they are disjoint. What goes across two
    texts is a finding in each. Linear in the length of all texts. Raises TooMuchFound.

    `remembered`: of the same finder; grows by what is new.
    """
    distinct = {text.text for text in texts}
    known = _each(distinct, finder) if remembered is None else _recalled(distinct, finder, remembered)
    found = {text: list(known[text.text]) for text in texts if known[text.text]}
    for run in runs(texts) if len(texts) > 1 else ():
        near = {text: _at_edges(text, found.get(text, ())) for text in run}
        for text, span in _new(_of_run(run, finder), near):
            found.setdefault(text, []).append(span)
    for spans in found.values():
        spans.sort()
    return found


def _recalled(
    distinct: Iterable[str], finder: SpanFinder, remembered: Remembered
) -> Mapping[str, Sequence[Span]]:
    found: dict[str, Sequence[Span]] = {}
    unknown: list[str] = []
    for text in distinct:
        spans = remembered.of(text)
        if spans is None:
            unknown.append(text)
        else:
            found[text] = spans
    for text, spans in _each(unknown, finder).items():
        remembered.keep(text, spans)
        found[text] = spans
    return found


def _each(distinct: Iterable[str], finder: SpanFinder) -> dict[str, Sequence[Span]]:
    """Short texts are read many at once: a reading has its price however short the text."""
    found: dict[str, Sequence[Span]] = {}
    short: list[str] = []
    size = 0
    for text in sorted(distinct):
        if finder.reads_apart or len(text) > _SHORT_CHARS_MAX:
            found[text] = finder.every(text)
            continue
        short.append(text)
        size += len(text) + len(BREAK)
        if size >= TOGETHER_CHARS_MAX:
            found.update(_together(short, finder))
            short, size = [], 0
    found.update(_together(short, finder))
    return found


def _together(texts: Sequence[str], finder: SpanFinder) -> Mapping[str, Sequence[Span]]:
    """As if each were read by itself. Where a customer's pattern goes across a break, each is."""
    if len(texts) < 2:
        return {text: finder.every(text) for text in texts}
    starts = _starts(texts, BREAK)
    found = {text: list[Span]() for text in texts}
    for span in finder.every(BREAK.join(texts)):
        place = bisect_right(starts, span.start) - 1
        start, end = span.start - starts[place], span.end - starts[place]
        if end > len(texts[place]):
            return {text: finder.every(text) for text in texts}
        found[texts[place]].append(Span(start, end, span.type))
    return found


def _starts(texts: Iterable[str], parting: str) -> list[int]:
    return list(accumulate((len(text) + len(parting) for text in texts), initial=0))[:-1]


def _chunks(run: Iterable[Piece]) -> Iterator[list[Piece]]:
    """Of bounded length; each begins with the end of the one before, so that no seam is left out."""
    chunk: list[Piece] = []
    size, seams = 0, 0
    for piece in run:
        chunk.append(piece)
        size += len(piece.text)
        seams += len(chunk) > 1 and not piece.cut
        if size >= TOGETHER_CHARS_MAX and seams:
            yield chunk
            chunk = _tail(chunk)
            size, seams = sum(len(each.text) for each in chunk), 0
    if seams:
        yield chunk


def _tail(chunk: Sequence[Piece]) -> list[Piece]:
    size, at = 0, len(chunk)
    while at and size < EDGE_CHARS:
        at -= 1
        size += len(chunk[at].text)
    return list(chunk[at:])


def _of_run(run: Sequence[Text], finder: SpanFinder) -> Iterator[_Shares]:
    for seam in _SEAMS:
        for chunk in _chunks(pieces(run)):
            yield from _across(chunk, seam, finder)


def _across(chunk: Sequence[Piece], seam: str, finder: SpanFinder) -> Iterator[_Shares]:
    """The findings that go across a seam, or stand right behind one, each by the texts that it is in."""
    written = [(BREAK if piece.cut else seam) + piece.text for piece in chunk]
    starts = [end - len(piece.text) for end, piece in zip(accumulate(map(len, written)), chunk, strict=True)]
    for span in finder.every("".join(written)):
        first = max(bisect_right(starts, span.start) - 1, 0)
        last = max(bisect_right(starts, span.end - 1) - 1, first)
        behind = first > 0 and not chunk[first].cut and span.start - starts[first] < _NEAR_CHARS
        if behind or any(not piece.cut for piece in chunk[first + 1 : last + 1]):
            yield list(_shares(span, chunk[first : last + 1], starts[first : last + 1]))


def _shares(span: Span, chunk: Sequence[Piece], starts: Sequence[int]) -> Iterator[tuple[Text, Span]]:
    for piece, start in zip(chunk, starts, strict=True):
        low, high = max(span.start - start, 0), min(span.end - start, len(piece.text))
        if low < high:
            yield piece.source, Span(piece.start + low, piece.start + high, span.type)


def _new(across: Iterable[_Shares], near: Mapping[Text, list[Span]]) -> Iterator[tuple[Text, Span]]:
    """Where a text by itself shows what it is, its neighbors do not count. `near` grows by what is new."""
    for shares in across:
        if not any(_overlaps(share, near[text]) for text, share in shares):
            for text, share in shares:
                near[text].append(share)
                yield text, share


def _at_edges(text: Text, spans: Iterable[Span]) -> list[Span]:
    behind = len(text.text) - EDGE_CHARS
    return [span for span in spans if span.start < EDGE_CHARS or span.end > behind]


def _overlaps(one: Span, others: Iterable[Span]) -> bool:
    return any(one.type == other.type and one.start < other.end and other.start < one.end for other in others)
