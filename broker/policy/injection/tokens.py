"""A text as words and ends of sentences, without a loop over its characters."""

import re

END = "."
_WORD = b"abcdefghijklmnopqrstuvwxyz0123456789" + bytes(range(128, 256))
_ENDS = b"\n.!?;:"
SIGNS = bytes(n if n in _WORD else ord(END) if n in _ENDS else ord(" ") for n in range(256))
"""Of each byte what it counts as."""
DROPPED = b"'"
_WIDE_ENDS = re.compile("[\u3002\u0964\u06d4]")
_WIDE_SIGNS = re.compile("[\u0080-\u00bf\u1680\u2000-\u2bff\u3000-\u302f]")


def tokenize(lower: bytes) -> list[str]:
    """Words of a text in lower case and UTF-8, apostrophes dropped; a row of signs that end a sentence is one
    END. Nothing else that Python takes for a blank is left.
    """
    if not lower.isascii():
        lower = _WIDE_SIGNS.sub(" ", _WIDE_ENDS.sub(END, lower.decode())).encode()
    first, *others = lower.translate(SIGNS, DROPPED).split(b".")
    if not others:
        return first.decode().split()
    *between, last = others
    return b" . ".join((first, *filter(None, between), last)).decode().split()


def encoded(lower: str) -> bytes:
    """Halves of surrogate pairs, which no UTF-8 has, become question marks."""
    return lower.encode(errors="replace")
