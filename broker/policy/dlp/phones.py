"""Telephone numbers: international ones of all countries, national ones of the regions that are asked for.

RE2 finds where one may begin; what follows, at most `_NUMBER_BYTES` long, is cut back group by group until it
is a number of a numbering plan. Bare digits without a separator count where a word near by speaks of calling.
"""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from broker.policy.dlp.cues import RECORDS, Cues
from broker.policy.dlp.errors import DlpRulesInvalid
from broker.policy.dlp.numbering import Plan, could_be_international, is_international, load, plan
from broker.policy.dlp.scanning import DIGIT, WORD, Pattern, View, ends_word, pattern
from broker.policy.dlp.spans import Kind, Span

CHECKED_MAX = 2_000
"""In one text; of what is written like a number beyond, nothing more is asked."""
_NUMBER_BYTES = 28
DIGITS_MIN, _DIGITS_MAX = 7, 18
"""Fewer in a row are none; the most are E.164's 15 and a prefix."""
_NATIONAL_DIGITS_MAX = 13
"""Plans such as Germany's allow more, which nobody has."""
_USUAL_DIGITS_MIN = 9
_AREA_DIGITS_MIN = 3
"""Of a first group that is an area's code, whose places people do not always group the same way."""
_CUTS_MAX = 5

_INTERNATIONAL = r"\(?\+ ?\(?[1-9][-0-9 ().]{6}"
_TRUNK = r"\(?\b0[0-9](?:[-0-9 ()./]{6})"
_GROUPS_AMERICAN = r"(?:\b1[-. ])?(?:\([2-9][0-9]{2}\) ?|\b[2-9][0-9]{2}[-. ])[0-9]{3}[-. ][0-9]{4}"
_GROUPS = r"\(?\b[1-9][0-9]{1,3}\)?[-. ][0-9]{2,4}(?:[-. ]?[0-9]{2,4}){1,3}\b"
_BARE = r"\b[1-9][0-9]{8,14}\b"

_TAIL = re.compile(rb"[+(]{0,2} ?\(?[0-9][-0-9 ()./]{5,%d}[0-9]" % (_NUMBER_BYTES - 5))
_GROUP = re.compile("[0-9]+")
_TWO_GROUPS = re.compile(rb"[0-9]{4,5}[-/ ][0-9]{5,8}")
_POSTCODE = re.compile(rb"[0-9]{5}-[0-9]{4}")
_EXTENSION = re.compile(
    rb",? ?(?:x|ext\.?|extension|durchwahl|poste) ?[0-9]{1,6}(?![0-9A-Za-z])", re.IGNORECASE
)
_DATE = re.compile(
    rb"[0-3]?[0-9]([-./ ])[0-3]?[0-9]\1(?:(?:19|20)[0-9]{2}|[0-9]{2})(?:(?<=[0-9]{4}) [0-9]{1,2})?"
    rb"|(?:19|20)[0-9]{2}([-./ ])[0-3]?[0-9]\2[0-3]?[0-9](?: [0-9]{1,2})?"
)
_AMERICAN = re.compile(rb"(?:1[-. ]?)?(?:\([0-9]{3}\) ?|[0-9]{3}[-. ]?)[0-9]{3}[-. ]?[0-9]{4}")
_TOO_OPEN = re.compile(rb"[-./ ]{4}|[-./]{2}|[0-9]\)[0-9]?\)|\([^0-9+]|[^0-9]\)|/.*/")
_UNLIKELY_BEFORE = b"#$~^*@\\%&"
_SPACE, _SLASH, _OPEN, _ZERO = b" /(0"
_DIGITS_AND_SPACE = b"0123456789 "
_CUES = Cues(
    """
    call calls called calling callback caller phone phones telephone telephones phonenumber tel
    mobile mobilenumber cell cellphone fax whatsapp sms text texted dial dialed dialled ring rang
    reach reached reachable contact contacts hotline helpline landline signal voicemail phoning
    my_number his_number her_number their_number our_number your_number new_number emergency_number
    office_number home_number work_number telefon telefonnummer telefonisch handy handynummer mobil
    mobilnummer mobilfunk rufnummer durchwahl erreichbar erreichen erreiche erreicht anruf anrufen
    rückruf rueckruf rufen ruf meine_nummer téléphone telephone tél portable appel appelez appeler
    appelle joindre joignable fixe rappeler mon_numéro teléfono telefono móvil movil llamar llame
    llama cellulare telefoon bel
    """,
    f"""
    {RECORDS} account acct konto kontonummer compte card iban bic ssn nhs npi vin zip postcode plz
    price amount sum total population siret siren tva ust vat tax steuernummer steuer kundennummer
    kunden_nr personalnummer matrikelnummer member members policy page pages ip date datum product
    stock size dimension dimensions format
    """,
)


class _Guess(NamedTuple):
    start: int
    end: int
    """Behind the extension, if there is one."""
    written: bytes
    digits: str
    international: bool
    """It begins with a plus sign."""


class Phones:
    def __init__(self, regions: Iterable[str]) -> None:
        """ISO 3166 codes. Raises DlpRulesInvalid for one without a numbering plan."""
        load()
        self._plans = tuple(_plan_of(region) for region in regions)
        self._prefixes = tuple({"00", *(each.international for each in self._plans)} - {""})
        self._beginnings = _beginnings(self._plans)

    def find(self, view: View) -> Iterator[Span]:
        data, at, checks = view.data, 0, iter(range(CHECKED_MAX))
        while match := self._beginnings.search(data, at):
            start = match.start()
            guess = self._number(data, start, checks) if _may_begin(data, start) else None
            if guess is None:
                at = _behind_group(data, start, match.end())
            else:
                at = guess.end
                yield Span(guess.start, guess.end, Kind.PHONE)

    def _number(self, data: bytes, start: int, checks: Iterator[int]) -> _Guess | None:
        tail = _TAIL.match(data, start)
        if tail is None or _DATE.fullmatch(tail.group()):
            return None
        for end in _cuts(tail):
            guess = _guess(data, start, end)
            if guess is None:
                continue
            if next(checks, None) is None:
                return guess
            if self._is_number(data, guess):
                return guess if self._is_believable(data, guess) else None
        return None

    def _is_number(self, data: bytes, guess: _Guess) -> bool:
        if guess.international:
            named = could_be_international(guess.digits) and _CUES.before(data, guess.start) > 0
            return named or is_international(guess.digits)
        return self._is_dialled_abroad(guess) or any(_fits(each, data, guess) for each in self._plans)

    def _is_dialled_abroad(self, guess: _Guess) -> bool:
        digits = guess.digits
        dialled = next((digits[len(each) :] for each in self._prefixes if digits.startswith(each)), "")
        return bool(dialled) and is_international(dialled)

    def _is_believable(self, data: bytes, guess: _Guess) -> bool:
        if guess.international:
            return True
        cue = _CUES.before(data, guess.start) or _CUES.after(data, guess.end)
        if guess.written.isdigit() or cue:
            return cue > 0
        if _in_a_row(data, guess):
            return False
        return self._is_dialled_abroad(guess) or any(_is_usual(each, guess) for each in self._plans)


def _guess(data: bytes, start: int, end: int) -> _Guess | None:
    """What stands there, if it is written as a telephone number could be."""
    if data[start] == _OPEN and data.find(b")", start, end) < 0:
        start += 1
    written = data[start:end]
    extension = _EXTENSION.match(data, end)
    end = extension.end() if extension else end
    if not ends_word(data, end) or _TOO_OPEN.search(written) or _DATE.fullmatch(written):
        return None
    digits = written.replace(b"(0)", b"").translate(None, b" ().-/+").decode("ascii")
    if not DIGITS_MIN <= len(digits) <= _DIGITS_MAX:
        return None
    return _Guess(start, end, written, digits, b"+" in written[:3])


def _is_usual(region: Plan, guess: _Guess) -> bool:
    """Written as the region's people do, so that it needs no word beside it."""
    if region.trunk == "1":
        return _AMERICAN.fullmatch(guess.written) is not None
    number = guess.digits[len(region.trunk) :]
    if len(guess.digits) < _USUAL_DIGITS_MIN or _POSTCODE.fullmatch(guess.written) or not region.has(number):
        return False
    if region.mobile is not None and region.mobile.fits(number) and _TWO_GROUPS.fullmatch(guess.written):
        return True
    groups, usual = _GROUP.findall(guess.written.decode("ascii")), region.usual_groups(number)
    return groups == usual if len(usual[0]) < _AREA_DIGITS_MIN else groups[0] == usual[0]


def _plan_of(region: str) -> Plan:
    found = plan(region.upper())
    if found is None:
        raise DlpRulesInvalid(
            f"region {region!r} has no telephone numbers: name an ISO 3166 code such as US or DE"
        )
    return found


def _beginnings(plans: Iterable[Plan]) -> Pattern:
    trunks = {each.trunk for each in plans}
    kinds = [_INTERNATIONAL, _TRUNK]
    if "1" in trunks:
        kinds.append(_GROUPS_AMERICAN)
    if trunks - {"0", "1"}:
        kinds.append(_GROUPS)
    if trunks - {"0"}:
        kinds.append(_BARE)
    return pattern("|".join(kinds))


def _fits(region: Plan, data: bytes, guess: _Guess) -> bool:
    digits = guess.digits
    if region.trunk == "1":
        number = digits[1:] if len(digits) == 11 and digits[0] == "1" else digits
        if not _AMERICAN.fullmatch(guess.written):
            return False
        return region.has(number) or (len(number) in region.possible and _CUES.before(data, guess.start) > 0)
    return (
        len(digits) <= _NATIONAL_DIGITS_MAX
        and digits.startswith(region.trunk)
        and region.has(digits[len(region.trunk) :])
    )


def _may_begin(data: bytes, start: int) -> bool:
    if not start:
        return True
    before, second = data[start - 1], data[start - 2] if start > 1 else _SPACE
    if before in WORD or before in _UNLIKELY_BEFORE:
        return False
    if before == _SLASH:
        return (second in DIGIT and data[start] != _ZERO) or second == _SPACE
    return before not in b".-+" or second not in WORD


def _cuts(tail: re.Match[bytes]) -> Iterator[int]:
    """The end of the whole, then of all but its last group, and so on."""
    written = tail.group().decode("ascii")
    ends = [tail.start() + group.end() for group in _GROUP.finditer(written)]
    yield from ends[: -_CUTS_MAX - 1 : -1]


def _in_a_row(data: bytes, guess: _Guess) -> bool:
    """Digits and spaces alone, with more of the same before or behind."""
    if guess.written.translate(None, _DIGITS_AND_SPACE):
        return False
    before, behind = data[max(0, guess.start - _NUMBER_BYTES) : guess.start], data[guess.end : guess.end + 2]
    word = before.rpartition(b"\n")[2].split(b" ")[-2:]
    return (len(word) == 2 and not word[1] and word[0].isdigit()) or (
        behind[:1] == b" " and behind[1:].isdigit()
    )


def _behind_group(data: bytes, start: int, end: int) -> int:
    """Where the next group of digits may begin a number."""
    at = start
    while at < end and data[at] not in DIGIT:
        at += 1
    while at < end and data[at] in DIGIT:
        at += 1
    return max(at, start + 1)
