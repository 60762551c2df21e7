"""The rule pack: patterns over concepts and over text, as data, matched by RE2 in linear time."""

import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import NamedTuple, TypeVar

import numpy as np
import re2
from numpy.typing import NDArray

from broker.policy.injection import lexicon
from broker.policy.injection.lexicon import END, PLAIN, Lexicon

_ATOM = re.compile(r"<(?P<words>[^>]+)>|~(?P<gap>\d+)|(?P<any>\[\^\])|(?P<start>\^)|(?P<other>\S)|\s+")
_LITERAL = re.compile(r"'([^']+)'")
_OPTIONAL = re.compile(r"\s*(?:\{0,|[?*])")
# Symbols are small numbers, two bytes of UTF-8 at most; saying so keeps the automata small.
_ANY = r"[\x00-\x{7ff}]"
_NO_END = r"[\x00-\x09\x0b-\x{7ff}]"
_CONCEPT_RULES = 4
_TEXT_RULES = 10
_T = TypeVar("_T")
_MEMORY_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class Rule:
    """One way in which attacks are built; `match` and `no_match` are its own tests."""

    id: str
    description: str
    strength: int
    """Where learning starts from: how seldom an honest text does this."""
    pattern: str
    """Over concepts; empty where the rule is over text."""
    raw: str
    match: tuple[str, ...]
    no_match: tuple[str, ...]

    @property
    def benign(self) -> bool:
        return self.id.startswith("benign.")


class _Need(NamedTuple):
    """Sets of symbols as bits; a text without a symbol of each cannot match the rule."""

    number: int
    first: int
    second: int
    third: int


class _Group(NamedTuple):
    """A few rules in one automaton."""

    numbers: tuple[int, ...]
    needs: tuple[_Need, ...]
    """Empty for rules over text."""
    expression: re2.Set


class RulePack:
    """All rules. Time is linear in the text: RE2 does not backtrack."""

    def __init__(self, rules: tuple[Rule, ...], words: Lexicon) -> None:
        self.rules = rules
        over_concepts = [
            _Need(n, *_rarest(needs(rule.pattern, words))) for n, rule in enumerate(rules) if rule.pattern
        ]
        self._over_concepts = [
            _Group(
                tuple(need.number for need in part),
                tuple(part),
                _set([over_symbols(rules[need.number].pattern, words) for need in part]),
            )
            for part in _chunks(over_concepts, _CONCEPT_RULES)
        ]
        self._over_text = [
            _Group(tuple(part), (), _set([rules[n].raw for n in part]))
            for part in _chunks([n for n, rule in enumerate(rules) if rule.raw], _TEXT_RULES)
        ]

    def hits(
        self, lower: str, symbols: NDArray[np.uint16], among: tuple[int, ...] | None = None
    ) -> list[int]:
        """Places in `rules` of those that match a folded text in lower case, given the symbols of its words.

        With `among` none but those are looked for.
        """
        present = 0
        for symbol in set(symbols.tolist()):
            present |= 1 << symbol
        encoded = symbols.astype("<u4").tobytes().decode("utf-32-le").encode()
        likely = [group for group in self._over_concepts if _may_match(group, present)]
        text = lower.encode(errors="replace")
        return [*_matches(likely, encoded, among), *_matches(self._over_text, text, among)]


def _may_match(group: _Group, present: int) -> bool:
    for _, first, second, third in group.needs:
        if first & present and second & present and third & present:
            return True
    return False


def _matches(groups: Iterable[_Group], text: bytes, among: tuple[int, ...] | None) -> Iterator[int]:
    for group in groups:
        if among is None or not set(group.numbers).isdisjoint(among):
            for n in sorted(group.expression.Match(text) or ()):
                yield group.numbers[n]


def _chunks(items: list[_T], size: int) -> list[list[_T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def load() -> tuple[RulePack, Lexicon]:
    """The packaged rules and the words that they speak of."""
    rules = tuple(_read())
    words = lexicon.load(sorted({word for rule in rules for word in _LITERAL.findall(rule.pattern)}))
    return RulePack(rules, words), words


def _read() -> Iterator[Rule]:
    document = tomllib.loads(files(__package__).joinpath("rules.toml").read_text())
    for entry in document["rule"]:
        yield Rule(
            id=entry["id"],
            description=entry["description"],
            strength=entry["strength"],
            pattern=entry.get("pattern", ""),
            raw=entry.get("raw", ""),
            match=tuple(entry["match"]),
            no_match=tuple(entry["no_match"]),
        )


def over_symbols(pattern: str, words: Lexicon) -> str:
    """A pattern over concepts as RE2 over the text whose letters are the symbols."""
    out = []
    for atom in _ATOM.finditer(pattern):
        if atom["words"]:
            out.append(
                "[" + "".join(f"\\x{{{symbol:x}}}" for symbol in sorted(_symbols(atom["words"], words))) + "]"
            )
        elif atom["gap"]:
            out.append(rf"{_NO_END}{{0,{atom['gap']}}}")
        elif atom["any"]:
            out.append(_ANY)
        elif atom["start"]:
            out.append(r"(?:^|\n)")
        else:
            out.append(atom["other"] or "")
    return "(?s)" + "".join(out)


def _rarest(found: tuple[int, ...]) -> tuple[int, int, int]:
    """The three needs that the fewest symbols meet."""
    first, second, third, *_ = sorted([*found, -1, -1, -1], key=lambda need: (need < 0, need.bit_count()))
    return first, second, third


def needs(pattern: str, words: Lexicon) -> tuple[int, ...]:
    """What must stand in a text for the pattern to match: per part one of a set of symbols, as bits."""
    if "(" in pattern:
        return _needs_of_groups(pattern, words)
    return tuple(_bits(atom, words) for atom in _required(pattern))


def _needs_of_groups(pattern: str, words: Lexicon) -> tuple[int, ...]:
    """Of alternatives the rarest-looking part each; of what stands outside of them every part."""
    outside = re.sub(r"\([^()]*\)", " ", pattern)
    found = [_bits(atom, words) for atom in _required(outside)]
    for group in re.findall(r"\(([^()]*)\)", pattern):
        union = 0
        for branch in _branches(group):
            union |= min((_bits(atom, words) for atom in _required(branch)), key=int.bit_count, default=-1)
        found.append(union)
    return tuple(found)


def _branches(group: str) -> list[str]:
    return re.split(r"\|(?![^<]*>)", group)


def _required(pattern: str) -> list[str]:
    return [
        atom["words"]
        for atom in _ATOM.finditer(pattern)
        if atom["words"] and not _OPTIONAL.match(pattern, atom.end()) and "PLAIN" not in atom["words"]
    ]


def _bits(names: str, words: Lexicon) -> int:
    return sum(1 << symbol for symbol in _symbols(names, words))


def _symbols(names: str, words: Lexicon) -> frozenset[int]:
    special = {"END": frozenset({END}), "PLAIN": frozenset({PLAIN})}
    return frozenset().union(*(special.get(name) or words.concepts[name] for name in names.split("|")))


def _set(patterns: list[str]) -> re2.Set:
    options = re2.Options()
    options.never_capture = True
    options.max_mem = _MEMORY_BYTES
    compiled = re2.Set.SearchSet(options)
    for pattern in patterns:
        compiled.Add(pattern)
    compiled.Compile()
    return compiled
