"""What a customer names in the policy document: words and phrases, and patterns of its own."""

import re
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

import re2

from broker.policy.dlp.errors import DlpRulesInvalid
from broker.policy.dlp.scanning import Found, Pattern, utf8_pattern
from broker.policy.dlp.spans import Kind, Span

PHRASES_MAX = 10_000
"""In one dictionary."""
PHRASE_CHARACTERS_MAX = 200
PATTERN_CHARACTERS_MAX = 2_000
MATCH_BYTES_MAX = 4_096
"""Of UTF-8; a longer match of a pattern may be cut or missed."""

_DICTIONARY_MEMORY_BYTES = 256 * 2**20
_PATTERN_MEMORY_BYTES = 8 * 2**20
_WITHOUT_SPACES = 0x2E80
"""From this code point on scripts do not set words apart by spaces."""
_EDGES = (b"", b"a", b" ", b"\n\na aa  \n")
"""Every kind of place at which a pattern without characters may match."""
_HINTS_MAX = 8
_LITERALLY = re.compile(r"(?:\\b)?([0-9A-Za-z_-]+)(?![*+?{])")
"""At the beginning of a pattern. What may be left out is none of it."""
_ANCHOR = re.compile(r"[$^]|\\[Az]")
_CONTINUATIONS = bytes(range(0x80, 0xC0))
_UTF8_BYTES_MAX = 4
_APART = rf"[^\pL\pN]|[\x{{{_WITHOUT_SPACES:X}}}-\x{{10FFFF}}]"
_BEFORE, _BEHIND = rf"(?:^|{_APART})", rf"(?:$|{_APART})"
_NOTHING = r"[^\x00-\x{10FFFF}]"
_EDGES_OF_WORDS = tuple((before, behind) for before in (True, False) for behind in (True, False))
_GROUPS = range(1, len(_EDGES_OF_WORDS) + 1)


class Utf8(NamedTuple):
    text: str
    data: bytes

    def characters(self, start: int, end: int) -> int:
        """How many characters begin between two offsets in `data`."""
        if len(self.data) == len(self.text):
            return end - start
        piece = self.data[start:end]
        return len(piece.translate(None, _CONTINUATIONS))


def utf8(text: str) -> Utf8:
    """A lone surrogate becomes `?`."""
    return Utf8(text, text.encode("utf-8", "replace"))


class Dictionary:
    """Whole words and phrases in any case; between the words of a phrase any white space may stand."""

    is_anchored = False

    def __init__(self, name: str, phrases: Collection[str]) -> None:
        self._name = _checked_name(name)
        words = sorted({" ".join(phrase.split()) for phrase in phrases}, key=lambda word: (-len(word), word))
        if not words or not words[-1] or len(words) > PHRASES_MAX or len(words[0]) > PHRASE_CHARACTERS_MAX:
            limits = f"1 to {PHRASES_MAX} phrases of at most {PHRASE_CHARACTERS_MAX} characters"
            raise DlpRulesInvalid(f"dictionary {name!r}: give {limits}")
        self._pattern = _compiled(name, _whole(words), _DICTIONARY_MEMORY_BYTES, ignore_case=True)
        signs = [word for word in words if len(word) == 1 and not _of_a_word(word)]
        begun = _whole(word for word in words if _of_a_word(word[0]))
        self._behind_a_sign = (
            _compiled(name, begun, _DICTIONARY_MEMORY_BYTES, ignore_case=True) if signs else None
        )
        self.hints = _hints(words)
        """One stands, in small letters, in every text of ASCII in which a phrase does; empty: not known."""

    def find(self, utf8: Utf8) -> Iterator[Span]:
        if self.hints and utf8.data.isascii():
            lower = utf8.data.lower()
            if not any(hint in lower for hint in self.hints):
                return
        last, at = 0, 0
        for start_byte, end_byte in self._matches(utf8.data):
            start = at + utf8.characters(last, start_byte)
            at = start + utf8.characters(start_byte, end_byte)
            last = end_byte
            yield Span(start, at, self._name)

    def _matches(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Each behind the one before, whose last character may be what tells that a word begins. Where that
        character is a word too, a search from there finds it again: what begins behind is looked for first.
        """
        at = end = 0
        while (match := self._pattern.search(data, at)) is not None:
            start, stop = _word(match)
            if start >= end:
                yield start, stop
                end = stop
                if self._behind_a_sign is not None:
                    behind = self._behind_a_sign.match(data, _last(data, stop))
                    if behind is not None and _word(behind)[0] == stop:
                        yield _word(behind)
                        end = stop = _word(behind)[1]
            at = max(at + 1, stop - _UTF8_BYTES_MAX)


class Expression:
    """A pattern in RE2's syntax. A match is found whole up to MATCH_BYTES_MAX, so that time stays linear."""

    def __init__(self, name: str, source: str) -> None:
        self._name = _checked_name(name)
        self.is_anchored = _ANCHOR.search(source) is not None
        """It may ask where the text begins or ends."""
        if not 0 < len(source) <= PATTERN_CHARACTERS_MAX:
            raise DlpRulesInvalid(f"pattern {name!r}: give 1 to {PATTERN_CHARACTERS_MAX} characters")
        self._pattern = _compiled(name, source, _PATTERN_MEMORY_BYTES)
        if any(match.start() == match.end() for text in _EDGES for match in self._pattern.finditer(text)):
            raise DlpRulesInvalid(f"pattern {name!r} matches where nothing stands: it would find every place")
        self._hint = hint_of(source)

    def find(self, utf8: Utf8) -> Iterator[Span]:
        if self._hint not in utf8.data:
            return
        last, at = 0, 0
        for start_byte, end_byte in self._matches(utf8.data):
            start = at + utf8.characters(last, start_byte)
            at = start + utf8.characters(start_byte, end_byte)
            last = end_byte
            if start < at:
                yield Span(start, at, self._name)

    def _matches(self, data: bytes) -> Iterator[tuple[int, int]]:
        at = 0
        while at < len(data):
            match = self._pattern.search(data, at, at + 2 * MATCH_BYTES_MAX)
            if match is None or match.start() >= at + MATCH_BYTES_MAX:
                at += MATCH_BYTES_MAX
                continue
            yield match.start(), match.end()
            at = max(match.end(), match.start() + 1)


def _hints(words: Collection[str]) -> tuple[bytes, ...]:
    """Of each phrase its longest word; none where they are many, or more than ASCII."""
    if len(words) > _HINTS_MAX or not all(word.isascii() for word in words):
        return ()
    return tuple(max(word.lower().split(), key=len).encode() for word in words)


def hint_of(source: str) -> bytes:
    """What stands in every match of the pattern: what it begins with, as far as that says itself."""
    begun = _LITERALLY.match(source)
    return b"" if begun is None or "|" in source else begun[1].encode()


def _last(data: bytes, stop: int) -> int:
    """Where the last character before `stop` begins."""
    at = stop - 1
    while data[at] in _CONTINUATIONS:
        at -= 1
    return at


def _word(match: Found) -> tuple[int, int]:
    """Where the word of a match stands, without what is around it."""
    found = max(_GROUPS, key=match.start)  # of the others it is -1
    return match.start(found), match.end(found)


def _checked_name(name: str) -> str:
    if not name or not name.isidentifier() or not name.isascii() or len(name) > 64 or name in set(Kind):
        raise DlpRulesInvalid(
            f"{name!r} cannot name a type: take letters, digits and _, and none of the types there are"
        )
    return name


def _compiled(name: str, source: str, max_memory_bytes: int, ignore_case: bool = False) -> Pattern:
    try:
        return utf8_pattern(source, max_memory_bytes, ignore_case)
    except ValueError as error:
        raise DlpRulesInvalid(f"{name}: not an RE2 pattern: {error}") from None


def _whole(words: Iterable[str]) -> str:
    """A pattern, in whose groups the words are, by what must stand around them: where a word begins or ends
    with what words are made of, something else, or nothing. Of several at one place the first that is whole,
    and those before which nothing need stand before those whose sign in front may be a word of its own.
    """
    classes: dict[tuple[bool, bool], list[str]] = {}
    for word in words:
        edges = _of_a_word(word[0]), _of_a_word(word[-1])
        classes.setdefault(edges, []).append(r"\s+".join(map(re2.escape, word.split())))
    classes |= {edges: [_NOTHING] for edges in _EDGES_OF_WORDS if edges not in classes}
    return "|".join(
        f"{_BEFORE if before else ''}({'|'.join(bodies)}){_BEHIND if behind else ''}"
        for (before, behind), bodies in sorted(classes.items())
    )


def _of_a_word(character: str) -> bool:
    return character.isalnum() and ord(character) < _WITHOUT_SPACES
