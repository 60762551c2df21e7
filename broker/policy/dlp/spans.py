"""What was found, and which of two findings stands where they overlap."""

from bisect import bisect_left
from collections.abc import Iterable
from enum import StrEnum
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
    """Found by a plug-in alone, and never acted on."""


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
    settled: list[Span] = []
    cluster: list[Span] = []
    reach = 0
    for span in sorted(found):
        if cluster and span.start >= reach:
            settled += _strongest(cluster)
            cluster = []
        cluster.append(span)
        reach = max(reach, span.end)
    return (*settled, *_strongest(cluster))


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
