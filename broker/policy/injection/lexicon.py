"""Concepts: which thoughts a word may stand for in an attack, in many languages, as one symbol a word."""

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from broker.policy.injection.tokens import Tokens, hash_of
from broker.policy.views import fold

PLAIN, END = 0, 10
_STEM_CHARS = 6
_CUTS_MAX = 50_000


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Words of the same concepts share a symbol, a small number; 0 is a word without one, 10 an end."""

    concepts: dict[str, frozenset[int]]
    """The symbols of each concept."""
    primary: NDArray[np.uint16]
    """For each symbol the number of its first concept, from 1; 0 for plain words."""
    _cut: re.Pattern[str]
    _hashes: NDArray[np.uint32]
    _symbols: NDArray[np.uint16]

    def parted(self, lower: str) -> str:
        """Known words of scripts without spaces set apart by spaces."""
        return lower if lower.isascii() else self._cut.sub(r" \g<0> ", lower, count=_CUTS_MAX)

    def symbols(self, tokens: Tokens) -> NDArray[np.uint16]:
        symbols = self._look_up(tokens.hashes)
        unknown = symbols == PLAIN
        symbols[unknown] = self._look_up(tokens.stems[unknown])
        symbols[tokens.ends] = END
        return symbols

    def _look_up(self, hashes: NDArray[np.uint32]) -> NDArray[np.uint16]:
        slots = np.searchsorted(self._hashes, hashes)
        symbols = self._symbols[slots]
        symbols[self._hashes[slots] != hashes] = PLAIN
        return symbols


def load(literals: Iterable[str] = ()) -> Lexicon:
    """The packaged words; each literal of a rule is a concept of its own, named by the word in quotes."""
    document = tomllib.loads(files(__package__).joinpath("lexicon.toml").read_text())
    concepts_of: dict[str, list[str]] = {}
    unspaced: set[str] = set()
    for concept, words in document["concepts"].items():
        _enter(concepts_of, concept, words)
    for concept, words in document["unspaced"].items():
        unspaced |= set(_enter(concepts_of, concept, words))
    for word in literals:
        _enter(concepts_of, f"'{word}'", word)
    return _build(concepts_of, unspaced)


def _enter(concepts_of: dict[str, list[str]], concept: str, words: str) -> list[str]:
    entered = fold(words).lower().replace("'", "").split()
    for word in entered:
        if concept not in concepts_of.setdefault(word, []):
            concepts_of[word].append(concept)
    return entered


def _build(concepts_of: dict[str, list[str]], unspaced: set[str]) -> Lexicon:
    groups = sorted({tuple(sorted(names)) for names in concepts_of.values()})
    symbol_of = {group: n for n, group in enumerate(groups, END + 1)}
    names = sorted({name for group in groups for name in group})
    primary = np.zeros(END + 1 + len(groups), np.uint16)
    for found in concepts_of.values():
        primary[symbol_of[tuple(sorted(found))]] = names.index(found[0]) + 1
    cut = "|".join(re.escape(word) for word in sorted(unspaced, key=lambda word: (-len(word), word)))
    concepts = {name: frozenset(symbol_of[group] for group in groups if name in group) for name in names}
    symbols = {word: symbol_of[tuple(sorted(found))] for word, found in concepts_of.items()}
    return Lexicon(concepts, primary, re.compile(cut), *_table(symbols))


def _table(words: dict[str, int]) -> tuple[NDArray[np.uint32], NDArray[np.uint16]]:
    """Hashes in order, closed by the largest number, and their symbols; a stem is entered by its letters."""
    entries = {
        hash_of(word[:_STEM_CHARS] if word.endswith("*") else word): symbol for word, symbol in words.items()
    }
    hashes = sorted(entries)
    return (
        np.array([*hashes, 0xFFFFFFFF], np.uint32),
        np.array([*(entries[n] for n in hashes), PLAIN], np.uint16),
    )
