"""The rule pack: patterns over concepts and over text, as data, matched by RE2 in linear time."""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import NamedTuple, TypeVar

import re2

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


class _Group(NamedTuple):
    """A few rules in one automaton."""

    numbers: tuple[int, ...]
    bits: int
    """The rules as bits by their places."""
    expression: re2.Set


class RulePack:
    """All rules. Time is linear in the text: RE2 does not backtrack."""

    def __init__(self, rules: tuple[Rule, ...], words: Lexicon) -> None:
        self.rules = rules
        over_concepts = [n for n, rule in enumerate(rules) if rule.pattern]
        self._over_concepts = [
            _group(part, [over_symbols(rules[n].pattern, words) for n in part])
            for part in _chunks(over_concepts, _CONCEPT_RULES)
        ]
        self._over_text = [
            _group(part, [rules[n].raw for n in part])
            for part in _chunks([n for n, rule in enumerate(rules) if rule.raw], _TEXT_RULES)
        ]
        self._needs = {n: _rarest(needs(rules[n].pattern, words)) for n in over_concepts}
        self._met_by, self._always_met = _by_symbol(self._needs, len(rules))

    def hits(self, lower: str, symbols: str, among: tuple[int, ...] | None = None) -> list[int]:
        """Places in `rules` of those that match a folded text in lower case, given the symbols of its words.

        With `among` none but those are looked for.
        """
        wanted = -1 if among is None else sum([1 << number for number in among])
        likely = self._likely(symbols) & wanted
        encoded, text = symbols.encode(), lower.encode(errors="replace")
        found = _matches(self._over_concepts, likely, encoded)
        found += _matches(self._over_text, wanted, text)
        return found

    def _likely(self, symbols: str) -> int:
        """The rules, as bits, each of whose needs some symbol meets."""
        met = self._always_met
        for symbol in set(symbols):
            met |= self._met_by.get(symbol, 0)
        count = len(self.rules)
        return met & (met >> count) & (met >> 2 * count)


def _by_symbol(needs_of: Mapping[int, tuple[int, ...]], count: int) -> tuple[dict[str, int], int]:
    """By symbol the needs that it meets, as bits: `count` for the first needs of all rules, then the others'.

    Beside them the bits of needs that rules do not have.
    """
    met: dict[str, int] = {}
    always = 0
    for number, found in needs_of.items():
        for place, symbols in enumerate(found):
            bit = 1 << (place * count + number)
            if symbols < 0:
                always |= bit
                continue
            for symbol in _symbols_in(symbols):
                met[symbol] = met.get(symbol, 0) | bit
    return met, always


def _symbols_in(bits: int) -> Iterator[str]:
    return (chr(n) for n in range(bits.bit_length()) if bits >> n & 1)


def _group(numbers: list[int], patterns: list[str]) -> _Group:
    return _Group(tuple(numbers), sum(1 << number for number in numbers), _set(patterns))


def _matches(groups: Iterable[_Group], wanted: int, text: bytes) -> list[int]:
    found: list[int] = []
    for group in groups:
        if group.bits & wanted:
            found += [group.numbers[n] for n in sorted(group.expression.Match(text) or ())]
    return found


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
            found = sorted(_symbols(atom["words"], words))
            out.append("[" + "".join([f"\\x{{{ord(symbol):x}}}" for symbol in found]) + "]")
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
    return sum(1 << ord(symbol) for symbol in _symbols(names, words))


def _symbols(names: str, words: Lexicon) -> frozenset[str]:
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
