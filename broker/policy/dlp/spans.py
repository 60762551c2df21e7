"""What was found, and which of two findings stands where they overlap."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple


class Kind(StrEnum):
    EMAIL = "EMAIL"
    PHONE = "PHONE"
    IBAN = "IBAN"
    CREDIT_CARD = "CREDIT_CARD"
    US_SSN = "US_SSN"
    SECRET = "SECRET"
    IP_ADDRESS = "IP_ADDRESS"
    PERSON = "PERSON"
    """Found by plug-ins alone, beside policy: nothing here finds it."""


class Span(NamedTuple):
    start: int
    """Offset of the first character in the Python string."""
    end: int
    """Offset behind the last character."""
    type: str
    """A `Kind`, or the name of a customer's dictionary or pattern."""


_BY_SPECIFICITY: tuple[str, ...] = (
    Kind.SECRET,
    Kind.IBAN,
    Kind.CREDIT_CARD,
    Kind.US_SSN,
    Kind.EMAIL,
    Kind.IP_ADDRESS,
    Kind.PHONE,
)
"""Before the customer's own types, and those before persons."""


def settle(found: Iterable[Span]) -> tuple[Span, ...]:
    """Sorted and disjoint: of spans that overlap the longest stands, of equals the most specific type."""
    return tuple(span for cluster in _clusters(found) for span in _strongest(cluster))


def settle_by_type(found: Iterable[Span]) -> tuple[Span, ...]:
    """Sorted, and disjoint within each type: what stands in a finding of another type stays one."""
    by_type = groupby(sorted(found, key=attrgetter("type")), key=attrgetter("type"))
    return tuple(sorted(span for _, spans in by_type for span in settle(spans)))


def cover(found: Iterable[Span], is_first: Callable[[str], bool]) -> tuple[Span, ...]:
    """Sorted and disjoint, over all that `found` is over: spans that overlap become one. It has the type that
    `is_first` says, if one of theirs is; of several the one that `settle` would leave first.
    """
    return tuple(
        Span(
            cluster[0].start,
            max(span.end for span in cluster),
            min(cluster, key=lambda span: (not is_first(span.type), _strength(span))).type,
        )
        for cluster in _clusters(found)
    )


def _clusters(found: Iterable[Span]) -> Iterator[list[Span]]:
    """Sorted, each of spans that hang together by overlapping."""
    cluster: list[Span] = []
    reach = 0
    for span in sorted(found):
        if cluster and span.start >= reach:
            yield cluster
            cluster = []
        cluster.append(span)
        reach = max(reach, span.end)
    if cluster:
        yield cluster


def _strongest(cluster: list[Span]) -> list[Span]:
    if len(cluster) < 2:
        return cluster
    kept: list[Span] = []
    for span in sorted(cluster, key=_strength):
        place = bisect_left(kept, span)
        before_ends = kept[place - 1].end if place else 0
        if before_ends <= span.start and (place == len(kept) or span.end <= kept[place].start):
            kept.insert(place, span)
    return kept


def _strength(span: Span) -> tuple[int, int, int]:
    return span.start - span.end, _rank(span.type), span.start


def _rank(type_: str) -> int:
    if type_ in _BY_SPECIFICITY:
        return _BY_SPECIFICITY.index(type_)
    return len(_BY_SPECIFICITY) + (type_ == Kind.PERSON)
