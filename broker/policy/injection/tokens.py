"""A text as words and ends of sentences, without a loop over its characters."""

import re

END = "."
_WORD = b"abcdefghijklmnopqrstuvwxyz0123456789" + bytes(range(128, 256))
_ENDS = b"\n.!?;:"
_TABLE = bytes(n if n in _WORD else ord(END) if n in _ENDS else ord(" ") for n in range(256))
_WIDE_ENDS = re.compile("[\u3002\u0964\u06d4]")
_WIDE_SIGNS = re.compile("[\u0080-\u00bf\u1680\u2000-\u2bff\u3000-\u302f]")


def tokenize(lower: str) -> list[str]:
    """Words of a text in lower case, apostrophes dropped; a row of signs that end a sentence is one END."""
    first, *others = signs(lower).split(b".")
    if not others:
        return first.decode().split()
    *between, last = others
    return b" . ".join((first, *filter(None, between), last)).decode().split()


def signs(lower: str) -> bytes:
    """In UTF-8, with a blank for each sign that parts words and `.` for each that ends a sentence."""
    if not lower.isascii():
        lower = _WIDE_SIGNS.sub(" ", _WIDE_ENDS.sub(END, lower))
    return lower.encode(errors="replace").translate(_TABLE, b"'")
