"""US social security numbers: AAA-GG-SSSS with hyphens; with spaces, or bare, where a word near says so."""

from collections.abc import Iterator

from stdnum.us import ssn

from broker.policy.dlp.cues import RECORDS, Cues
from broker.policy.dlp.scanning import View, begins_word, ends_word, pattern
from broker.policy.dlp.spans import Kind, Span

DIGITS_MIN = 9
"""Fewer in a row are none."""
_HYPHENS = pattern(r"\b[0-9]{3}-[0-9]{2}-[0-9]{4}\b")
_NAMED = pattern(r"\b[0-9]{3}[ .-]?[0-9]{2}[ .-]?[0-9]{4}\b")
_CUES = Cues(
    "ssn ssns social socials soc taxpayer tin itin",
    f"{RECORDS} phone tel zip account acct format room seat product",
)


def find(view: View) -> Iterator[Span]:
    data, lower = view.data, view.data.lower()
    named = b"ssn" in lower or b"soc" in lower or b"tin" in lower
    for match in (_NAMED if named else _HYPHENS).finditer(data):
        start, end = match.start(), match.end()
        if begins_word(data, start) and ends_word(data, end) and _is_ssn(data, start, end):
            yield Span(start, end, Kind.US_SSN)


def _is_ssn(data: bytes, start: int, end: int) -> bool:
    cue = _CUES.before(data, start)
    number = data[start:end]
    hyphens = number[3:4] == b"-" and number[6:7] == b"-"
    if cue < 0 or (cue == 0 and (not hyphens or _CUES.after(data, end) < 0)):
        return False
    return ssn.is_valid(number.translate(None, b" .-").decode("ascii"))
