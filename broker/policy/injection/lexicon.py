"""Concepts: which thoughts a word may stand for in an attack, in many languages, as one symbol a word."""

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from broker.policy.injection import tokens
from broker.policy.views import fold

Numbers = NDArray[np.int64]

PLAIN, END = "\0", "\n"
_FIRST_SYMBOL = 128  # none has a meaning in a regular expression
_STEM_CHARS = 6
_CUTS_MAX = 50_000
_UNSPACED = re.compile("[\u0e00-\u0e7f\u1100-\u11ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Each word has a number. Words of the same concepts share a symbol, one character of a small number."""

    concepts: Mapping[str, frozenset[str]]
    """The symbols of each concept."""
    names: Sequence[str]
    """The concept of each letter that `letters` gives; the letter 0 is none."""
    _letters: Numbers
    """By symbol."""
    _symbols: Numbers
    """By number."""
    _cut: re.Pattern[str]
    _numbers: Mapping[str, int]
    """By word."""
    _stems: Mapping[str, int]
    """By how other words begin."""

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return len(self._symbols)

    @property
    def symbols_end(self) -> int:
        """One more than the greatest symbol."""
        return len(self._letters)

    def parted(self, lower: str) -> str:
        """Known words of scripts without spaces set apart by spaces."""
        if lower.isascii():
            return lower
        return " ".join(self._cut.split(lower, _CUTS_MAX)) if _UNSPACED.search(lower) else lower

    def numbers(self, words: Sequence[str]) -> Numbers:
        """One number a word; 0 for a word of which nothing is known."""
        numbers = np.fromiter(map(self._numbers.get, words, repeat(-1)), np.int64, len(words))
        unknown = np.flatnonzero(numbers < 0)
        numbers[unknown] = [self._stems.get(words[place][:_STEM_CHARS], 0) for place in unknown.tolist()]
        return numbers

    def symbols(self, numbers: Numbers) -> Numbers:
        """One symbol a word: PLAIN for a word without concept, END for the end of a sentence."""
        return self._symbols.take(numbers)

    def letters(self, symbols: Numbers) -> Numbers:
        """One letter for the first concept of each symbol; 0 for a plain word."""
        return self._letters.take(symbols)


def load(literals: Iterable[str] = (), weighed: Iterable[str] = ()) -> Lexicon:
    """The packaged words; each literal of a rule is a concept of its own, named by the word in quotes.

    `weighed`: words that have a number of their own, whether they have a concept or not.
    """
    concepts_of, unspaced = written(literals)
    for known, words in _read("lexicon_alike.toml")["alike"].items():
        for word in words.split():
            concepts_of.setdefault(word, concepts_of[known])
    return _build(concepts_of, unspaced, weighed)


def written(literals: Iterable[str] = ()) -> tuple[dict[str, list[str]], set[str]]:
    """What was written by hand: the concepts of each word, or of all that begin so (`anweis*`), and the words
    that stand in texts without spaces.
    """
    document = _read("lexicon.toml")
    concepts_of: dict[str, list[str]] = {}
    unspaced: set[str] = set()
    for concept, words in document["concepts"].items():
        _enter(concepts_of, concept, words)
    for concept, words in document["unspaced"].items():
        unspaced |= set(_enter(concepts_of, concept, words))
    for word in literals:
        _enter(concepts_of, f"'{word}'", word)
    for word, concepts in concepts_of.items():
        stem = concepts_of.get(stem_of(word), []) if word[-1] != "*" else []
        concepts += [concept for concept in stem if concept not in concepts]
    return concepts_of, unspaced


def stem_of(word: str) -> str:
    return f"{word[:_STEM_CHARS]}*"


def _read(name: str) -> dict[str, dict[str, str]]:
    return tomllib.loads(files(__package__).joinpath(name).read_text())


def _enter(concepts_of: dict[str, list[str]], concept: str, words: str) -> list[str]:
    entered = fold(words).lower().replace("'", "").split()
    for word in entered:
        if concept not in concepts_of.setdefault(word, []):
            concepts_of[word].append(concept)
    return entered


def _build(concepts_of: dict[str, list[str]], unspaced: set[str], weighed: Iterable[str]) -> Lexicon:
    groups = sorted({tuple(sorted(names)) for names in concepts_of.values()})
    symbol_of = {group: _FIRST_SYMBOL + n for n, group in enumerate(groups)}
    names = sorted({name for group in groups for name in group})
    letter_of = {name: n for n, name in enumerate(["", tokens.END, *names])}
    letters = np.zeros(_FIRST_SYMBOL + len(groups), np.int64)
    letters[ord(END)] = letter_of[tokens.END]
    for found in concepts_of.values():
        letters[symbol_of[tuple(sorted(found))]] = letter_of[found[0]]
    symbols = {word: symbol_of[tuple(sorted(found))] for word, found in concepts_of.items()}
    stems = {word[:_STEM_CHARS]: symbol for word, symbol in symbols.items() if word[-1] == "*"}
    others = {word: stems.get(word[:_STEM_CHARS], ord(PLAIN)) for word in weighed}
    whole = {word: symbol for word, symbol in symbols.items() if word[-1] != "*"}
    known = others | {tokens.END: ord(END)} | whole
    cut = "|".join(re.escape(word) for word in sorted(unspaced, key=lambda word: (-len(word), word)))
    return Lexicon(
        concepts={name: frozenset(chr(symbol_of[g]) for g in groups if name in g) for name in names},
        names=tuple(letter_of),
        _letters=letters,
        _symbols=np.array([ord(PLAIN), *stems.values(), *known.values()]),
        _cut=re.compile(f"({cut})"),
        _numbers={word: number for number, word in enumerate(known, 1 + len(stems))},
        _stems={stem: number for number, stem in enumerate(stems, 1)},
    )
