"""Batches taken apart by hand say what aiokafka's own reader says, and more where that gives up."""

import struct
from typing import Any

from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from hypothesis import given
from hypothesis import strategies as st

from broker.kafka.raw_batch import UNREADABLE_MAX, Broken, take_apart

TOPIC, PARTITION = "work", 3
BAD_KEY = "~bad~"
_ATTRIBUTES, _LAST_DELTA, _HEAD_END = 21, 23, 61
_APPEND_TIME = 0x08
_CONTROL = 0x20

headers = st.lists(st.tuples(st.text(max_size=10), st.none() | st.binary(max_size=20)), max_size=4)
parts = st.tuples(
    st.none() | st.binary(max_size=20), st.none() | st.binary(max_size=300), headers, st.integers(0, 2**42)
)
Parts = tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]], int]


def batch(records: list[Parts], base: int = 0) -> bytes:
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1 << 20,
    )
    for number, (key, value, carried, timestamp) in enumerate(records):
        builder.append(number, timestamp, key, value, headers=carried)
    raw = bytearray(builder.build())
    struct.pack_into(">q", raw, 0, base)
    return bytes(raw.replace(BAD_KEY.encode(), b"\xff\xfe\xff\xfe\xff"))


def flagged(raw: bytes, flag: int) -> bytes:
    return raw[:_ATTRIBUTES] + struct.pack(">h", flag) + raw[_ATTRIBUTES + 2 :]


def told(record: Any) -> tuple[Any, ...]:
    return (
        record.offset,
        record.key,
        record.value,
        list(record.headers),
        record.timestamp,
        record.timestamp_type,
    )


@given(st.lists(parts, min_size=1, max_size=6), st.integers(0, 2**60), st.booleans())
def test_it_reads_as_aiokafka_does(records: list[Parts], base: int, appended: bool) -> None:
    raw = flagged(batch(records, base), _APPEND_TIME if appended else 0)
    found = take_apart(TOPIC, PARTITION, raw, base)
    assert found is not None
    assert found.next_offset == base + len(records)
    assert [told(one) for one in found.items] == [told(one) for one in DefaultRecordBatch(raw)]
    assert {(one.topic, one.partition) for one in found.items if not isinstance(one, Broken)} == {
        (TOPIC, PARTITION)
    }


@given(st.lists(parts, min_size=1, max_size=6), st.data())
def test_a_bad_header_key_breaks_its_own_record_alone(records: list[Parts], data: st.DataObject) -> None:
    bad = data.draw(st.sets(st.integers(0, len(records) - 1)))
    spoilt = [
        (key, value, [*carried, (BAD_KEY, b"")] if number in bad else carried, at)
        for number, (key, value, carried, at) in enumerate(records)
    ]
    found = take_apart(TOPIC, PARTITION, batch(spoilt), 0)
    assert found is not None
    assert [one.offset for one in found.items] == list(range(len(records)))
    assert {one.offset for one in found.items if isinstance(one, Broken)} == bad
    whole = list(DefaultRecordBatch(batch(records)))
    assert [one.value for one in found.items if not isinstance(one, Broken)] == [
        one.value for number, one in enumerate(whole) if number not in bad
    ]


@given(st.lists(parts, min_size=1, max_size=6), st.data())
def test_it_begins_where_it_is_told_to(records: list[Parts], data: st.DataObject) -> None:
    offset = data.draw(st.integers(0, len(records) - 1))
    found = take_apart(TOPIC, PARTITION, batch(records), offset)
    assert found is not None
    assert [one.offset for one in found.items] == list(range(offset, len(records)))


def test_it_finds_the_batch_among_several() -> None:
    record: Parts = (None, b"x", [], 0)
    raw = batch([record] * 2, 10) + batch([record] * 3, 12) + batch([record], 15)
    found = take_apart(TOPIC, PARTITION, raw, 13)
    assert found is not None
    assert ([one.offset for one in found.items], found.next_offset) == ([13, 14], 15)
    assert take_apart(TOPIC, PARTITION, raw, 16) is None


def test_a_control_batch_holds_nothing() -> None:
    raw = flagged(batch([(b"k", b"v", [], 0)], 7), _CONTROL)
    found = take_apart(TOPIC, PARTITION, raw, 7)
    assert found == ((), 8)


def test_what_is_compressed_is_given_up_offset_by_offset_and_its_bytes_are_kept_once() -> None:
    raw = flagged(batch([(None, b"x", [], 0)] * 3, 7), 4)
    found = take_apart(TOPIC, PARTITION, raw, 8)
    assert found is not None
    assert found.items == (Broken(8, "codec 4", raw), Broken(9, "codec 4", b""))
    assert found.next_offset == 10


def test_a_head_that_claims_many_records_is_not_believed_at_once() -> None:
    raw = bytearray(flagged(batch([(None, b"x", [], 0)]), 4))
    struct.pack_into(">i", raw, _LAST_DELTA, 2**31 - 1)
    found = take_apart(TOPIC, PARTITION, bytes(raw), 0)
    assert found is not None
    assert len(found.items) == UNREADABLE_MAX == found.next_offset


def test_a_torn_record_takes_those_behind_it_along() -> None:
    raw = bytearray(batch([(None, b"x", [], 0), (None, b"y", [], 0)], 5))
    raw[_HEAD_END] = 0xFE  # the first record's length, beyond the end
    found = take_apart(TOPIC, PARTITION, bytes(raw), 5)
    assert found is not None
    assert [(one.offset, isinstance(one, Broken)) for one in found.items] == [(5, True), (6, True)]
    assert found.next_offset == 7


@given(st.lists(parts, min_size=1, max_size=3), st.data())
def test_nothing_that_is_spoilt_makes_it_raise(records: list[Parts], data: st.DataObject) -> None:
    raw = bytearray(batch(records))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(_HEAD_END, len(raw) - 1))] = data.draw(st.integers(0, 255))
    found = take_apart(TOPIC, PARTITION, bytes(raw), 0)
    assert found is not None
    assert found.next_offset == len(records)


@given(st.binary(max_size=200))
def test_nor_does_anything_that_is_no_batch(raw: bytes) -> None:
    take_apart(TOPIC, PARTITION, raw, 0)
