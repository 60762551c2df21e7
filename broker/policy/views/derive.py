"""The texts hidden in a text: each decoder that a cheap look speaks for gives one more view."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

import re2

from broker.policy.pattern_sets import pattern_set
from broker.policy.views.alphabets import shifted_words, unleeted, unreversed, unshifted, unspaced
from broker.policy.views.encodings import decoded
from broker.policy.views.fold import fold

BLOCK_CHARS = 2_048
OVERLAP_CHARS = 256
EXCERPT_CHARS_MAX = 24_576
VIEWS_MAX = 8
DEPTH_MAX = 3
_MEMORY_BYTES = 64 << 20


class View(NamedTuple):
    """A reading of the text; `kind` names the decoders in the order of their work, joined by +."""

    kind: str
    text: str


PLAIN = "plain"

# What these give is read as it is: letters changed twice by guesswork are noise.
_LAST = ("leet", "shifted")
_ENCODINGS = ("base64", "entity", "percent", "hex", "binary", "escape", "morse")
_ALPHABETS: dict[str, Callable[[str], str | None]] = {
    "spaced": unspaced,
    "reversed": unreversed,
    "shifted": unshifted,
    "leet": unleeted,
}

_BACKWARDS = "eht|dna|uoy|ruoy|taht|siht|htiw|morf|erongi|snoitcurtsni|tpmorp|metsys|selur|suoiverp"
_LEET = "(?:[a-z][013457@$]{1,2}[a-z]|[^0-9a-z.][013457@$][a-z]{2})"
_CODE = "[.-]{1,6}[ /|]{1,3}"


def views(text: str) -> tuple[View, ...]:
    """The folded text first, then what its decoders make of it.

    At most VIEWS_MAX views, decoders at most DEPTH_MAX deep; a decoder reads at most EXCERPT_CHARS_MAX
    characters, of the blocks that show its signs. Never raises; linear in the length of `text`.
    """
    found = [View(PLAIN, fold(text))]
    seen = {found[0].text}
    level = found
    for _ in range(DEPTH_MAX):
        level = [deeper for view in level for deeper in _derived(view) if deeper.text not in seen]
        if not level:
            break
        level = level[: VIEWS_MAX - len(found)]
        found += level
        seen.update(view.text for view in level)
        level = [view for view in level if not view.kind.endswith(_LAST)]
    return tuple(found)


def _derived(view: View) -> Iterator[View]:
    shown = _excerpts(view.text)
    encoded = {kind: excerpt for kind, excerpt in shown.items() if kind in _ENCODINGS}
    if encoded:
        yield from _named(view, "decoded", decoded(max(encoded.values(), key=len), encoded))
    for kind, decoder in _ALPHABETS.items():
        if kind in shown:
            yield from _named(view, kind, decoder(shown[kind]))


def _named(view: View, kind: str, clear: str | None) -> Iterator[View]:
    if clear is not None:
        yield View(kind if view.kind == PLAIN else f"{view.kind}+{kind}", fold(clear))


def _excerpts(text: str) -> dict[str, str]:
    """Per encoding the blocks of the text that show its signs, up to a limit."""
    found: dict[str, str] = {}
    for start in range(0, len(text), BLOCK_CHARS):
        block = text[start : start + BLOCK_CHARS + OVERLAP_CHARS]
        for kind in _shown(block.encode(errors="replace")):
            if len(found.get(kind, "")) + len(block) <= EXCERPT_CHARS_MAX:
                found[kind] = found.get(kind, "") + block
    return found


def _shown(block: bytes) -> list[str]:
    """In one order everywhere: of excerpts of one length the first that was shown is read."""
    return [kinds[place] for signs, kinds in _signs() for place in sorted(signs.Match(block) or ())]


@cache
def _signs() -> tuple[tuple[re2.Set, tuple[str, ...]], ...]:
    """What speaks for a decoder at all: patterns for a linear pass, and the decoder of each.

    Two passes, for encodings and for alphabets: what has matched is part of an automaton's state, so that all
    in one has so many that it makes new ones in nearly every text.
    """
    every = _patterns()
    return (
        _sign_set([(kind, pattern) for kind, pattern in every if kind in _ENCODINGS]),
        _sign_set([(kind, pattern) for kind, pattern in every if kind not in _ENCODINGS]),
    )


def _sign_set(patterns: list[tuple[str, str]]) -> tuple[re2.Set, tuple[str, ...]]:
    signs = pattern_set([f"(?i){pattern}" for _, pattern in patterns], _MEMORY_BYTES)
    return signs, tuple(kind for kind, _ in patterns)


def _patterns() -> tuple[tuple[str, str], ...]:
    shifts = "|".join(sorted(word for word, found in shifted_words().items() if 0 not in found))
    return (
        ("base64", r"[a-z0-9+/_-]{20}"),
        ("entity", r"&#x?[0-9a-f]{2,6};&#"),
        ("percent", r"(?:%[0-9a-f]{2}[\w.~-]{0,12}){3}%"),
        ("hex", r"(?:[0-9a-f]{2}[ :,;-]{1,2}){7}|(?:\\x[0-9a-f]{2}){4}|[0-9a-f]{16}"),
        ("escape", r"\\u[0-9a-f]{4}\\u[0-9a-f]{4}\\u"),
        ("binary", r"(?:[01]{8}[ ,]{0,2}){4}"),
        ("morse", _CODE * 6),
        ("spaced", r"(?:[^\s] {1,4}){7}[^\s]|(?:\b\w[-._*|]){2}\w\b"),
        ("reversed", rf"(?s)\b(?:{_BACKWARDS})\b.*\b(?:{_BACKWARDS})\b"),
        ("shifted", rf"\b(?:{shifts})\b"),
        ("leet", rf"(?s){_LEET}.*{_LEET}.*{_LEET}"),
    )
