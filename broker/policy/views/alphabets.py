"""Ciphers of the alphabet: shifted letters, reversed text, spaced letters, digits for letters."""

import re
from functools import cache
from itertools import islice
from string import ascii_lowercase

_COMMON = (
    "the", "and", "you", "your", "that", "this", "with", "for", "all", "how", "what", "are", "tell", "show",
    "rules", "hidden", "system", "ignore", "previous", "instructions", "prompt", "now", "make", "write",
    "give", "from", "method",
)  # fmt: skip
_WORDS_READ = 400
_SHIFT_MIN = 2

_LEET = str.maketrans("01345789@$!|", "oieastbgasil")
_LEET_WORD = re.compile(
    r"(?<![\w@$.])(?:[A-Za-z]{1,12}[013457@$]|[013457]{1,4}[A-Za-z])[A-Za-z013457@$]{1,12}(?!\w|[.@]\w)"
)
# In each such word, and many times quicker to look for.
_LEET_JOINT = re.compile(r"[013457@$](?:(?<=[A-Za-z].)|[A-Za-z])[A-Za-z013457@$]")
_LEET_MIN = 3
_LEET_CHARS = 300

_REVERSED_WORD = re.compile(
    r"\b(?:eht|dna|uoy|ruoy|taht|siht|htiw|morf|erongi|snoitcurtsni|tpmorp|metsys|selur|suoiverp)\b",
    re.IGNORECASE,
)
_REVERSED_MIN = 2

_SPACED_RUN = re.compile(r"(?<!\S)\S(?: {1,4}\S){7,}(?!\S)")
_WORD_GAP = re.compile(" {2,}")
_DOTTED_WORD = re.compile(r"(?<!\w)\w(?:[-._*|]\w){2,40}(?!\w)")
_DOTTED_MIN = 2
_JOINTS = re.compile("[-._*|]")


def unshifted(text: str) -> str | None:
    """A text under a Caesar shift (rot13 among them) in the clear, or None where nothing speaks for one."""
    counts = [0] * 26
    table = shifted_words()
    for match in islice(re.finditer(r"[a-zA-Z]{3,12}", text), _WORDS_READ):
        for shift in table.get(match[0].lower(), ()):
            counts[shift] += 1
    best = max(range(1, 26), key=counts.__getitem__)
    if counts[best] < _SHIFT_MIN:
        return None
    return text.translate(_rotation(best))


@cache
def shifted_words() -> dict[str, tuple[int, ...]]:
    """Common words under every shift, with the shifts that make them."""
    found: dict[str, tuple[int, ...]] = {}
    for shift in range(26):
        rotation = {ord(a): ascii_lowercase[(n + shift) % 26] for n, a in enumerate(ascii_lowercase)}
        for word in _COMMON:
            key = word.translate(rotation)
            found[key] = (*found.get(key, ()), shift)
    return found


def _rotation(shift: int) -> dict[int, int]:
    back = ascii_lowercase[-shift:] + ascii_lowercase[:-shift]
    return str.maketrans(ascii_lowercase + ascii_lowercase.upper(), back + back.upper())


def unleeted(text: str) -> str | None:
    """Digits and signs back to the letters they stand for, where enough words carry them.

    Three at least, and one more for every 300 characters: names such as `oauth2` stand in any technical text.
    """
    count = _LEET_MIN + len(text) // _LEET_CHARS
    shown = _at_least(count, _LEET_JOINT, text) and _at_least(count, _LEET_WORD, text)
    return text.translate(_LEET) if shown else None


def unreversed(text: str) -> str | None:
    return text[::-1] if _at_least(_REVERSED_MIN, _REVERSED_WORD, text) else None


def unspaced(text: str) -> str | None:
    """Letters set apart (`i g n o r e`, `i-g-n-o-r-e`) put together again."""
    together = _SPACED_RUN.sub(_closed, text)
    if _at_least(_DOTTED_MIN, _DOTTED_WORD, together):
        together = _DOTTED_WORD.sub(lambda match: _JOINTS.sub("", match[0]), together)
    return None if together == text else together


def _closed(match: re.Match[str]) -> str:
    return " ".join(word.replace(" ", "") for word in _WORD_GAP.split(match[0]))


def _at_least(count: int, pattern: re.Pattern[str], text: str) -> bool:
    found = pattern.finditer(text)
    return all(next(found, None) for _ in range(count))
