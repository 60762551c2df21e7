"""The rule pack: patterns over concepts and over text, as data, matched by RE2 in linear time."""

import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import NamedTuple

import numpy as np
import re2
from numpy.typing import NDArray

from broker.policy.injection import lexicon
from broker.policy.injection.lexicon import END, PLAIN, Lexicon

_ATOM = re.compile(r"<(?P<words>[^>]+)>|~(?P<gap>\d+)|(?P<any>\[\^\])|(?P<start>\^)|(?P<other>\S)|\s+")
_LITERAL = re.compile(r"'([^']+)'")
_OPTIONAL = re.compile(r"\s*(?:\{0,|[?*])")
_GROUP_RULES = 4
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


class _Compiled(NamedTuple):
    """`need` and `other_need`: sets of symbols as bits; a text without a symbol of each cannot match."""

    number: int
    need: int
    other_need: int
    expression: re2.Set


class RulePack:
    """All rules. Time is linear in the text: RE2 does not backtrack."""

    def __init__(self, rules: tuple[Rule, ...], words: Lexicon) -> None:
        self.rules = rules
        self._over_concepts = [
            _Compiled(n, *_rarest(needs(rule.pattern, words)), _set([over_symbols(rule.pattern, words)]))
            for n, rule in enumerate(rules)
            if rule.pattern
        ]
        self._by_number = {rule.number: rule for rule in self._over_concepts}
        raw = [n for n, rule in enumerate(rules) if rule.raw]
        self._over_text = [
            (part, _set([rules[n].raw for n in part]))
            for part in (raw[start : start + _GROUP_RULES] for start in range(0, len(raw), _GROUP_RULES))
        ]

    def hits(
        self, lower: str, symbols: NDArray[np.uint16], among: tuple[int, ...] | None = None
    ) -> list[int]:
        """Places in `rules` of those that match a folded text in lower case, given the symbols of its words.

        With `among` only those are tried.
        """
        text = lower.encode(errors="replace")
        return [*self._concept_hits(symbols, among), *self._text_hits(text, among)]

    def _concept_hits(self, symbols: NDArray[np.uint16], among: tuple[int, ...] | None) -> Iterator[int]:
        present = 0
        for symbol in set(symbols.tolist()):
            present |= 1 << symbol
        encoded = symbols.astype("<u4").tobytes().decode("utf-32-le").encode()
        for number, need, other_need, expression in self._chosen(among):
            if need & present and other_need & present and expression.Match(encoded):
                yield number

    def _chosen(self, among: tuple[int, ...] | None) -> Iterable[_Compiled]:
        if among is None:
            return self._over_concepts
        return (self._by_number[number] for number in among if number in self._by_number)

    def _text_hits(self, text: bytes, among: tuple[int, ...] | None) -> Iterator[int]:
        for group, expression in self._over_text:
            if among is None or not set(group).isdisjoint(among):
                for n in sorted(expression.Match(text) or ()):
                    yield group[n]


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
            out.append("[" + "".join(f"\\x{{{symbol:x}}}" for symbol in sorted(_symbols(atom["words"], words))) + "]")
        elif atom["gap"]:
            out.append(rf"[^\n]{{0,{atom['gap']}}}")
        elif atom["any"]:
            out.append(r"[\x00-\x{ffff}]")
        elif atom["start"]:
            out.append(r"(?:^|\n)")
        else:
            out.append(atom["other"] or "")
    return "(?s)" + "".join(out)


def _rarest(found: tuple[int, ...]) -> tuple[int, int]:
    """The two needs that the fewest symbols meet."""
    first, second, *_ = sorted([*found, -1, -1], key=lambda need: (need < 0, need.bit_count()))
    return first, second


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
