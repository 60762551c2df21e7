"""A hash chain over audit entries: whoever holds its last hash sees every change, loss and swap before it.

hash(0) = SHA-256(GENESIS, entry 0), hash(n) = SHA-256(hash(n - 1), entry n): the previous hash as its 64
hexadecimal digits, then the entry's canonical bytes. The digits have one length, so nothing can move from
one part to the other.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import orjson

GENESIS: Final = "0" * 64


class Link(NamedTuple):
    """One entry as it is stored, beside the hash that it closes with."""

    position: int
    entry: Mapping[str, Any]
    hash: str


def canonical(entry: Mapping[str, Any]) -> bytes:
    """The bytes that are hashed: JSON in UTF-8 without spaces, keys sorted at every depth."""
    return orjson.dumps(entry, option=orjson.OPT_SORT_KEYS)


def link(previous_hash: str, entry: bytes) -> str:
    """The hash after `entry` (canonical bytes): 64 lower-case hexadecimal digits."""
    return hashlib.sha256(previous_hash.encode("ascii") + entry).hexdigest()


def verify(links: Iterable[Link], start: int = 0, previous_hash: str = GENESIS) -> int | None:
    """The first position, counted from `start`, at which the chain does not hold; None where it holds.

    Entries cut off the end leave a chain that holds: compare length and last hash with the head on record.
    """
    expected = start
    for stored in links:
        if stored.position != expected or stored.hash != link(previous_hash, canonical(stored.entry)):
            return expected
        previous_hash = stored.hash
        expected += 1
    return None
