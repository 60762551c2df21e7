"""One spelling for many ways to write the same letters (Unicode TR 15; TR 39 by a small table of ours)."""

import re
import unicodedata
from functools import cache

from broker.normal_forms import normalized

_TAGS = {0xE0000 + n: chr(n) for n in range(0x20, 0x7F)}

# Characters that print nothing and stand inside words: soft hyphen, joiners, directions, selectors, tags.
_UNSEEN = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_INVISIBLE = re.compile(f"[{_UNSEEN}]+")
# Two Arabic ligatures stand for a sentence each; taken apart they would let a text grow eighteenfold.
_SENTENCES = re.compile("[\ufdfa\ufdfb]")
_MARKS = re.compile("[\u0300-\u036f]+")

_LOOKALIKES = str.maketrans(
    "аеорсухівјкмтнԁɡѕҽԛԝһӏοαερυικνωηАВЕКМНОРСТХУЅІЈΑΒΕΖΗΙΚΜΝΟΡΤΥΧɩʟʀɴɢᴀʙᴄᴅᴇꜰʜᴊᴋᴍᴏᴘᴛᴜᴠᴡʏᴢ",
    "aeopcyxibjkmthdgseqwhloaepuiknwnABEKMHOPCTXYSIJABEZHIKMNOPTYXilrngabcdefhjkmoptuvwyz",
)
_SQUARED = {first + n: chr(65 + n) for first in (0x1F130, 0x1F150, 0x1F170, 0x1F1E6) for n in range(26)}
_HOMOGLYPHS: dict[int, str | int] = {**_LOOKALIKES, **_SQUARED}
_LOOKALIKE_RUN = re.compile(f"[{''.join(map(chr, _HOMOGLYPHS))}]+")
_ALIKE = "\u0370-\u052f\u0262-\u029fᴀ-ᴢ"
_FRAMED = "\U0001f130-\U0001f1ff"
_MIXED = re.compile(f"[A-Za-z][{_ALIKE}]|[{_ALIKE}][A-Za-z]|[{_FRAMED}]{{3}}|[ᴀ-ᴢ]{{3}}")
_MIXED_MIN = 2
# A part of any such word that a search can leap to.
_BESIDE = re.compile(f"[{_ALIKE}{_FRAMED}](?:(?<=[A-Za-z].)|[A-Za-z{_FRAMED}ᴀ-ᴢ])")
# A look at single characters, many times quicker than what it stands before.
_FOREIGN = re.compile(f"[{_ALIKE}{_FRAMED}]")
_BEYOND = re.compile("[^\\x00-\\x7f]+")
_FEW = 8
"""Where it is less than one character in so many, what is beyond ASCII is looked at run by run."""
_CHANGED = re.compile(f"[{_UNSEEN}{_ALIKE}{_FRAMED}\u0300-\u036fı]")
_HIDDEN = re.compile("[\u00ad\u200b-\u200d\u2060\ufeff]")
_TAG = re.compile("[\U000e0020-\U000e007e]")
_TAGGED = re.compile("[\U000e0020-\U000e007e]{4}")
_SPLIT = re.compile("(?:[A-Za-z][\u200b-\u200d\u2060\ufeff\u00ad][^\u200b]{0,12}){3}")
_ASCII = bytes(range(128))


def fold(text: str) -> str:
    """The text with hidden characters shown or dropped, compatibility forms and accents taken off, case kept.

    Linear in the length of `text`; at most some six times as long (NFKD of squared words).
    """
    if text.isascii():
        return text
    beyond = _beyond_ascii(text)
    if _stands(beyond):
        return text
    few = len(beyond) * _FEW <= len(text)
    text = _spelled_by_runs(text) if few else _spelled(text)
    return _LOOKALIKE_RUN.sub(_as_latin, text) if _has_lookalikes(text, _beyond_ascii(text)) else text


def _spelled_by_runs(text: str) -> str:
    """As `_spelled`, but only what is beyond ASCII is looked at, and the same run once."""
    spelled = cache(_spelled)
    return _BEYOND.sub(lambda run: spelled(run[0]), text)


def _spelled(text: str) -> str:
    """All of it but the lookalikes. ASCII stays, and changes nothing beside it: what composes with it are
    marks, which are taken off.
    """
    if _TAG.search(text):
        text = text.translate(_TAGS)
    if _INVISIBLE.search(text):
        text = _INVISIBLE.sub("", text)
    if _SENTENCES.search(text):
        text = _SENTENCES.sub(" ", text)
    text = normalized("NFKD", text)
    if _MARKS.search(_beyond_ascii(text)):
        text = _MARKS.sub("", text)
    return normalized("NFC", text).replace("ı", "i")


def _as_latin(run: re.Match[str]) -> str:
    return run[0].translate(_HOMOGLYPHS)


def _stands(beyond: str) -> bool:
    """Whether `fold` leaves a text with these characters beyond ASCII as it is: most have quotes and dashes.

    What composes with an ASCII character is one of the marks, so that it can be left out here.
    """
    if _CHANGED.search(beyond):
        return False
    return unicodedata.is_normalized("NFKD", beyond) and unicodedata.is_normalized("NFC", beyond)


def disguises(text: str) -> tuple[str, ...]:
    """Which ways of hiding letters the text uses: `tags`, `invisible` (inside Latin words), `lookalikes`."""
    if text.isascii():
        return ()
    beyond = _beyond_ascii(text)
    found = {
        "tags": _TAG.search(beyond) and _TAGGED.search(text),
        "invisible": _HIDDEN.search(beyond) and _SPLIT.search(text),
        "lookalikes": _has_lookalikes(text, beyond),
    }
    return tuple(kind for kind, shown in found.items() if shown)


def _has_lookalikes(text: str, beyond: str) -> bool:
    """Words of two scripts; whole words of one other script are a language, not a disguise."""
    first = _FOREIGN.search(beyond) and _BESIDE.search(text)
    if not first:
        return False
    found = _MIXED.finditer(text, first.start() - 1)
    return all(next(found, None) for _ in range(_MIXED_MIN))


def _beyond_ascii(text: str) -> str:
    """Its other characters alone, of which most texts have few: so a look for one of them is short."""
    return text.encode(errors="ignore").translate(None, _ASCII).decode()
