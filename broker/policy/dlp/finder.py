"""Finds what must not leave, or not come back, in a text. Pure, and linear in the text's length."""

from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import islice
from types import MappingProxyType

from broker.policy.dlp import addresses, cards, credentials, emails, ibans, phones, ssns
from broker.policy.dlp.customers import Dictionary, Expression, utf8
from broker.policy.dlp.errors import DlpRulesInvalid, TooMuchFound
from broker.policy.dlp.phones import Phones
from broker.policy.dlp.scanning import View, seen, view
from broker.policy.dlp.spans import Kind, Span, settle, settle_by_type

REGIONS = ("US", "GB", "DE", "FR")
"""Whose national telephone numbers are known unless others are named."""

FOUND_MAX = 10_000
"""Of one type in one text."""

_WARM_UP = (
    "\u3000joe@example.com 10.1.2.3 fe80::1 DE89 3704 0044 0532 0130 00 4111 1111 1111 1111 password: a1b2c3"
)
"""Compiles what is compiled at the first use, so that no prompt waits for it."""

_Detector = Callable[[View], Iterator[Span]]


class Finder:
    def __init__(
        self,
        kinds: Collection[Kind],
        regions: Collection[str] = REGIONS,
        dictionaries: Mapping[str, Collection[str]] = MappingProxyType({}),
        patterns: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """`dictionaries` and `patterns` are keyed by the type that their spans get.

        Raises DlpRulesInvalid for a region, dictionary or pattern that cannot be used, and for PERSON, which
        nothing here finds.
        """
        if Kind.PERSON in kinds:
            raise DlpRulesInvalid("PERSON is found by a plug-in alone, beside policy: leave the type out")
        if twice := dictionaries.keys() & patterns.keys():
            raise DlpRulesInvalid(f"{sorted(twice)}: name a dictionary and a pattern differently")
        self._detectors = _detectors(frozenset(kinds), regions)
        self._searched(view(_WARM_UP))
        self._customers: tuple[Dictionary | Expression, ...] = (
            *(Dictionary(name, phrases) for name, phrases in dictionaries.items()),
            *(Expression(name, source) for name, source in patterns.items()),
        )
        self.reads_apart = any(customer.is_anchored for customer in self._customers)
        """What it finds in a text depends on where the text begins and ends."""

    def find(self, text: str) -> tuple[Span, ...]:
        """Sorted and disjoint. Where findings overlap, the longest and then the most specific stands.

        Raises TooMuchFound beyond FOUND_MAX of one type; the text is then to be refused.
        """
        return settle(self._found(text))

    def every(self, text: str) -> tuple[Span, ...]:
        """Sorted, and disjoint within each type: what is decided on, so that no type hides another, such as
        an e-mail address the card number before its `@`. Raises TooMuchFound, as `find` does.
        """
        found = self._found(text)
        return settle_by_type(found) if found else ()

    def _found(self, text: str) -> list[Span]:
        """As the text is written, where what is not seen parts words, and as it is seen."""
        written = view(text)
        found = self._read(text, written)
        shown = None if written.as_seen else seen(text)
        if shown is not None:
            places = shown.places
            spans = self._read(shown.text, view(shown.text))
            found += [Span(places[start], places[end], type_) for start, end, type_ in spans]
        return found

    def _read(self, text: str, shown: View) -> list[Span]:
        found = self._searched(shown)
        if self._customers:
            encoded = utf8(text)
            for customer in self._customers:
                found += _bounded(customer.find(encoded))
        return found

    def _searched(self, shown: View) -> list[Span]:
        found: list[Span] = []
        for digits_min, detector in self._detectors:
            if shown.may_hold(digits_min):
                found += _bounded(detector(shown))
        return found


def _bounded(spans: Iterator[Span]) -> list[Span]:
    found = list(islice(spans, FOUND_MAX + 1))
    if len(found) > FOUND_MAX:
        raise TooMuchFound(f"more than {FOUND_MAX} findings of type {found[0].type} in one text")
    return found


def _detectors(kinds: frozenset[Kind], regions: Collection[str]) -> tuple[tuple[int, _Detector], ...]:
    """Each with how many digits a text has to hold at least for it to find something."""
    of_kind: tuple[tuple[Kind, int, _Detector], ...] = (
        (Kind.EMAIL, 0, emails.find),
        (Kind.IP_ADDRESS, addresses.DIGITS_MIN, addresses.find),
        (Kind.CREDIT_CARD, cards.DIGITS_MIN, cards.find),
        (Kind.IBAN, ibans.DIGITS_MIN, ibans.find),
        (Kind.US_SSN, ssns.DIGITS_MIN, ssns.find),
        (Kind.PHONE, phones.DIGITS_MIN, Phones(regions).find),
        (Kind.SECRET, 0, credentials.find),
    )
    return tuple((digits_min, detector) for kind, digits_min, detector in of_kind if kind in kinds)
