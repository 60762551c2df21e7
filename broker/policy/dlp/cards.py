"""Payment cards: an issuer's prefix, a length that it uses, and Luhn's check digit (ISO/IEC 7812-1)."""

from collections.abc import Iterator

from stdnum import luhn

from broker.policy.dlp.cues import RECORDS, Cues
from broker.policy.dlp.scanning import View, begins_word, ends_word, pattern
from broker.policy.dlp.spans import Kind, Span

DIGITS_MIN = 12
"""Fewer in a row are none."""
CHECKED_MAX = 4_000
"""In one text; of what looks like a card beyond, the shape and the prefix decide."""
_SEPARATORS = b" -."
_CARD = pattern(
    r"\b[2-6][0-9]{3}(?:[ .-][0-9]{4}){3}(?:[ .-][0-9]{1,3})?\b"
    r"|\b3[0-9]{3}[ .-][0-9]{6}[ .-][0-9]{4,5}\b"
    r"|\b[2-6][0-9]{11,18}\b"
)
_CUES = Cues(
    """
    card cards credit debit visa mastercard maestro amex cc pan carte karte kreditkarte kreditkartennummer
    debitkarte bankkarte cardnumber
    """,
    RECORDS,
)


def find(view: View) -> Iterator[Span]:
    data, at, checked = view.data, 0, 0
    while match := _CARD.search(data, at):
        start, end = match.start(), match.end()
        checked += 1
        if (
            begins_word(data, start)
            and ends_word(data, end)
            and _is_card(data, start, end, checked > CHECKED_MAX)
        ):
            yield Span(start, end, Kind.CREDIT_CARD)
            at = end
        else:
            at = start + (4 if checked <= CHECKED_MAX else end - start)


def _is_card(data: bytes, start: int, end: int, unchecked: bool) -> bool:
    digits = data[start:end].translate(None, _SEPARATORS).decode("ascii")
    if not _issued(digits):
        return False
    if unchecked:
        return True
    return luhn.is_valid(digits) and (_is_usual(digits) or _CUES.before(data, start) > 0)


def _is_usual(digits: str) -> bool:
    """American Express and Diners Club have 15 and 14 digits, all others of today 16."""
    return len(digits) == 16 or digits[0] == "3"


def _issued(digits: str) -> bool:
    """By the ranges that issuers publish: 3 American Express, Diners Club and JCB; 4 Visa; 2 and 51 to 55
    Mastercard and Mir; the rest of 5 and 6 Maestro, Discover and UnionPay.
    """
    length, two, four = len(digits), int(digits[:2]), int(digits[:4])
    match digits[0]:
        case "3":
            return (
                (length == 15 and two in {34, 37})
                or (length >= 16 and 3528 <= four <= 3589)
                or (length == 14 and (two in {36, 38, 39} or 3000 <= four <= 3059 or four == 3095))
            )
        case "4":
            return length in {13, 16, 19}
        case "2":
            return length == 16 and (2221 <= four <= 2720 or 2200 <= four <= 2204)
        case "5":
            return (length == 16 and 51 <= two <= 55) or two in {50, 56, 57, 58}
        case _ if length < 16:
            return two in {63, 67}
        case _:
            return two in {60, 62, 64, 65, 67} or four == 6304
