"""E-mail addresses (RFC 5322 dot-atoms without the exotic characters), with `@` or, as in URLs, `%40`."""

import re
from collections.abc import Iterator

from broker.policy.dlp.scanning import WORD, Found, View, pattern
from broker.policy.dlp.spans import Kind, Span

LOCAL_CHARACTERS_MAX = 64
ADDRESS_CHARACTERS_MAX = 254
"""RFC 5321, 4.5.3.1."""

_LETTER = "0-9A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u00ff"
_ADDRESS = pattern(
    rf"(?:[oOdD]')?[{_LETTER}_](?:[{_LETTER}_.+-]|[.][oOdD]')*"
    rf"(?:@|%40)(?:[{_LETTER}](?:[{_LETTER}-]*)\.)+(?:xn--[0-9A-Za-z-]+|[A-Za-z]{{2,24}})"
)
_PICTURE = re.compile(rb"@[0-9]x\.(?:png|jpe?g|gif|webp|svg|avif)$", re.IGNORECASE)
_GLUED = re.compile(rb"\.[a-z]{2,}([A-Z][A-Za-z]*)$")
_URL_BYTES = 80
_URL_BEFORE = re.compile(rb"://[^\s/]*$")


def find(view: View) -> Iterator[Span]:
    if b"@" not in view.data and (b"%" not in view.data or b"%40" not in view.data):
        return
    for match in _ADDRESS.finditer(view.data):
        start = match.start()
        end = _before_glued_word(match)
        if _addresses_a_person(view.data, start, end):
            yield Span(start, end, Kind.EMAIL)


def _before_glued_word(match: Found) -> int:
    """`joe@example.comHi`: the top-level domain ends where a capital follows small letters."""
    glued = _GLUED.search(match.group())
    return match.start() + glued.start(1) if glued else match.end()


def _addresses_a_person(data: bytes, start: int, end: int) -> bool:
    address = data[start:end]
    local, _, _ = address.replace(b"%40", b"@").partition(b"@")
    if len(local) > LOCAL_CHARACTERS_MAX or len(address) > ADDRESS_CHARACTERS_MAX:
        return False
    if local.endswith(b".") or b".." in local or _PICTURE.search(address):
        return False
    return not _continues(data, end) and not _logs_in(data, start, end, local)


def _continues(data: bytes, end: int) -> bool:
    if end >= len(data):
        return False
    capital = data[end : end + 1].isupper() and data[end - 1 : end].islower()
    return (data[end] in WORD and not capital) or data[end : end + 1] == b"@"


def _logs_in(data: bytes, start: int, end: int, local: bytes) -> bool:
    """A login in a URL (`https://name:word@host`) or of a remote shell (`git@host:path`)."""
    if local == b"git" or (data[end : end + 1] == b":" and data[end + 1 : end + 2] in {b"/", b"~"}):
        return True
    return data[start - 1 : start] in {b":", b"/"} and bool(
        _URL_BEFORE.search(data[max(0, start - _URL_BYTES) : start])
    )
