"""Patterns over concepts as the rule pack writes them, put into RE2 sign by sign: what rules are held to."""

import re

from broker.policy.injection.lexicon import END, PLAIN, Lexicon

_ATOM = re.compile(r"<(?P<words>[^>]+)>|~(?P<gap>\d+)|(?P<any>\[\^\])|(?P<start>\^)|(?P<other>\S)|\s+")


def over_symbols(pattern: str, words: Lexicon) -> str:
    """Over a text whose letters are the symbols of words."""
    out = []
    for atom in _ATOM.finditer(pattern):
        if atom["words"]:
            out.append(
                "[" + "".join([f"\\x{{{ord(symbol):x}}}" for symbol in _symbols(atom["words"], words)]) + "]"
            )
        elif atom["gap"]:
            out.append(rf"[^\n]{{0,{atom['gap']}}}")
        else:
            signs = {"any": r"[\x00-\x{10ffff}]", "start": r"(?:^|\n)"}
            out.append(signs.get(atom.lastgroup or "", atom["other"] or ""))
    return "(?s)" + "".join(out)


def _symbols(names: str, words: Lexicon) -> set[str]:
    special = {"END": {END}, "PLAIN": {PLAIN}}
    return set().union(*(special.get(name) or words.concepts[name] for name in names.split("|")))
