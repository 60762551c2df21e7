"""Record batches made by hand, such as no honest client library would send.

The format: https://kafka.apache.org/41/implementation/message-format/
"""

from collections.abc import Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.record.util import calc_crc32c

from broker.kafka.connection import client_options
from broker.settings import KafkaSettings
from schemas.topics import Coordinate

Headers = Sequence[tuple[str, bytes | None]]
Parts = tuple[bytes | None, bytes | None, Headers]
"""Key, value, headers."""

BAD_KEY = "~not~utf~8~"
"""A header key that is put on the wire as bytes that are no UTF-8."""
_BAD_BYTES = b"\xff" * len(BAD_KEY)
_CRC, _ATTRIBUTES, _RECORDS = slice(17, 21), slice(21, 23), 61


async def send_batch(
    kafka: KafkaSettings, topic: str, records: Sequence[Parts], *, partition: int = 0, codec: int = 0
) -> list[Coordinate]:
    """All records in one batch. With a codec other than 0 their bytes are garbage, under the right checksum.

    Raises a KafkaError where the broker will not have it.
    """
    producer = AIOKafkaProducer(
        **client_options(kafka), acks="all", max_request_size=kafka.inner_record_bytes_max
    )
    await producer.start()
    try:
        batch = producer.create_batch()
        for key, value, headers in records:
            batch.append(timestamp=None, key=key, value=value, headers=list(headers))
        batch.close()
        batch._buffer = _spoilt(batch._build(), codec)
        sent = await (await producer.send_batch(batch, topic, partition=partition))
    finally:
        await producer.stop()
    return [Coordinate(topic, partition, sent.offset + number) for number in range(len(records))]


def _spoilt(built: bytes, codec: int) -> bytes:
    raw = bytearray(built.replace(BAD_KEY.encode(), _BAD_BYTES))
    if codec:
        raw[_ATTRIBUTES] = codec.to_bytes(2, "big")
        raw[_RECORDS:] = b"\x1f\x8b" + bytes(len(raw) - _RECORDS - 2)
    raw[_CRC] = calc_crc32c(bytes(raw[_ATTRIBUTES.start :])).to_bytes(4, "big")
    return bytes(raw)
