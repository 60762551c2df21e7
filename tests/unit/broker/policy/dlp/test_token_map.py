import os
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.policy.dlp.errors import TokenMapTooLarge, TokenMapUnreadable
from broker.policy.dlp.token_map import SEALED_BYTES_MAX, Owner, open_sealed, seal

KEY = bytes(range(32))
OWNER = Owner("shop", UUID("018f0000-0000-7000-8000-000000000001"), 1)
MAPPING = {"[EMAIL_1]": "joe@example.com"}


@given(st.dictionaries(st.text(max_size=12), st.text(max_size=40), max_size=8))
def test_the_owner_reads_what_was_sealed(mapping: dict[str, str]) -> None:
    assert open_sealed(KEY, OWNER, seal(KEY, OWNER, mapping)) == mapping


def test_no_value_can_be_read_in_it() -> None:
    assert b"joe" not in seal(KEY, OWNER, MAPPING)


@pytest.mark.parametrize(
    "other",
    [
        OWNER._replace(application="shop2"),
        OWNER._replace(job_id=UUID("018f0000-0000-7000-8000-000000000002")),
        OWNER._replace(run=2),
    ],
)
def test_another_job_cannot_read_it(other: Owner) -> None:
    with pytest.raises(TokenMapUnreadable) as refused:
        open_sealed(KEY, other, seal(KEY, OWNER, MAPPING))
    assert refused.value.code == "token_map_unreadable"


def test_another_key_cannot_read_it() -> None:
    with pytest.raises(TokenMapUnreadable):
        open_sealed(bytes(32), OWNER, seal(KEY, OWNER, MAPPING))


@given(st.integers(0, 60), st.integers(1, 255))
def test_an_altered_one_is_not_read(place: int, by: int) -> None:
    sealed = bytearray(seal(KEY, OWNER, MAPPING))
    sealed[place % len(sealed)] ^= by
    with pytest.raises(TokenMapUnreadable):
        open_sealed(KEY, OWNER, bytes(sealed))


@given(st.binary(max_size=64))
def test_bytes_that_are_none_are_not_read(sealed: bytes) -> None:
    with pytest.raises(TokenMapUnreadable):
        open_sealed(KEY, OWNER, sealed)


@pytest.mark.parametrize("value", [os.urandom(SEALED_BYTES_MAX).hex(), "a" * 2_000_000])
def test_what_a_header_cannot_carry_is_refused(value: str) -> None:
    with pytest.raises(TokenMapTooLarge) as refused:
        seal(KEY, OWNER, {"[OWN_1]": value})
    assert refused.value.code == "token_map_too_large"
    assert value[:20] not in str(refused.value)
