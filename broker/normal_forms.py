"""Unicode's normal forms, in time linear in the text (Unicode Standard Annex 15)."""

import re
import unicodedata
from functools import cache
from typing import Literal

_TOGETHER_MAX = 30
"""Marks in a row; the annex's stream-safe format has no more. To put more in order takes time with the square
of their number.
"""
_MARKS_END = 0x1E94B
_HIGH = f"\U00010000-{chr(_MARKS_END - 1)}"
_MADE_OF_MARKS = "\u0f73\u0f75\u0f81\uff9e\uff9f"
"""These are none by themselves, and are taken apart into some."""


def normalized(form: Literal["NFC", "NFKC", "NFKD"], text: str) -> str:
    """As `unicodedata.normalize` gives it, but more than thirty marks in a row by thirties."""
    if text.isascii():
        return text
    cuts = [row.end() for row in _long_row().finditer(text)]
    if not cuts:
        return unicodedata.normalize(form, text)
    pieces = (text[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(text)], strict=True))
    return "".join([unicodedata.normalize(form, piece) for piece in pieces])


@cache
def _long_row() -> re.Pattern[str]:
    marks = [chr(code) for code in range(0x300, _MARKS_END) if unicodedata.combining(chr(code))]
    each = f"[{''.join(marks)}{_MADE_OF_MARKS}]"
    # A class before its repetition lets `re` leap to the first mark. It has a table of those below 65,536 and
    # goes through the others one by one, each time: so they are a range here, and told apart behind it.
    low = "".join(mark for mark in marks if mark < _HIGH[0])
    return re.compile(f"[{low}{_MADE_OF_MARKS}{_HIGH}](?<={each}){each}{{{_TOGETHER_MAX - 1}}}(?={each})")
