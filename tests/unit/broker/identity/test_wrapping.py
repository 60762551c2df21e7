"""Secrets at rest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import SecretMissing
from broker.identity.wrapping import NONCE_BYTES, unwrap, wrap

KEKS = st.binary(min_size=32, max_size=32)
KEY_IDS = st.text("0123456789abcdef", min_size=8, max_size=32)
SECRETS = st.binary(min_size=1, max_size=64)


@given(KEKS, KEY_IDS, SECRETS)
def test_what_was_wrapped_is_unwrapped(kek: bytes, key_id: str, secret: bytes) -> None:
    assert unwrap(kek, key_id, wrap(kek, key_id, secret)) == secret


@given(KEKS, KEKS, KEY_IDS, SECRETS)
def test_another_key_encryption_key_does_not_fit(
    kek: bytes, other: bytes, key_id: str, secret: bytes
) -> None:
    if other != kek:
        with pytest.raises(SecretMissing, match=f"does not fit key {key_id}"):
            unwrap(other, key_id, wrap(kek, key_id, secret))


@given(KEKS, KEY_IDS, KEY_IDS, SECRETS)
def test_a_secret_cannot_be_moved_to_another_key(kek: bytes, key_id: str, other: str, secret: bytes) -> None:
    if other != key_id:
        with pytest.raises(SecretMissing):
            unwrap(kek, other, wrap(kek, key_id, secret))


@given(KEKS, KEY_IDS, SECRETS, st.data())
def test_no_bit_can_be_changed(kek: bytes, key_id: str, secret: bytes, data: st.DataObject) -> None:
    wrapped = bytearray(wrap(kek, key_id, secret))
    wrapped[data.draw(st.integers(0, len(wrapped) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(SecretMissing):
        unwrap(kek, key_id, bytes(wrapped))


@given(KEKS, KEY_IDS, st.integers(0, NONCE_BYTES + 15))
def test_what_is_cut_off_is_refused(kek: bytes, key_id: str, length: int) -> None:
    with pytest.raises(SecretMissing):
        unwrap(kek, key_id, wrap(kek, key_id, b"s" * 32)[:length])


def test_the_same_secret_is_never_wrapped_alike() -> None:
    kek = bytes(32)
    assert wrap(kek, "a" * 16, b"secret") != wrap(kek, "a" * 16, b"secret")


def test_the_error_tells_no_secret() -> None:
    kek, secret = bytes(32), b"a-very-secret-secret-indeed-here"
    with pytest.raises(SecretMissing) as caught:
        unwrap(bytes(31) + b"1", "a" * 16, wrap(kek, "a" * 16, secret))
    assert "very-secret" not in str(caught.value)
    assert caught.value.__cause__ is None
