"""Concepts: which thoughts a word may stand for in an attack, in many languages, as one symbol a word."""

import re
import tomllib
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from operator import itemgetter

from broker.policy.injection import tokens
from broker.policy.views import fold

PLAIN, END = "\0", "\n"
_FIRST_SYMBOL = 128  # none has a meaning in a regular expression
STEM_CHARS = 6
_CUTS_MAX = 50_000
_KEPT_MAX = 16_384
_KEPT_CHARS = 24
_UNSPACED = re.compile("[\u0e00-\u0e7f\u1100-\u11ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Words of the same concepts share a symbol, one character of a small number."""

    concepts: Mapping[str, frozenset[str]]
    """The symbols of each concept."""
    names: Mapping[str, str]
    """The concept of each letter that `letters` gives."""
    letter_of: Mapping[str, str]
    """The letter of the first concept of each symbol; empty for PLAIN."""
    known: Mapping[str, str]
    """The symbol of each word."""
    stems: Mapping[str, str]
    """Of words that are not known, by how they begin."""
    _cut: re.Pattern[str]
    _symbols: "_Symbols"

    def parted(self, lower: str) -> str:
        """Known words of scripts without spaces set apart by spaces."""
        if lower.isascii():
            return lower
        return " ".join(self._cut.split(lower, _CUTS_MAX)) if _UNSPACED.search(lower) else lower

    def symbol(self, word: str) -> str:
        """Of one word."""
        return self.known.get(word) or self.stems.get(word[:STEM_CHARS], PLAIN)

    def symbols(self, words: Sequence[str]) -> Sequence[str]:
        """One symbol a word: PLAIN for a word without concept, END for the end of a sentence."""
        if len(words) < 2:
            return [self._symbols[word] for word in words]
        symbols: tuple[str, ...] = itemgetter(*words)(self._symbols)  # `map` takes half as long again
        return symbols

    def letters(self, symbols: Iterable[str]) -> list[str]:
        """One letter for the first concept of each symbol; plain words are passed over."""
        return list(filter(None, map(self.letter_of.__getitem__, symbols)))


class _Symbols(dict[str, str]):
    """By word. Of words that the lexicon does not have the last ones asked for anew are kept."""

    def __init__(self, known: Mapping[str, str], stems: Mapping[str, str]) -> None:
        super().__init__(known)
        self._stems = stems
        self._kept: deque[str] = deque()

    def __missing__(self, word: str) -> str:
        symbol = self._stems.get(word[:STEM_CHARS], PLAIN)
        if len(word) < _KEPT_CHARS:
            if len(self._kept) >= _KEPT_MAX:
                self.pop(self._kept.popleft(), None)  # another thread may have forgotten it
            self._kept.append(word)
            self[word] = symbol
        return symbol


def load(literals: Iterable[str] = ()) -> Lexicon:
    """The packaged words; each literal of a rule is a concept of its own, named by the word in quotes."""
    concepts_of, unspaced = written(literals)
    for known, words in _read("lexicon_alike.toml")["alike"].items():
        for word in words.split():
            concepts_of.setdefault(word, concepts_of[known])
    return _build(concepts_of, unspaced)


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
    return f"{word[:STEM_CHARS]}*"


def _read(name: str) -> dict[str, dict[str, str]]:
    return tomllib.loads(files(__package__).joinpath(name).read_text())


def _enter(concepts_of: dict[str, list[str]], concept: str, words: str) -> list[str]:
    entered = fold(words).lower().replace("'", "").split()
    for word in entered:
        if concept not in concepts_of.setdefault(word, []):
            concepts_of[word].append(concept)
    return entered


def _build(concepts_of: dict[str, list[str]], unspaced: set[str]) -> Lexicon:
    groups = sorted({tuple(sorted(names)) for names in concepts_of.values()})
    symbol_of = {group: chr(n) for n, group in enumerate(groups, _FIRST_SYMBOL)}
    names = sorted({name for group in groups for name in group})
    letter_of = {name: chr(n) for n, name in enumerate([tokens.END, *names])}
    letters = {PLAIN: "", END: letter_of[tokens.END]}
    for found in concepts_of.values():
        letters[symbol_of[tuple(sorted(found))]] = letter_of[found[0]]
    cut = "|".join(re.escape(word) for word in sorted(unspaced, key=lambda word: (-len(word), word)))
    symbols = {word: symbol_of[tuple(sorted(found))] for word, found in concepts_of.items()}
    known = {tokens.END: END} | {word: symbol for word, symbol in symbols.items() if word[-1] != "*"}
    stems = {word[:STEM_CHARS]: symbol for word, symbol in symbols.items() if word[-1] == "*"}
    return Lexicon(
        concepts={name: frozenset(symbol_of[group] for group in groups if name in group) for name in names},
        names={letter: name for name, letter in letter_of.items()},
        letter_of=letters,
        known=known,
        stems=stems,
        _cut=re.compile(f"({cut})"),
        _symbols=_Symbols(known, stems),
    )
