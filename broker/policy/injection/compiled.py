"""The tables that the kernel reads, made of words, weights and rules; all that it reads is a number."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, chain
from typing import NamedTuple

from broker.policy.injection import tokens
from broker.policy.injection.automata import PLACES_MAX, Automaton, automaton
from broker.policy.injection.kernel import Kernel
from broker.policy.injection.lexicon import Lexicon
from broker.policy.injection.needs import Needs
from broker.policy.injection.patterns import Part, begins, stays
from broker.policy.injection.reading import Weights

_BITS = 64


class Tables(NamedTuple):
    """A symbol is its place among all: a plain word has the first, an end of a sentence the second."""

    signs: bytes
    """Of each byte below 128 what it counts as; 0 where it is dropped."""
    words: Sequence[bytes]
    symbols: Sequence[int]
    """Of each word."""
    weights: Sequence[int]
    end_weight: int
    stems: Sequence[bytes]
    stem_symbols: Sequence[int]
    letters: Sequence[int]
    """Of each symbol; 0 where it has none."""
    sequences: Sequence[tuple[tuple[int, ...], int]]
    """Three letters, and their weight."""
    family_min: int
    family_max: int
    width: int
    """How many times 64 bits tell which needs are met."""
    met: Sequence[int]
    """Of each symbol so many numbers, the lowest bits first, as are the three below."""
    firsts: Sequence[int]
    staying: Sequence[int]
    crossing: Sequence[int]
    rule_of: Sequence[int]
    """Of each bit, the place of the rule among these."""
    numbers: Sequence[int]
    """Of each rule, in order; so are all that follow."""
    moving: Sequence[bool]
    """It has to be asked of each window."""
    first: Sequence[int]
    first_at_start: Sequence[int]
    last: Sequence[int]
    follow: Sequence[int]
    """64 a rule."""
    classes: Sequence[int]
    """Of each symbol in each rule: which places take it, as a place in the rule's masks."""
    masks: Sequence[int]
    masks_from: Sequence[int]


def compiled_reader(parts: Mapping[int, Part], words: Lexicon, weights: Weights) -> Kernel:
    """Raises PatternInvalid, OverflowError where a number is too large for its table."""
    return Kernel(_tables(dict(sorted(parts.items())), words, weights))


def _tables(parts: Mapping[int, Part], words: Lexicon, weights: Weights) -> Tables:
    alphabet = sorted(words.letter_of)
    place = {symbol: n for n, symbol in enumerate(alphabet)}
    letter = {letter: n for n, letter in enumerate(sorted(words.names), 1)} | {"": 0}
    known = sorted({*words.known, *weights.words} - {tokens.END})
    needs = Needs(parts, words)
    width = max(needs.rule_of, default=0) // _BITS + 1
    rules = {number: n for n, number in enumerate(parts)}
    made = [automaton(part, frozenset(alphabet)) for part in parts.values()]
    taking = [_classes(each, alphabet) for each in made]
    sequences = {tuple(letter[each] for each in three): weight for three, weight in weights.sequences.items()}
    follow = [(*each.follow, *[0] * (PLACES_MAX - len(each.follow))) for each in made]
    return Tables(
        signs=bytes(0 if n in tokens.DROPPED else tokens.SIGNS[n] for n in range(128)),
        words=[word.encode() for word in known],
        symbols=[place[words.symbol(word)] for word in known],
        weights=[weights.words.get(word, 0) for word in known],
        end_weight=weights.words.get(tokens.END, 0),
        stems=[stem.encode() for stem in words.stems],
        stem_symbols=[place[symbol] for symbol in words.stems.values()],
        letters=[letter[words.letter_of[symbol]] for symbol in alphabet],
        sequences=list(sequences.items()),
        family_min=weights.family_min,
        family_max=weights.family_max,
        width=width,
        met=list(chain.from_iterable(_cut(needs.met_by[symbol], width) for symbol in alphabet)),
        firsts=_cut(needs.firsts, width),
        staying=_cut(needs.staying, width),
        crossing=_cut(needs.crossing, width),
        rule_of=[rules.get(needs.rule_of.get(bit, -1), 0) for bit in range(width * _BITS)],
        numbers=list(rules),
        moving=[not stays(part) or begins(part) for part in parts.values()],
        first=[each.first for each in made],
        first_at_start=[each.first_at_start for each in made],
        last=[each.last for each in made],
        follow=list(chain.from_iterable(follow)),
        classes=[each for classes, _ in taking for each in classes],
        masks=[each for _, masks in taking for each in masks],
        masks_from=[0, *accumulate(len(masks) for _, masks in taking)][:-1],
    )


def _cut(bits: int, width: int) -> list[int]:
    return [bits >> n * _BITS & (1 << _BITS) - 1 for n in range(width)]


def _classes(made: Automaton, alphabet: Iterable[str]) -> tuple[list[int], list[int]]:
    """The class of each symbol, and the places of each class."""
    masks: dict[int, int] = {}
    classes = []
    for symbol in alphabet:
        mask = sum(1 << n for n, taken in enumerate(made.takes) if symbol in taken)
        classes.append(masks.setdefault(mask, len(masks)))
    return classes, list(masks)
