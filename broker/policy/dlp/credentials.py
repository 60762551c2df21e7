"""Secrets: keys of known providers, private keys, logins in URLs, and values assigned to telling names.

A provider's key is known by its prefix, length and alphabet; a value by the name before it and by how little
it looks like a word. Hashes, UUIDs and base64 by themselves are no secrets.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import NamedTuple

from broker.policy.dlp.providers import INFIX_KEYS, JUDGED_KEYS, STRICT_KEYS
from broker.policy.dlp.scanning import Found, Pattern, Signs, View, pattern
from broker.policy.dlp.spans import Kind, Span

VALUE_BYTES_MAX = 4_096
CHECKED_MAX = 4_000
"""Assignments in one text; beyond, every value that is assigned to a telling name counts."""
_PEM_BYTES_MAX = 16_384
_TOKEN_BYTES_MIN = 16
_PASSWORD_BYTES_MIN = 8
"""Of one without digits."""
_BITS_MIN = 2.8
_KEY_BITS_MIN = 3.5
_TOKEN_BITS_MIN = 4.2
_PASSWORD_BITS_MIN = 2.0

_COUNT = re.compile(r"\{([0-9]+)(,?)([0-9]*)\}")
_COUNT_MAX = 12
_HINT_COUNT_MAX = 3


def _loosely(source: str, count_max: int) -> str:
    """With long counts left open: a tenth of the states, and what it finds is looked at again."""

    def looser(count: re.Match[str]) -> str:
        return f"{{{count_max},}}" if int(count[1]) > count_max else count[0]

    return _COUNT.sub(looser, source)


_PREFIXED = "|".join((*STRICT_KEYS, *JUDGED_KEYS))
_KEYS = rf"\b(?:{_loosely(_PREFIXED, _COUNT_MAX)})"
_KEY = re.compile(rf"(?P<strict>{'|'.join(STRICT_KEYS)})|{'|'.join(JUDGED_KEYS)}".encode())

_PASSWORD = r"pass(?:word|wort|wd|phrase|code)|(?:\b|[_-])pass|pwd|kennwort|mot de passe"
_TOKEN = (
    r"secret(?:[_ -]?(?:access)?[_ -]?key)?|token|credentials?|passkey|(?:api|access|auth|account|signing|"
    r"encryption|private|master|shared ?access|service|storage|session|app|subscription|license|function|"
    r"admin)[_ -]?keys?|(?-i:[0-9A-Z]_KEY)|[?&]sig|\bkey"
)
_ASSIGNED = (
    rf"(?i)(?:({_PASSWORD})|{_TOKEN})(?:[\\\"'\]\)`]{{0,3}}"
    r"(?:[ \t]{0,4}(?:=>|:=|==?|:)[ \t]{0,4}|[ \t]+(?:is|was|ist|lautet|est)[ \t]*:?[ \t]+)"
    r"(?:[bru]?\\?\"([^\"\r\n\\]{6,})|[bru]?\\?'([^'\r\n\\]{6,})|`?([^\s\"'`,;<>(){}\[\]|\\]{6,}))"
    r"|[ \t]+([0-9A-Za-z+/_=-]{24,}))"
)
_OPTION = rf"(?i)--(?:[a-z]+-)*(?:{_PASSWORD}|{_TOKEN})[ \t]+[\"']?([^\s\"'`,;<>(){{}}\[\]|\\]{{6,}})"
_SPOKEN = (
    r"(?i)\b(?:pass(?:word|wort|wd|phrase|code)|pwd|kennwort)[ \t]+"
    r"(?:`([^`\s]{6,})`|([^\s\"'`,;<>(){}\[\]|\\]{8,}))"
)
_BEARER = r"(?i)\b(?:bearer|authorization:[ \t]*(?:basic|token))[ \t]+([0-9a-z._~+/=-]{16,})"
_LOGIN = r"\b[A-Za-z][0-9A-Za-z+.-]{1,20}://[^\s:/@\"'<>]*:([^\s/@\"'<>]+)@"
_AWS_PAIR = r"\b(?:AKIA|ASIA)[0-9A-Z]{16}[\s,:;|\"']{1,6}([0-9A-Za-z/+]{40})"
_PEM_BEGIN = r"-----BEGIN [0-9A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
_PEM_FOOT = re.compile(rb"-----END [0-9A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_PEM_LINES = re.compile(rb"(?:(?:\s|\\[nr])*[0-9A-Za-z+/=]{16,})*")

_NAME = r"(?:pass(?:word|wort|wd|phrase|code|e)?|pwd|kennwort|secret|token|credentials?|keys?|[?&]sig)"
_SAID = r"[\\\"'\]\)`]*(?:[ \t]*[=:]|[ \t]+(?:is|was|ist|lautet|est)[ \t:])|[ \t]+[0-9A-Za-z+/_=-]{14}"
_HINTS = (
    rf"\b(?:{_loosely(_PREFIXED, _HINT_COUNT_MAX)})",
    r"[78]Q~|\.atlasv1\.|[0-9a-f]-us[0-9]|[0-9]:AA",
    rf"(?i:{_NAME}(?:{_SAID}))",
    r"(?i:(?:bearer|authorization:[ \t]*(?:basic|token))[ \t]+[0-9a-z._~+/=-]{12})",
    r"(?i:(?:pass(?:word|wort|wd|phrase|code)|pwd|kennwort)[ \t]+[^\s]{6})",
    rf"(?i:--(?:[a-z]+-)*(?:{_PASSWORD}|{_TOKEN})[ \t])",
    r"://[^\s:/@\"'<>]*:[^\s/@\"'<>]+@",
    r"(?:AKIA|ASIA)[0-9A-Z]{3}",
    r"-----BEGIN ",
)
"""One of them stands in all that one of the patterns finds, and none in most texts. Together they have so few
states that a new text meets hardly a new one, where it meets many of the patterns', each dear the first time.
"""

_DIGITS = frozenset(b"0123456789")
_LETTERS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_MARKS = frozenset(b"!@#$%^&*+?")
_NEXT_PARAMETER = re.compile(rb"&(?:amp;)?[A-Za-z_][0-9A-Za-z_.-]*=")
_OTHER_KEY_BEFORE = re.compile(
    rb"(?:publi|primar|foreig|cach|sor|partitio|objec|grou|idempotenc|looku|row|redis|ssh|s3|websocke)[a-z]?"
    rb"[_ -]?(?:key)?[_-]?$",
    re.IGNORECASE,
)
_NEAR_BYTES = 16
_PUNCTUATION = b".:?"
_MIXED_BYTES = 64
_MIXED = re.compile(
    rb"[A-Za-z].*[!@#$%^&*+?][0-9A-Za-z]|[A-Z].*[a-z].*[0-9].*[A-Za-z]|[a-z].*[A-Z].*[0-9].*[A-Za-z]"
)
_PLACEHOLDER = re.compile(
    rb"(?:my|the|some|example|sample|dummy|fake|insert|replace|change|enter|redacted|masked|hidden|put|add|use)"
    rb"[-_. ]|your|change-?me|x{4}|\*{3}|\.{3}|placeholder|<|\$\{|\{\{|%\(|\$\(|^\$[A-Za-z_]|here$"
    rb"|environ|getenv|process\.env",
    re.IGNORECASE,
)
_CODE = re.compile(
    rb"[A-Za-z_][0-9A-Za-z_]*(?:(?:\??\.|::|->)[A-Za-z_][0-9A-Za-z_]*)+|[a-z]+(?:_[a-z0-9]+)+|[A-Z]+(?:_[A-Z0-9]+)+"
    rb"|[a-z]+(?:-[a-z0-9]{1,8})+|[.~]{0,2}(?:/[a-z][0-9a-z._-]*)+/?|[a-z]+://.*|[0-9.,:/ -]+"
)


_Read = Callable[[bytes, Iterable[Found]], Iterator[Span]]


class Readers(NamedTuple):
    hints: Pattern
    """What stands in all that one of `patterns` finds."""
    signs: Signs
    """`patterns` together."""
    patterns: tuple[tuple[Pattern, _Read], ...]
    """Each by itself, with how what it finds is judged."""


def find(view: View) -> Iterator[Span]:
    hints, signs, patterns = readers()
    if hints.search(view.data) is None:
        return
    for place in signs.held(view.data):
        found, read = patterns[place]
        yield from read(view.data, found.finditer(view.data))


@cache
def readers() -> Readers:
    kinds: tuple[tuple[str, _Read], ...] = (
        (_KEYS, _keys),
        *((rf"\b({source})", _judged(bool)) for source in INFIX_KEYS),
        (_ASSIGNED, _assigned),
        (_BEARER, _judged(_is_token)),
        (_SPOKEN, _spoken),
        (_OPTION, _judged(_is_password)),
        (_LOGIN, _judged(_is_login)),
        (_AWS_PAIR, _judged(_is_token)),
        (_PEM_BEGIN, _private_keys),
    )
    return Readers(
        pattern("|".join(_HINTS)),
        Signs(source for source, _ in kinds),
        tuple((pattern(source), read) for source, read in kinds),
    )


def _keys(data: bytes, matches: Iterable[Found]) -> Iterator[Span]:
    for match in matches:
        key = _KEY.match(data, match.start(), match.end() + 1)
        if key and (key["strict"] or _is_random(key.group())):
            yield Span(key.start(), key.end(), Kind.SECRET)


def _assigned(data: bytes, matches: Iterable[Found]) -> Iterator[Span]:
    for checked, match in enumerate(matches):
        start, end = _value(match, 2, 3, 4, 5)
        if checked >= CHECKED_MAX:
            yield Span(start, end, Kind.SECRET)
            continue
        judge = _is_password if match.start(1) >= 0 else _is_token
        value = _NEXT_PARAMETER.split(data[start:end], 1)[0].rstrip(_PUNCTUATION)
        if judge(value) and not _names_another_key(data, match.start()):
            yield Span(start, start + len(value), Kind.SECRET)


def _spoken(data: bytes, matches: Iterable[Found]) -> Iterator[Span]:
    """`the password Xy7!fooBar`: words stand there more often, so that it has to look like nothing else."""
    for checked, match in enumerate(matches):
        start, end = _value(match, 1, 2)
        value = data[start:end].rstrip(_PUNCTUATION)
        mixed = match.start(1) >= 0 or _MIXED.search(value[:_MIXED_BYTES])
        if checked >= CHECKED_MAX or (mixed and _is_password(value)):
            yield Span(start, start + len(value), Kind.SECRET)


def _judged(judge: Callable[[bytes], bool]) -> _Read:
    """Of each match the first group, where `judge` says so; beyond CHECKED_MAX all."""

    def read(_: bytes, matches: Iterable[Found]) -> Iterator[Span]:
        for checked, match in enumerate(matches):
            if checked >= CHECKED_MAX or judge(match.group(1)):
                yield Span(match.start(1), match.end(1), Kind.SECRET)

    return read


def _names_another_key(data: bytes, start: int) -> bool:
    """A key that is no secret, or the member `"key"` of some JSON."""
    before = data[max(0, start - _NEAR_BYTES) : start]
    member = before.endswith((b'"', b"'")) and data[start : start + 3].lower() == b"key"
    return member or bool(_OTHER_KEY_BEFORE.search(before))


def _value(match: Found, *groups: int) -> tuple[int, int]:
    group = next(group for group in groups if match.start(group) >= 0)
    return match.start(group), match.end(group)


def _is_random(key: bytes) -> bool:
    """A key with a provider's prefix: neither a placeholder nor a name made of words."""
    return _is_varied(key, _KEY_BITS_MIN) and not _PLACEHOLDER.search(key)


def _is_token(value: bytes) -> bool:
    if not _TOKEN_BYTES_MIN <= len(value) <= VALUE_BYTES_MAX or b" " in value:
        return False
    return not _is_spelled_out(value) and _is_varied(value, _TOKEN_BITS_MIN)


def _is_varied(value: bytes, mixed_case_bits_min: float) -> bool:
    """Digits among letters; without digits letters of both cases, and more of them than words have."""
    bits, present = bits_per_byte(value), set(value)
    if present & _DIGITS:
        return bits >= _BITS_MIN and bool(present & _LETTERS)
    return bits >= mixed_case_bits_min and value != value.lower() and value != value.upper()


def _is_password(value: bytes) -> bool:
    if len(value) > VALUE_BYTES_MAX or b" " in value or _is_spelled_out(value):
        return False
    present = set(value.rstrip(b"!?"))
    marked = present & _DIGITS or (len(value) >= _PASSWORD_BYTES_MIN and present & _MARKS)
    return bool(marked and present & _LETTERS) and bits_per_byte(value) >= _PASSWORD_BITS_MIN


def _is_login(word: bytes) -> bool:
    return not _PLACEHOLDER.search(word) and not word.isalpha() and not word.isdigit()


def _is_spelled_out(value: bytes) -> bool:
    """A placeholder, an identifier, a path or a number rather than a value made to be secret."""
    return bool(_PLACEHOLDER.search(value)) or bool(_CODE.fullmatch(value))


def bits_per_byte(value: bytes) -> float:
    """Shannon's entropy of the bytes' frequencies."""
    size = len(value)
    return -sum(count / size * math.log2(count / size) for count in Counter(value).values())


def _private_keys(data: bytes, matches: Iterable[Found]) -> Iterator[Span]:
    at = 0
    for match in matches:
        end = _pem_end(data, match.end()) if match.start() >= at else 0
        if end > match.end():
            yield Span(match.start(), end, Kind.SECRET)
            at = end


def _pem_end(data: bytes, body: int) -> int:
    """Behind the closing line; behind the last line of base64 where a key was cut off."""
    until = body + _PEM_BYTES_MAX
    dashes = data.find(b"-----", body, until)
    foot = _PEM_FOOT.match(data, dashes) if dashes >= 0 else None
    if foot:
        return foot.end()
    lines = _PEM_LINES.match(data, body, until)
    return lines.end() if lines else body
