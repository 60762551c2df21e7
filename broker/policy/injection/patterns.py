"""The language of rules over concepts, as RE2 and as what must stand in a text for a rule to match."""

import re
from collections.abc import Iterable

import re2

from broker.policy.injection.lexicon import END, PLAIN, Lexicon

_ATOM = re.compile(r"<(?P<words>[^>]+)>|~(?P<gap>\d+)|(?P<any>\[\^\])|(?P<start>\^)|(?P<other>\S)|\s+")
_GROUP = re.compile(r"\(([^()]*)\)")
_OPTIONAL = re.compile(r"\s*(?:\{0,|[?*])")
# Symbols are small numbers, two bytes of UTF-8 at most; saying so keeps the automata small.
_ANY = r"[\x00-\x{7ff}]"
_NO_END = r"[\x00-\x09\x0b-\x{7ff}]"
_SYNTAX = frozenset("()|{}?*+,0123456789")
_BEGINNING = re.compile(r"(?:\((?:[^()]*\|)?)?\s*")


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


def stays(pattern: str) -> bool:
    """No match goes over the end of a sentence: it asks for no end, and for a beginning at its own alone."""
    for atom in _ATOM.finditer(pattern):
        if atom["any"] or (atom["words"] and "END" in atom["words"].split("|")):
            return False
        if atom["start"] and not _BEGINNING.fullmatch(pattern, 0, atom.start()):
            return False
        if atom["other"] and atom["other"] not in _SYNTAX:
            return False
    return True


def begins(pattern: str) -> bool:
    """It asks where a sentence begins."""
    return any(atom["start"] for atom in _ATOM.finditer(pattern))


def rarest(found: tuple[int, ...], count: int) -> tuple[int, ...]:
    """The needs that the fewest symbols meet, in their order."""
    places = sorted(range(len(found)), key=lambda place: found[place].bit_count())[:count]
    return tuple(found[place] for place in sorted(places))


def ways(pattern: str, words: Lexicon) -> list[tuple[int, ...]]:
    """The ways through the alternatives of a pattern. Of each what must stand in a text, in order, for it to
    match: one of each set of symbols, as bits.
    """
    found: list[tuple[int, ...]] = [()]
    at = 0
    for group in _GROUP.finditer(pattern):
        found = _behind(found, [pattern[at : group.start()]], words)
        if not _OPTIONAL.match(pattern, group.end()):
            found = _behind(found, _branches(group[1]), words)
        at = group.end()
    return _behind(found, [pattern[at:]], words)


def _behind(found: list[tuple[int, ...]], branches: list[str], words: Lexicon) -> list[tuple[int, ...]]:
    needed = [tuple(_bits(names, words) for names in _required(branch)) for branch in branches]
    return [(*way, *each) for way in found for each in needed]


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


def automaton(patterns: Iterable[str], memory_bytes: int) -> re2.Set:
    """Which of some patterns match somewhere in a text, in one pass."""
    options = re2.Options()
    options.never_capture = True
    options.max_mem = memory_bytes
    compiled = re2.Set.SearchSet(options)
    for pattern in patterns:
        compiled.Add(pattern)
    compiled.Compile()
    return compiled
