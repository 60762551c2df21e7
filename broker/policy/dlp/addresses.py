"""IP addresses: IPv4 in four decimal numbers, IPv6 as of RFC 4291, 2.2.

Loopback, unspecified and broadcast addresses name nobody and are not found; neither are version numbers,
chapters and object identifiers, as far as what stands around them tells.
"""

import re
from collections.abc import Iterator
from ipaddress import AddressValueError, IPv6Address

from broker.policy.dlp.cues import Cues
from broker.policy.dlp.scanning import DIGIT, WORD, View, pattern
from broker.policy.dlp.spans import Kind, Span

DIGITS_MIN = 1
"""Fewer are none."""
_AS_CHAINS = bytes(
    byte if byte == ord(".") else ord("0") if byte in DIGIT else ord(" ") for byte in range(256)
)
_CHAINED = b"0.0"
_V4 = pattern(r"\b[0-9]+\.[0-9]+\.[0-9]+(?:\.[0-9]+)+\b")
"""Longer chains of numbers too: their parts are no addresses."""
_QUAD_BYTES_MAX = 15
_V6 = pattern(r"[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*")
"""Whole runs: a part of a longer one is no address."""
_V6_BYTES_MAX = 45
_HEXADECIMAL = b"0123456789ABCDEFabcdef"
_POINT = ord(".")
_SHORTEST_BYTES = 7
"""Four single digits are a version rather than an address, but for these."""
_RESOLVERS = frozenset({b"1.1.1.1", b"1.0.0.1", b"8.8.8.8", b"8.8.4.4", b"9.9.9.9"})
_SAYS_NOTHING = frozenset({b"127.0.0.1", b"0.0.0.0", b"255.255.255.255"})
_CUES = Cues(
    """
    ip ips ipv ipaddress address addresses addr host hosts hostname server servers ping pinged
    gateway subnet dns inet client clients peer peers router firewall adresse adresses remote node
    ssh proxy nameserver endpoint network
    """,
    """
    version versions ver v release released build chapter chapters section sections sect clause
    clauses figure figures fig table tables revision revisions rev firmware driver drivers upgrade
    upgraded upgrades upgrading update updated updates updating downgrade downgraded downgrades
    downgrading patch patched kapitel abschnitt ziffer chapitre paragraph paragraphs oid installer
    installed requires bump bumped bumps appendix annex article artikel heading item items
    rule exercise question requirement theorem lemma equation verse python
    java jdk kernel ruby php chrome firefox sdk package
    """,
)
_VERSION_BEFORE = re.compile(
    rb"(?:[=~^<>!]=|[A-Za-z]-|[~^]|(?<![A-Za-z0-9./:-])[A-Za-z]+/|[0-9A-Za-z_]\.|\xa7 ?)$"
)
_VERSION_AFTER = re.compile(rb"\.[0-9A-Za-z]|[-_+][A-Za-z]|[0-9A-Za-z_]")
_LINE_BEFORE = re.compile(rb"(?:^|\n|\\n)[ \t]*$")
_NEAR_BYTES = 24


def find(view: View) -> Iterator[Span]:
    data = view.data
    if view.digits >= 4 and data.count(b".") >= 3 and data.translate(_AS_CHAINS).count(_CHAINED) >= 2:
        yield from _v4(data)
    if data.count(b":") >= 2 and b"::" in data.translate(None, _HEXADECIMAL):
        yield from _v6(data)


def _v4(data: bytes) -> Iterator[Span]:
    for match in _V4.finditer(data):
        start, end = match.start(), match.end()
        if _is_quad(data[start:end]) and not _is_version(data, start, end):
            yield Span(start, end, Kind.IP_ADDRESS)


def _is_quad(address: bytes) -> bool:
    parts = address.split(b".") if len(address) <= _QUAD_BYTES_MAX else []
    if len(parts) != 4:
        return False
    decimal = all(int(part) < 256 and (len(part) == 1 or not part.startswith(b"0")) for part in parts)
    return decimal and address not in _SAYS_NOTHING


def _is_version(data: bytes, start: int, end: int) -> bool:
    if (
        _VERSION_AFTER.match(data, end)
        or _is_heading(data, start, end)
        or _VERSION_BEFORE.search(data[max(0, start - _NEAR_BYTES) : start])
    ):
        return True
    if data.endswith(b"://", 0, start):
        return False
    cue = _CUES.before(data, start)
    return cue < 0 or (cue == 0 and end - start == _SHORTEST_BYTES and data[start:end] not in _RESOLVERS)


def _is_heading(data: bytes, start: int, end: int) -> bool:
    """`1.2.2.1. Title` at the beginning of a line, also of a line that was escaped."""
    return data[end : end + 2] == b". " and bool(
        _LINE_BEFORE.search(data[max(0, start - _NEAR_BYTES) : start])
    )


def _v6(data: bytes) -> Iterator[Span]:
    for match in _V6.finditer(data):
        address = _without_punctuation(match.group())
        start = match.start() + match.group().index(address)
        end = start + len(address)
        if _is_v6(address) and _stands_alone(data, start, end):
            yield Span(start, end, Kind.IP_ADDRESS)


def _without_punctuation(address: bytes) -> bytes:
    """Without the end of a sentence, and without the colon of `host:fe80::1` or of `fe80::1:`."""
    address = address.rstrip(b".")
    if address.startswith(b":") and not address.startswith(b"::"):
        address = address[1:]
    return address[:-1] if address.endswith(b":") and not address.endswith(b"::") else address


def _stands_alone(data: bytes, start: int, end: int) -> bool:
    if start and (data[start - 1] in WORD or data[start - 1] == _POINT):
        return False
    after = data[end : end + 2]
    return not after or (
        after[0] not in WORD and (after[0] not in b":." or len(after) < 2 or after[1] not in WORD)
    )


def _is_v6(address: bytes) -> bool:
    if len(address) > _V6_BYTES_MAX:
        return False
    groups = address.split(b":")
    if not any(byte in DIGIT for byte in address) or (len(groups) < 5 and max(map(len, groups)) < 3):
        return False  # words joined by `::`, and slices such as [1::2]
    try:
        parsed = IPv6Address(address.decode("ascii"))
    except AddressValueError:
        return False
    return not parsed.is_loopback and not parsed.is_unspecified
