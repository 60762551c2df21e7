"""Inner records: what is sealed is opened as it was, what is not is not believed."""

import hashlib
from typing import Any
from uuid import UUID
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import NotBelieved
from broker.identity import seal
from broker.records import Inner, Outgoing, Sealer, partition_of
from schemas import headers
from schemas.outcomes import Expired, Refused
from schemas.reasons import Failure, Refusal, Unauthentic
from schemas.state import State
from tests.unit.workers.memory import JOB, SEAL_KEY, Received, charge, received, state

SEALER = Sealer(SEAL_KEY)
TOPIC = "reserved.standard"

states = st.builds(
    state,
    job_id=st.uuids(),
    run=st.integers(1, 9),
    attempt=st.integers(1, 99),
    model=st.none() | st.text(max_size=20),
    traceparent=st.none() | st.text(max_size=20),
    overrides=st.dictionaries(st.text(max_size=9), st.integers(1, 10**9), max_size=3),
    charges=st.lists(st.builds(charge, st.integers(1, 9), st.integers(0, 2**53)), max_size=3).map(tuple),
    failures=st.lists(st.sampled_from(Failure), max_size=3).map(tuple),
    outcome=st.sampled_from(
        [None, Expired(stage="retry"), Refused(reason=Refusal.NO_TARGET, stage="dispatch")]
    ),
)


def is_believed(record: Received) -> bool:
    try:
        SEALER.open(record)
    except NotBelieved as error:
        return error.reason is not Unauthentic.FORGED
    return True


def sealed(value: bytes = b"value", of: State | None = None) -> Received:
    return received(SEALER.seal(TOPIC, of or state(), value))


@given(states, st.binary(max_size=200))
def test_what_is_sealed_is_opened_as_it_was(before: State, value: bytes) -> None:
    inner = SEALER.open(sealed(value, before))
    assert inner == Inner(before, value, hashlib.sha256(value).digest())


def test_an_override_that_leaves_a_field_out_survives() -> None:
    assert SEALER.open(sealed(of=state(overrides={"max_tokens": None}))).state.overrides == {
        "max_tokens": None
    }


def test_a_record_has_the_job_s_id_as_key_and_correlation() -> None:
    record = SEALER.seal(TOPIC, state(), b"v", by_key=True, extra=[("x", b"1")])
    assert (record.topic, record.key, record.value, record.by_key) == (TOPIC, JOB.bytes, b"v", True)
    assert [name for name, _ in record.headers] == [
        headers.CORRELATION_ID,
        headers.STATE,
        headers.SEAL,
        "x",
    ]
    assert dict(record.headers)[headers.CORRELATION_ID] == str(JOB).encode()


def test_a_digest_that_is_known_is_not_made_again() -> None:
    """And one that is wrong makes a seal that does not hold."""
    digest = hashlib.sha256(b"v").digest()
    assert SEALER.open(received(SEALER.seal(TOPIC, state(), b"v", digest))).sha256 == digest
    assert not is_believed(received(SEALER.seal(TOPIC, state(), b"v", bytes(32))))


def with_headers(record: Received, *carried: tuple[str, bytes | None]) -> Received:
    return record._replace(headers=carried)


def header(record: Received, name: str) -> bytes:
    [content] = [content for found, content in record.headers if found == name]
    assert content is not None
    return content


@given(states, st.binary(max_size=40), st.data())
def test_a_change_of_any_byte_is_seen(before: State, value: bytes, data: st.DataObject) -> None:
    record = sealed(value, before)
    name = data.draw(st.sampled_from([headers.STATE, headers.SEAL]))
    content = bytearray(header(record, name))
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    carried = [(found, bytes(content) if found == name else old) for found, old in record.headers]
    assert not is_believed(with_headers(record, *carried))
    assert not is_believed(record._replace(value=value + b"x"))


@pytest.mark.parametrize("topic", ["admitted.standard", "reserved.bulk", "dead", ""])
def test_a_record_copied_to_another_topic_is_forged(topic: str) -> None:
    assert not is_believed(sealed()._replace(topic=topic))


def test_another_broker_s_seal_is_forged() -> None:
    assert not is_believed(received(Sealer(bytes(32)).seal(TOPIC, state(), b"v")))


@pytest.mark.parametrize("name", [headers.STATE, headers.SEAL])
def test_a_part_that_is_missing_empty_or_doubled_is_forged(name: str) -> None:
    record = sealed()
    others = [pair for pair in record.headers if pair[0] != name]
    content = header(record, name)
    for carried in (
        [],
        [(name, None)],
        [(name, b"")],
        [(name, content)] * 2,
        [(name, content), (name, None)],
    ):
        assert not is_believed(with_headers(record, *others, *carried))
    assert is_believed(with_headers(record, *others, (name, content)))


@pytest.mark.parametrize("name", [headers.STATE, headers.SEAL])
def test_of_a_part_that_came_empty_first_the_second_is_not_taken(name: str) -> None:
    record = sealed()
    others = [pair for pair in record.headers if pair[0] != name]
    assert not is_believed(with_headers(record, *others, (name, b""), (name, header(record, name))))


def test_headers_beside_the_seal_are_nobody_s_word() -> None:
    record = sealed()
    assert is_believed(with_headers(record, ("x", None), *record.headers, ("x", b"2")))


@pytest.mark.parametrize("encoded", [b"", b"{}", b"[]", b"not json", b'{"version":2}'])
def test_a_state_of_another_shape_is_not_believed_though_its_seal_holds(encoded: bytes) -> None:
    mac = seal.seal(SEAL_KEY, TOPIC, encoded, hashlib.sha256(b"v").digest())
    record = Received(TOPIC, b"v", ((headers.STATE, encoded), (headers.SEAL, mac)))
    assert not is_believed(record)


def test_a_state_with_a_field_of_tomorrow_is_not_believed() -> None:
    encoded = state().model_dump_json(exclude_none=True)[:-1].encode() + b',"tomorrow":1}'
    mac = seal.seal(SEAL_KEY, TOPIC, encoded, hashlib.sha256(b"v").digest())
    assert not is_believed(Received(TOPIC, b"v", ((headers.STATE, encoded), (headers.SEAL, mac))))


def test_a_tombstone_is_an_empty_value() -> None:
    record = sealed(b"")._replace(value=None)
    assert SEALER.open(record).value == b""


names = st.sampled_from([headers.STATE, headers.SEAL, headers.CORRELATION_ID]) | st.text(max_size=4)


@given(st.lists(st.tuples(names, st.none() | st.binary(max_size=40)), max_size=6), st.none() | st.binary())
def test_a_stranger_s_record_is_never_believed(carried: Any, value: bytes | None) -> None:
    assert not is_believed(Received(TOPIC, value, tuple(carried)))


# partitions


@given(st.binary(max_size=16), st.integers(1, 1000))
def test_a_key_always_has_the_same_partition(key: bytes, partitions: int) -> None:
    found = partition_of(key, partitions)
    assert found == crc32(key) % partitions == partition_of(key, partitions)
    assert 0 <= found < partitions


def test_keys_are_spread_over_all_partitions() -> None:
    found = [partition_of(UUID(int=number).bytes, 6) for number in range(600)]
    assert all(60 <= found.count(partition) <= 140 for partition in range(6))


def test_the_check_value_of_crc_32() -> None:
    assert partition_of(b"123456789", 2**32) == 0xCBF43926


def test_a_record_goes_to_any_partition_unless_it_says_so() -> None:
    record = Outgoing("t", None, b"", ())
    assert (record.by_key, record.partition) == (False, None)


def with_tokens(*tokens: bytes, named: bytes = b"sealed") -> Received:
    of = state(tokens_sha256=hashlib.sha256(named).hexdigest())
    outgoing = SEALER.seal(TOPIC, of, b"value", extra=[(headers.TOKENS, each) for each in tokens])
    return received(outgoing)


def test_tokens_come_with_the_record_that_names_them() -> None:
    assert SEALER.open(with_tokens(b"sealed")).tokens == b"sealed"
    assert SEALER.open(received(SEALER.seal(TOPIC, state(), b"value", tokens=b"unnamed"))).tokens is None


@pytest.mark.parametrize("tokens", [(), (b"",), (b"others",), (b"sealed", b"sealed")])
def test_tokens_that_are_not_those_that_the_state_names_are_forged(tokens: tuple[bytes, ...]) -> None:
    assert not is_believed(with_tokens(*tokens))


def test_tokens_are_encrypted_under_another_key_than_records_are_sealed() -> None:
    assert len(SEALER.token_key) == 32
    assert SEALER.token_key not in (SEAL_KEY, Sealer(bytes(32)).token_key)
