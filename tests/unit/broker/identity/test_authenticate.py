"""Who sent a record: one way in, and a stable reason for every other."""

import hashlib
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from broker.errors import NotBelieved
from broker.identity.authenticate import Authentic, Freshness, authenticate, read_headers
from broker.identity.directory import Key
from schemas import headers, topics
from schemas.reasons import Unauthentic
from schemas.topics import Lane
from tests.unit.workers.memory import JOB, NOW_MS, Received
from tests.unit.workers.signing import KEY, TOPIC, signed, signed_headers

VALUE = b'{"version":1}'
FRESHNESS = Freshness(stale_after_ms=300_000, future_within_ms=30_000)
OTHER = KEY._replace(id="f" * 16, application="other", secret=bytes(32))
REVOKED = KEY._replace(id="d" * 16, revoked=True)
KEYS = {key.id: key for key in (KEY, OTHER, REVOKED)}
REQUIRED = sorted(signed_headers(VALUE))


def believed(record: Received, appended_ms: int = NOW_MS) -> Authentic:
    return authenticate(record, appended_ms, KEYS.get, FRESHNESS)


def reason_of(record: Received, appended_ms: int = NOW_MS) -> Unauthentic:
    with pytest.raises(NotBelieved) as caught:
        believed(record, appended_ms)
    return caught.value.reason


def altered(**changes: bytes | None) -> Received:
    """A signed record with headers changed (None: left out), by their names with `_` for `-`."""
    carried: dict[str, bytes] = signed_headers(VALUE)
    for name, content in changes.items():
        wire = name if name in carried else name.replace("_", "-")
        if content is None:
            del carried[wire]
        else:
            carried[wire] = content
    return Received(TOPIC, VALUE, tuple(carried.items()))


def with_more(*more: tuple[str, bytes | None]) -> Received:
    record = signed(VALUE)
    return record._replace(headers=(*record.headers, *more))


# who is believed


@pytest.mark.parametrize("lane", Lane)
@pytest.mark.parametrize("own", [None, "shop"])
def test_a_signed_record_is_believed_on_shared_and_own_topics(lane: Lane, own: str | None) -> None:
    found = believed(signed(VALUE, topic=topics.jobs(lane, own), reply_to="replies.shop/1"))
    digest = hashlib.sha256(VALUE).digest()
    assert found == Authentic(KEY, lane, JOB, "replies.shop/1", None, digest, "application/json")


def test_other_headers_do_no_harm_and_the_trace_is_taken_along() -> None:
    found = believed(with_more((headers.TRACEPARENT, b"00-aa-bb-01"), ("x-team", "é".encode())))
    assert found.traceparent == "00-aa-bb-01"


def test_a_record_without_a_value_may_be_authentic_too() -> None:
    record = Received(TOPIC, None, tuple(signed_headers(b"").items()))
    assert believed(record).sha256 == hashlib.sha256(b"").digest()


@given(st.binary(max_size=300), st.uuids(), st.text(max_size=30))
def test_whatever_is_signed_right_is_believed(value: bytes, job_id: UUID, reply_to: str) -> None:
    found = believed(signed(value, job_id=job_id, reply_to=reply_to))
    assert (found.job_id, found.reply_to) == (job_id, reply_to)


# who is not


@pytest.mark.parametrize(
    "topic",
    ["jobs.urgent", "jobs", "jobs.", "jobs.bulk.", "jobs.bulk.UP", "jobs.bulk.a.b", "dead", "xjobs.bulk"],
)
def test_a_topic_that_is_no_lane_s(topic: str) -> None:
    assert reason_of(signed(VALUE, topic=topic)) is Unauthentic.UNKNOWN_LANE


def test_another_application_s_topic_however_well_it_is_signed() -> None:
    assert reason_of(signed(VALUE, topic="jobs.bulk.other")) is Unauthentic.FOREIGN_TOPIC


@pytest.mark.parametrize("name", REQUIRED)
def test_a_header_that_is_missing(name: str) -> None:
    kept = tuple(pair for pair in signed(VALUE).headers if pair[0] != name)
    assert reason_of(Received(TOPIC, VALUE, kept)) is Unauthentic.HEADER_MISSING


@pytest.mark.parametrize("name", [*REQUIRED, headers.TRACEPARENT, "x"])
def test_a_header_that_comes_twice_even_with_the_same_content(name: str) -> None:
    content = dict(signed(VALUE).headers).get(name, b"1")
    doubled = with_more((name, content)) if name in REQUIRED else with_more((name, content), (name, content))
    assert reason_of(doubled) is Unauthentic.HEADER_DUPLICATE


def test_more_headers_than_are_read() -> None:
    room = headers.HEADERS_MAX - len(REQUIRED)
    assert believed(with_more(*((f"x{number}", b"") for number in range(room))))
    too_many = with_more(*((f"x{number}", b"") for number in range(room + 1)))
    assert reason_of(too_many) is Unauthentic.HEADERS_TOO_MANY


@pytest.mark.parametrize("content", [None, b"\xff", b"x" * (headers.HEADER_BYTES_MAX + 1)])
def test_a_header_without_a_text_of_bounded_length(content: bytes | None) -> None:
    assert reason_of(with_more(("x", content))) is Unauthentic.HEADER_INVALID


def test_a_header_of_just_the_length_that_is_read() -> None:
    assert believed(with_more(("x", b"x" * headers.HEADER_BYTES_MAX)))


@pytest.mark.parametrize("version", ["2", "0", "01", " 1", ""])
def test_another_version_though_it_is_signed(version: str) -> None:
    assert reason_of(signed(VALUE, version=version)) is Unauthentic.UNSUPPORTED_VERSION


def test_a_key_that_nobody_has() -> None:
    assert reason_of(signed(VALUE, key=KEY._replace(id="0" * 16))) is Unauthentic.UNKNOWN_KEY


def test_a_key_of_another_application() -> None:
    posing = KEY._replace(id=OTHER.id, secret=OTHER.secret)
    assert reason_of(signed(VALUE, key=posing)) is Unauthentic.UNKNOWN_KEY


def test_a_key_that_was_revoked() -> None:
    assert reason_of(signed(VALUE, key=REVOKED)) is Unauthentic.KEY_REVOKED


@pytest.mark.parametrize(
    "record",
    [
        signed(VALUE)._replace(value=VALUE + b" "),
        signed(VALUE)._replace(topic="jobs.bulk"),
        altered(reply_to=b"replies.shop/9"),
        altered(hw_issued_at=str(NOW_MS + 1).encode()),
        altered(correlation_id=str(UUID(int=8)).encode()),
        altered(content_type=b"text/plain"),
        altered(hw_signature=b""),
        altered(hw_signature=signed_headers(VALUE)[headers.SIGNATURE].upper()),
        altered(hw_signature="é".encode() * 32),
        signed(VALUE, key=KEY._replace(secret=b"guess" * 8)),
    ],
    ids=[
        "value",
        "topic",
        "reply_to",
        "issued_at",
        "job id",
        "content type",
        "no signature",
        "upper case",
        "no hexadecimal",
        "a guessed secret",
    ],
)
def test_anything_that_was_not_signed_so(record: Received) -> None:
    assert reason_of(record) is Unauthentic.BAD_SIGNATURE


@given(st.integers(-400_000, 400_000))
@example(300_000)
@example(300_001)
@example(-30_000)
@example(-30_001)
def test_a_record_is_fresh_within_its_bounds_and_at_them(age_ms: int) -> None:
    record = signed(VALUE, issued_at=NOW_MS - age_ms)
    if age_ms > FRESHNESS.stale_after_ms:
        assert reason_of(record) is Unauthentic.STALE
    elif age_ms < -FRESHNESS.future_within_ms:
        assert reason_of(record) is Unauthentic.FROM_THE_FUTURE
    else:
        assert believed(record)


@pytest.mark.parametrize("issued_at", ["", "-1", "1.5", "1e9", " 1", "１７", "9" * 16, "0x10"])
def test_a_time_of_issue_that_is_no_number(issued_at: str) -> None:
    assert reason_of(signed(VALUE, issued_at=issued_at)) is Unauthentic.HEADER_INVALID


@pytest.mark.parametrize(
    "job_id", ["", "7", str(UUID(int=10)).upper(), JOB.hex, f"{{{JOB}}}", f"urn:uuid:{JOB}"]
)
def test_a_job_id_in_another_form_than_the_one(job_id: str) -> None:
    assert reason_of(signed(VALUE, job_id=job_id)) is Unauthentic.HEADER_INVALID


def test_the_signature_is_judged_before_what_it_covers() -> None:
    stale = signed(VALUE, issued_at=0, job_id="7")
    spoilt = stale._replace(value=b"other")
    assert reason_of(spoilt) is Unauthentic.BAD_SIGNATURE
    assert reason_of(stale) is Unauthentic.STALE


def test_a_revoked_key_is_named_without_looking_at_the_signature() -> None:
    assert reason_of(signed(VALUE, key=REVOKED._replace(secret=b"x"))) is Unauthentic.KEY_REVOKED


# whatever comes


def is_believed(record: Received) -> bool:
    try:
        believed(record)
    except NotBelieved:
        return False
    return True


names = st.sampled_from([*REQUIRED, headers.STATE, headers.SEAL, "x"]) | st.text(max_size=5)
pairs = st.lists(st.tuples(names, st.none() | st.binary(max_size=40)), max_size=40)


@given(
    pairs,
    st.none() | st.binary(max_size=40),
    st.sampled_from([TOPIC, "jobs.bulk.shop"]) | st.text(max_size=20),
)
def test_a_stranger_is_never_believed(carried: Any, value: bytes | None, topic: str) -> None:
    assert not is_believed(Received(topic, value, tuple(carried)))


@given(st.data())
def test_a_record_changed_in_any_byte_of_what_is_signed_is_not_believed(data: st.DataObject) -> None:
    record = signed(VALUE, reply_to="replies.shop/1")
    place = data.draw(st.integers(0, len(record.headers) - 1))
    name, content = record.headers[place]
    assert content is not None
    at = data.draw(st.integers(0, len(content) - 1))
    changed = bytearray(content)
    changed[at] ^= data.draw(st.integers(1, 255))
    carried = (*record.headers[:place], (name, bytes(changed)), *record.headers[place + 1 :])
    assert not is_believed(record._replace(headers=carried))


@given(pairs)
def test_headers_are_read_as_they_stand_or_refused(carried: Any) -> None:
    try:
        found = read_headers(carried)
    except NotBelieved:
        return
    assert [(name, text.encode()) for name, text in found.items()] == carried


def test_a_key_s_secret_is_not_in_its_repr() -> None:
    secret: Key = KEY._replace(secret=b"sesame-open")
    assert "sesame" not in f"{secret!r} {secret}"
