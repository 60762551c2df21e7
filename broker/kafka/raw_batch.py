"""A batch of records as it lies in the log, taken apart record by record. Pure.

For what aiokafka cannot read: it decodes header keys as strict UTF-8 on its way through a batch, so one bad
record hides all that follow it. The format: KIP-98, and
https://kafka.apache.org/41/implementation/message-format/
"""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple, TypeAlias

from aiokafka import ConsumerRecord

_HEAD: Final = struct.Struct(">qiibIhiqqqhii")
"""Base offset, length, leader epoch, magic, checksum, attributes, last offset delta, first and greatest
timestamp, producer id and epoch, base sequence, number of records."""
_LENGTH_END: Final = 12
_MAGIC: Final = 2
_CODEC_MASK: Final = 0x07
_APPEND_TIME_MASK: Final = 0x08
_CONTROL_MASK: Final = 0x20
_VARINT_BYTES_MAX: Final = 10
UNREADABLE_MAX: Final = 10_000
"""Offsets of one batch that are given up at once, whatever its head claims."""

Record: TypeAlias = ConsumerRecord[bytes, bytes]


class Broken(NamedTuple):
    """A record that cannot be decoded."""

    offset: int
    error: str
    raw: bytes
    """As it lies in the log, as far as that can be told."""


class Parts(NamedTuple):
    """What a batch holds from an offset on, in order. After it comes `next_offset`."""

    items: tuple[Record | Broken, ...]
    next_offset: int


class _Head(NamedTuple):
    base_offset: int
    magic: int
    attributes: int
    last_offset: int
    first_timestamp: int
    max_timestamp: int
    records: int
    end: int
    """Where the batch ends in the bytes that it was found in."""


def take_apart(topic: str, partition: int, raw: bytes, offset: int) -> Parts | None:
    """The batch that holds `offset`, from there on; None where `raw` holds no such batch, or not all of it.

    Where records cannot be told apart (compressed, of an older format, torn) each offset is Broken.
    """
    start = 0
    while (head := _head(raw, start)) is not None:
        if head.last_offset >= offset:
            return _parts(topic, partition, head, raw[start : head.end], offset)
        start = head.end
    return None


def _head(raw: bytes, start: int) -> _Head | None:
    if len(raw) - start < _HEAD.size:
        return None
    base, length, _, magic, _, attributes, delta, first, greatest, *_, records = _HEAD.unpack_from(raw, start)
    end = start + _LENGTH_END + length
    if length < _HEAD.size - _LENGTH_END or end > len(raw):
        return None
    return _Head(base, magic, attributes, base + max(0, delta), first, greatest, records, end)


def _parts(topic: str, partition: int, head: _Head, batch: bytes, offset: int) -> Parts:
    if head.attributes & _CONTROL_MASK:
        return Parts((), head.last_offset + 1)
    if head.magic != _MAGIC or head.attributes & _CODEC_MASK:
        return _given_up(head.base_offset, head, batch, offset)
    items: list[Record | Broken] = []
    reader = _Reader(batch, _HEAD.size)
    for number in range(head.records):
        expected = head.base_offset + number
        try:
            content = reader.take(reader.varint())
        except ValueError:
            rest = _given_up(expected, head, batch[reader.position :], offset)
            return Parts((*items, *rest.items), rest.next_offset)
        items.append(_record(topic, partition, head, content, expected))
    return Parts(tuple(item for item in items if item.offset >= offset), head.last_offset + 1)


def _given_up(first: int, head: _Head, raw: bytes, offset: int) -> Parts:
    begin = max(first, offset)
    end = min(head.last_offset + 1, begin + UNREADABLE_MAX)
    codec = head.attributes & _CODEC_MASK
    error = f"codec {codec}" if codec else "torn batch"
    # The bytes are those of the whole batch, so they are kept once.
    return Parts(tuple(Broken(at, error, raw if at == begin else b"") for at in range(begin, end)), end)


def _record(topic: str, partition: int, head: _Head, content: bytes, expected: int) -> Record | Broken:
    try:
        reader = _Reader(content, 1)
        timestamp = head.first_timestamp + reader.varint()
        offset = head.base_offset + reader.varint()
        key, value = reader.sized(), reader.sized()
        headers = tuple(reader.headers())
        reader.check_end()
    except ValueError as error:
        return Broken(expected, type(error).__name__, content)
    is_appended = bool(head.attributes & _APPEND_TIME_MASK)
    return ConsumerRecord(
        topic,
        partition,
        offset,
        head.max_timestamp if is_appended else timestamp,
        int(is_appended),
        key,
        value,
        None,
        -1 if key is None else len(key),
        -1 if value is None else len(value),
        headers,
    )


class _Reader:
    """Every method raises ValueError where the bytes are not what they should be."""

    def __init__(self, raw: bytes, position: int) -> None:
        self._raw = raw
        self.position = position

    def take(self, length: int) -> bytes:
        end = self.position + length
        if length < 0 or end > len(self._raw):
            raise ValueError("a length goes beyond the end")
        taken = self._raw[self.position : end]
        self.position = end
        return taken

    def varint(self) -> int:
        """Zigzag, seven bits a byte, least first."""
        number = 0
        for shift in range(0, 7 * _VARINT_BYTES_MAX, 7):
            byte = self.take(1)[0]
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return (number >> 1) ^ -(number & 1)
        raise ValueError("a number has no end")

    def sized(self) -> bytes | None:
        length = self.varint()
        return None if length == -1 else self.take(length)

    def headers(self) -> Iterator[tuple[str, bytes | None]]:
        for _ in range(self.varint()):
            key = self.take(self.varint()).decode()
            yield key, self.sized()

    def check_end(self) -> None:
        if self.position != len(self._raw):
            raise ValueError("bytes are left over")
