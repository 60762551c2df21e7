"""Held to `phonenumbers` itself, over every country's example numbers and what lies near them."""

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import PhoneNumberType

from broker.policy.dlp.numbering import is_international, plan

REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)


@pytest.mark.parametrize(
    "kind", [PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE, PhoneNumberType.TOLL_FREE]
)
def test_every_country_s_example_is_a_number(kind: int) -> None:
    for region in REGIONS:
        example = phonenumbers.example_number_for_type(region, kind)
        if example is not None:
            national = phonenumbers.national_significant_number(example)
            found = plan(region)
            assert found is not None
            assert found.has(national), region
            assert is_international(f"{example.country_code}{national}"), region


@given(st.sampled_from(REGIONS), st.integers(0, 10**11))
def test_it_agrees_with_phonenumbers(region: str, tail: int) -> None:
    code = phonenumbers.country_code_for_region(region)
    digits = f"{code}{tail}"
    number = phonenumbers.PhoneNumber(
        country_code=code,
        national_number=tail,
    )
    assert is_international(digits) == phonenumbers.is_valid_number(number)
