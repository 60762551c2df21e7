"""Encodings inside a text, decoded in place: base64, hex, percent, entities, escapes, binary, Morse."""

import base64
import binascii
import html
import re
from collections.abc import Callable, Collection
from functools import partial
from urllib.parse import unquote

# No UTF-8 begins with a byte whose first six bits are one of g to v, + or /: most words and paths fall away.
_BASE64 = re.compile(r"(?<![A-Za-z0-9+/=_-])[A-Za-fw-z0-9][A-Za-z0-9+/_-]{15,}={0,2}")
_HEX = re.compile(r"(?<![0-9A-Za-z])(?:(?:\\x|0x)?[0-9a-fA-F]{2}[ :,;-]{0,2}){8,}(?![0-9A-Za-z])")
_PERCENT = re.compile(r"(?:%[0-9a-fA-F]{2})(?:[\w.~-]{0,12}%[0-9a-fA-F]{2}){3,}[\w.~-]{0,12}")
_ENTITY = re.compile(r"&#(?:x[0-9a-fA-F]{1,6}|[0-9]{1,7});(?:&#(?:x[0-9a-fA-F]{1,6}|[0-9]{1,7});){3,}")
_ESCAPE = re.compile(r"(?:\\u[0-9a-fA-F]{4}){4,}")
_BINARY = re.compile(r"(?<![0-9])(?:[01]{8}[ ,]{0,2}){5,}(?![0-9])")
_MORSE = re.compile(r"(?<![\w.-])[.-]{1,6}(?:[ ]{1,3}[.-]{1,6}| ?[/|] ?[.-]{1,6}){9,}")

_HEX_PAIR = re.compile(r"(?:\\x|0x)?([0-9a-fA-F]{2})")
_PADDING = re.compile("[ \t\r\n=]")
_PRINTABLE = re.compile(r"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffd]")
_LETTERS = re.compile(r"[^\W\d_]")
_PRINTABLE_PERCENT = 95
_LETTERS_PERCENT = 55
_MORSE_TABLE = {
    ".-": "a", "-...": "b", "-.-.": "c", "-..": "d", ".": "e", "..-.": "f", "--.": "g",
    "....": "h", "..": "i", ".---": "j", "-.-": "k", ".-..": "l", "--": "m", "-.": "n",
    "---": "o", ".--.": "p", "--.-": "q", ".-.": "r", "...": "s", "-": "t", "..-": "u",
    "...-": "v", ".--": "w", "-..-": "x", "-.--": "y", "--..": "z", "-----": "0", ".----": "1",
    "..---": "2", "...--": "3", "....-": "4", ".....": "5", "-....": "6", "--...": "7", "---..": "8",
    "----.": "9",
}  # fmt: skip


def decoded(text: str, encodings: Collection[str]) -> str | None:
    """The text with every run that decodes to readable text replaced by it; None if there is none."""
    clear = text
    for name, (pattern, read) in _READERS.items():
        if name in encodings:
            clear = pattern.sub(partial(_replaced, read), clear)
    return None if clear == text else clear


def _replaced(read: Callable[[str], str | None], match: re.Match[str]) -> str:
    return read(match[0]) or match[0]


def _from_base64(run: str) -> str | None:
    packed = run.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return _readable(base64.b64decode(packed + "=" * (-len(packed) % 4)))
    except binascii.Error:
        return None


def _from_hex(run: str) -> str | None:
    return _readable(bytes.fromhex("".join(_HEX_PAIR.findall(run))))


def _from_binary(run: str) -> str | None:
    bits = re.sub("[ ,]", "", run)
    return _readable(bytes(int(bits[n : n + 8], 2) for n in range(0, len(bits), 8)))


def _from_percent(run: str) -> str | None:
    return _legible(unquote(run, errors="replace"))


def _from_entities(run: str) -> str | None:
    return _legible(html.unescape(run))


def _from_escapes(run: str) -> str | None:
    units = bytes.fromhex(run.replace("\\u", ""))
    return _legible(units.decode("utf-16-be", errors="replace"))


def _from_morse(run: str) -> str | None:
    words = [word.split() for word in re.split(r" ?[/|] ?| {3}", run)]
    text = " ".join("".join(_MORSE_TABLE.get(sign, "?") for sign in word) for word in words)
    return None if text.count("?") * 5 > len(text) else text


def _readable(data: bytes) -> str | None:
    try:
        return _legible(data.decode())
    except UnicodeDecodeError:
        return None


def _legible(text: str) -> str | None:
    """Text proper: printable nearly throughout, and mostly letters."""
    length = max(len(text), 1)
    printable = len(_PRINTABLE.findall(text)) * 100 >= length * _PRINTABLE_PERCENT
    letters = len(_LETTERS.findall(text)) * 100 >= length * _LETTERS_PERCENT
    return text if printable and letters and len(text) >= 4 else None


_READERS: dict[str, tuple[re.Pattern[str], Callable[[str], str | None]]] = {
    "escape": (_ESCAPE, _from_escapes),
    "entity": (_ENTITY, _from_entities),
    "percent": (_PERCENT, _from_percent),
    "binary": (_BINARY, _from_binary),
    "hex": (_HEX, _from_hex),
    "base64": (_BASE64, _from_base64),
    "morse": (_MORSE, _from_morse),
}
