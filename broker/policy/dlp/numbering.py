"""Which digits are a telephone number of a country, by the metadata of `phonenumbers`.

The same answer as `phonenumbers.is_valid_number`, from the same tables, at a twentieth of the time: the
patterns are compiled once, and no number object is built.
"""

import re
from functools import cache
from typing import NamedTuple

from phonenumbers import (
    COUNTRY_CODE_TO_REGION_CODE,
    PhoneMetadata,
    PhoneNumber,
    PhoneNumberDesc,
    PhoneNumberFormat,
    format_number,
)

_NON_GEOGRAPHIC = "001"
_KINDS = (
    "fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost", "voip", "personal_number", "pager",
    "uan", "voicemail",
)  # fmt: skip


class _Shape(NamedTuple):
    lengths: frozenset[int]
    pattern: re.Pattern[str]

    def fits(self, number: str) -> bool:
        return len(number) in self.lengths and self.pattern.fullmatch(number) is not None


class Plan(NamedTuple):
    """The numbering plan of one region."""

    country_code: int
    trunk: str
    """What stands before a national number when it is dialled inside the country; may be empty."""
    international: str
    """What is dialled before a country code, where that is always the same; else empty."""
    possible: frozenset[int]
    general: _Shape
    mobile: _Shape | None
    shapes: tuple[_Shape, ...]

    def has(self, number: str) -> bool:
        """`number`: the national digits, without trunk prefix."""
        return self.general.fits(number) and any(shape.fits(number) for shape in self.shapes)

    def usual_groups(self, number: str) -> list[str]:
        """The number as it is written inside the country, trunk prefix included."""
        built = PhoneNumber(country_code=self.country_code, national_number=int(number))
        return re.findall("[0-9]+", format_number(built, PhoneNumberFormat.NATIONAL))


@cache
def plan(region: str) -> Plan | None:
    """Of an ISO 3166 region; None where there is no such plan."""
    metadata = PhoneMetadata.metadata_for_region(region, None)
    return None if metadata is None else _plan(metadata)


def load() -> None:
    """Every country's plan, in a quarter of a second, so that no text waits for one."""
    for country_code in COUNTRY_CODE_TO_REGION_CODE:
        _plans(country_code)


@cache
def _plans(country_code: int) -> tuple[Plan, ...]:
    regions = COUNTRY_CODE_TO_REGION_CODE.get(country_code, ())
    if regions == (_NON_GEOGRAPHIC,):
        metadata = PhoneMetadata.metadata_for_nongeo_region(country_code, None)
        return () if metadata is None else (_plan(metadata),)
    return tuple(found for region in regions if (found := plan(region)) is not None)


def _plan(metadata: PhoneMetadata) -> Plan:
    shapes = tuple(shape for kind in _KINDS if (shape := _shape(getattr(metadata, kind))) is not None)
    general = _shape(metadata.general_desc) or _Shape(frozenset(), re.compile(""))
    international = metadata.international_prefix or ""
    return Plan(
        country_code=metadata.country_code or 0,
        trunk=metadata.national_prefix or "",
        international=international if international.isdecimal() else "",
        possible=general.lengths,
        general=general,
        mobile=_shape(metadata.mobile),
        shapes=shapes,
    )


def _shape(description: PhoneNumberDesc | None) -> _Shape | None:
    if description is None or description.national_number_pattern is None:
        return None
    lengths = frozenset(description.possible_length)
    return _Shape(lengths, re.compile(description.national_number_pattern)) if lengths else None


def is_international(digits: str) -> bool:
    """`digits`: country code and national number, without any prefix."""
    return any(each.has(digits[size:]) for size, plans in _by_code(digits) for each in plans)


def could_be_international(digits: str) -> bool:
    """As long as a number of its country is; whether it was ever given out is not asked."""
    return any(len(digits) - size in each.possible for size, plans in _by_code(digits) for each in plans)


def _by_code(digits: str) -> tuple[tuple[int, tuple[Plan, ...]], ...]:
    for size in (1, 2, 3):
        code = int(digits[:size] or "0")
        if code in COUNTRY_CODE_TO_REGION_CODE:
            return ((size, _plans(code)),)
    return ()
