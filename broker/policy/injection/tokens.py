"""A text as arrays: its words, each with a hash and a place (numpy, no loop over characters).

A word's hash is the sum of its letters times the powers of an odd number R, modulo 2^32: a difference of two
running sums, brought to the word's own start by the inverse power. So all words are hashed at once.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

U32 = NDArray[np.uint32]
I64 = NDArray[np.int64]

_WORD, _END = 1, 2
_STEM_CHARS = 6
_R = 0x9E3779B1
_MIX = np.uint32(0x85EBCA6B)
_HALF = np.uint32(16)
_END_HASH = np.uint32(0x5BD1E995)
_POWERS_CHARS = 1 << 17


@dataclass(frozen=True, slots=True)
class Tokens:
    """Words and ends of sentences in order. `starts`: places of the first characters."""

    starts: I64
    hashes: U32
    stems: U32
    """Hash of the first six letters."""
    ends: NDArray[np.bool_]


def codes_of(text: str) -> U32:
    """Code points of the text."""
    if text.isascii():
        return np.frombuffer(text.encode(), np.uint8).astype(np.uint32)
    return np.frombuffer(text.encode("utf-32-le", errors="replace"), np.uint32)


def tokenize(codes: U32) -> Tokens:
    classes = np.zeros(len(codes) + 2, np.uint8)
    classes[1:-1] = _classes(codes)
    edges = np.flatnonzero(classes[1:] != classes[:-1])
    kinds = classes[edges + 1]
    parts = np.flatnonzero(kinds)
    starts = edges[parts]
    powers, inverses = _powers(len(codes))
    sums = np.zeros(len(codes) + 1, np.uint32)
    np.cumsum(_terms(codes) * powers, dtype=np.uint32, out=sums[1:])
    stops = edges[parts + 1] if len(parts) else starts
    base = sums[starts]
    scale = inverses[starts]
    hashes = (sums[stops] - base) * scale
    stems = (sums[np.minimum(stops, starts + _STEM_CHARS)] - base) * scale
    ends = kinds[parts] == _END
    hashes[ends] = _END_HASH
    return Tokens(starts, scramble(hashes), scramble(stems), ends)


def _terms(codes: U32) -> U32:
    """Each letter as a number of many bits; those of ASCII stand in a table."""
    if codes.max(initial=0) < len(_ascii_terms()):
        return _ascii_terms().take(codes)
    return _mixed(codes)


@cache
def _ascii_terms() -> U32:
    return _mixed(np.arange(128, dtype=np.uint32))


def _mixed(codes: U32) -> U32:
    return ((codes ^ (codes << np.uint32(9))) + np.uint32(77)) * _MIX


def scramble(hashes: U32) -> U32:
    """Spreads a sum over all bits, so that the high ones may serve as a bucket."""
    mixed = (hashes ^ (hashes >> _HALF)) * _MIX
    mixed ^= mixed >> np.uint32(13)
    return mixed * np.uint32(0xC2B2AE35)


def hash_of(word: str) -> int:
    """The hash that `tokenize` gives this one word (lower case)."""
    return int(tokenize(codes_of(word)).hashes[0])


def _powers(count: int) -> tuple[U32, U32]:
    if count > _POWERS_CHARS:
        return _power_table(_R, count), _power_table(pow(_R, -1, 1 << 32), count)
    powers, inverses = _short_powers()
    return powers[:count], inverses


@cache
def _short_powers() -> tuple[U32, U32]:
    return _power_table(_R, _POWERS_CHARS), _power_table(pow(_R, -1, 1 << 32), _POWERS_CHARS)


def _power_table(base: int, count: int) -> U32:
    """Powers 0 to `count` - 1, modulo 2^32."""
    factors = np.full(count, base, np.uint32)
    factors[:1] = 1
    return np.cumprod(factors, dtype=np.uint32)


@cache
def _ascii_classes() -> NDArray[np.uint8]:
    classes = np.zeros(128, np.uint8)
    for char in "abcdefghijklmnopqrstuvwxyz0123456789":
        classes[ord(char)] = _WORD
    for char in "\n.!?;:":
        classes[ord(char)] = _END
    return classes


def _classes(codes: U32) -> NDArray[np.uint8]:
    classes = _ascii_classes().take(codes, mode="clip")
    wide = codes > 127
    if wide.any():
        classes[wide] = _WORD
        signs = (
            (codes < 0xC0) | ((codes >= 0x2000) & (codes < 0x2C00)) | ((codes >= 0x3001) & (codes < 0x3030))
        )
        classes[wide & signs] = 0
        classes[(codes == 0x3002) | (codes == 0x964) | (codes == 0x6D4)] = _END
    return classes
