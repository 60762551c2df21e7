"""IBANs (ISO 13616): a country's structure and the mod-97 check; national check digits are not asked for."""

import re
from collections.abc import Iterator
from functools import cache

from stdnum import iban, numdb

from broker.policy.dlp.scanning import DIGIT, Pattern, View, begins_word, ends_word, pattern
from broker.policy.dlp.spans import Kind, Span

DIGITS_MIN = 2
"""Fewer are none."""
CHECKED_MAX = 4_000
"""In one text; of what has an IBAN's structure beyond, the structure decides."""
_AS_KINDS = bytes(
    ord("0") if byte in DIGIT else ord("a") if chr(byte).isalpha() and byte < 0x80 else ord(" ")
    for byte in range(256)
)
_BEGINNING = b"aa00"
_CLASSES = {"n": "[0-9]", "a": "[A-Z]", "c": "[0-9A-Z]"}
_FIELD = re.compile(r"([0-9]+)!([nac])")


def _structure(bban: str) -> str:
    """The registry's notation (`8!n10!n`) as a pattern, with a separator allowed before each character."""
    return "".join(f"(?:[ .-]?{_CLASSES[kind]}){{{count}}}" for count, kind in _FIELD.findall(bban))


@cache
def _ibans() -> Pattern:
    countries = (
        f"{country}[0-9]{{2}}{_structure(properties['bban'])}"
        for _, country, _, properties, _ in numdb.get("iban").prefixes
    )
    return pattern(rf"(?i)\b(?:{'|'.join(countries)})")


def find(view: View) -> Iterator[Span]:
    if _BEGINNING not in view.data.translate(_AS_KINDS):
        return
    data, at, checked = view.data, 0, 0
    while match := _ibans().search(data, at):
        start, end = match.start(), match.end()
        checked += 1
        sound = checked > CHECKED_MAX or iban.is_valid(data[start:end].decode("ascii"), check_country=False)
        if sound and begins_word(data, start) and ends_word(data, end):
            yield Span(start, end, Kind.IBAN)
            at = end
        else:
            at = start + 4
