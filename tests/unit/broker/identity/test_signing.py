import hashlib
import hmac
from collections.abc import Callable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from broker.identity.signing import SignedFields, canonical, sign, verify

SECRET = bytes(range(32))
FIELDS = SignedFields(
    version="1",
    topic="jobs.standard",
    application="reports",
    key_id="0a1b2c3d4e5f6071",
    content_type="application/json",
    reply_to="replies.reports/3",
    issued_at="1767225600000",
    job_id="019b76da-a800-7d3f-8a5b-1c2d3e4f5061",
    value_sha256=hashlib.sha256(b"{}").digest(),
)

texts = st.text(max_size=12)
fields = st.builds(
    SignedFields,
    **dict.fromkeys(FIELDS._fields[:-1], texts),
    value_sha256=st.binary(min_size=32, max_size=32),
)


@given(fields, fields)
def test_different_fields_are_never_signed_as_the_same_bytes(one: SignedFields, other: SignedFields) -> None:
    assert (canonical(one) == canonical(other)) == (one == other)


def test_what_stands_in_one_field_cannot_be_moved_to_the_next() -> None:
    moved = FIELDS._replace(topic="jobs.standardrep", application="orts")

    assert "".join(FIELDS[1:3]) == "".join(moved[1:3])
    assert canonical(FIELDS) != canonical(moved)


def test_the_signature_is_hmac_sha256_in_lower_case_hexadecimal() -> None:
    assert sign(SECRET, FIELDS) == hmac.new(SECRET, canonical(FIELDS), hashlib.sha256).hexdigest()


@pytest.mark.parametrize("name", FIELDS._fields)
def test_every_field_is_covered(name: str) -> None:
    other = {"value_sha256": hashlib.sha256(b"[]").digest()} if name == "value_sha256" else {name: "x"}
    altered = SignedFields(**(FIELDS._asdict() | other))

    assert verify(SECRET, FIELDS, sign(SECRET, FIELDS))
    assert not verify(SECRET, altered, sign(SECRET, FIELDS))


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_another_secret_does_not_verify(one: bytes, other: bytes) -> None:
    assume(one != other)

    assert not verify(other, FIELDS, sign(one, FIELDS))


@given(st.text())
def test_whatever_stands_for_a_signature_is_simply_wrong(text: str) -> None:
    assert not verify(SECRET, FIELDS, text)


@pytest.mark.parametrize(
    "alter", [str.upper, lambda s: s[:-1], lambda s: s + "0", lambda s: "é" + s[1:], lambda _: ""]
)
def test_only_the_exact_text_verifies(alter: Callable[[str], str]) -> None:
    assert not verify(SECRET, FIELDS, alter(sign(SECRET, FIELDS)))
