"""What the linear model reads: words, pairs of words, sequences of concepts and shapes of text, hashed.

A feature counts as often as it stands in a window; the sum of a family's weights over a window is divided by
the root of the number of its features there. So a window costs two look-ups in a running sum.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from broker.policy.injection.lexicon import PLAIN, Lexicon
from broker.policy.injection.tokens import I64, U32, codes_of, scramble, tokenize

FAMILIES = ("word", "pair", "concepts", "shape")
BITS = {"word": 16, "pair": 16, "concepts": 15, "shape": 13}
OFFSETS = {name: sum(1 << BITS[earlier] for earlier in FAMILIES[:n]) for n, name in enumerate(FAMILIES)}
SIZE = sum(1 << bits for bits in BITS.values())

_A = np.uint32(0x9E3779B1)
_B = np.uint32(0x85EBCA77)
_C = np.uint32(0xC2B2AE3D)
_FAR_WORDS = 3
_SIGNS = (
    " \t",
    "\n\r",
    ".",
    ",",
    "!",
    "?",
    ":;",
    "\"'`",
    "()",
    "[]",
    "{}",
    "<>",
    "-_",
    "=+~",
    "*#",
    "/\\|",
    "$%&@^",
)


@dataclass(frozen=True, slots=True)
class Document:
    """A text ready to be read by windows: per family the features, by the place where they begin."""

    lower: str
    symbols: NDArray[np.uint16]
    starts: I64
    places: tuple[I64 | None, ...]
    """By family; None where there is a feature at every character."""
    features: tuple[NDArray[np.int64], ...]


def read(folded: str, words: Lexicon) -> Document:
    """Reads a folded text, case kept."""
    parted = words.parted(folded.replace("'", ""))
    lower = parted.lower()
    codes = codes_of(lower)
    tokens = tokenize(codes)
    symbols = words.symbols(tokens)
    hashes, starts = tokens.hashes, tokens.starts
    where, concepts = _concepts(symbols, starts, words)
    pairs = scramble(hashes[:-1] * _A + hashes[1:] * _B)
    cased = codes if parted == lower else codes_of(parted)
    return Document(
        lower=lower,
        symbols=symbols,
        starts=starts,
        places=(starts, starts[:-1], where, None),
        features=tuple(
            (found >> np.uint32(32 - BITS[family])).astype(np.int64) + OFFSETS[family]
            for family, found in zip(FAMILIES, (hashes, pairs, concepts, _shapes(cased)), strict=True)
        ),
    )


def _concepts(symbols: NDArray[np.uint16], starts: I64, words: Lexicon) -> tuple[I64, U32]:
    """Two concepts in a row with their distance, and three in a row; words without one are passed over."""
    told = np.flatnonzero(symbols != PLAIN)
    found = words.primary[symbols[told]].astype(np.uint32) + np.uint32(1)
    far = np.minimum(np.diff(told), _FAR_WORDS).astype(np.uint32)
    first, second = found[:-1] * _A, found[1:] * _B
    hashes = np.empty(2 * len(first), np.uint32)
    hashes[::2] = first + second + far * _C
    hashes[1::2] = first + second
    hashes[1:-1:2] += found[2:] * _C + _A
    return np.repeat(starts[told[:-1]], 2), scramble(hashes)


def _shapes(codes: U32) -> U32:
    """Four characters in a row by class: letters small and large, digits, kinds of signs."""
    shapes = _shape_table().take(codes, mode="clip")
    pairs = shapes[:-1] * np.uint32(32) + shapes[1:]
    return scramble(pairs[:-2] * np.uint32(1024) + pairs[2:] + np.uint32(1))


@cache
def _shape_table() -> U32:
    table = np.full(129, 31, np.uint32)
    table[128] = 30
    for n in range(128):
        char = chr(n)
        if char.isalnum():
            table[n] = 3 if char.isdigit() else 1 if char.islower() else 2
    for n, signs in enumerate(_SIGNS):
        table[[ord(char) for char in signs]] = 4 + n
    return table
