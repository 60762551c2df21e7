"""One member of a consumer group: what it reads, what it passes over, what it commits."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka.errors import KafkaError
from confluent_kafka import Producer as ConfluentProducer

from broker.errors import KafkaUnavailable
from broker.kafka import consuming
from broker.kafka.consuming import Batch, GroupSource, Place, Unread, stream_broker
from broker.kafka.producing import Producer
from broker.records import Outgoing
from broker.settings import KafkaSettings
from tests.contracts.kafka.conftest import MakeTopic
from tests.services.server import free_port
from tests.stack.batches import BAD_KEY, send_batch
from tests.stack.waiting import DEADLINE_S, until

WAIT_MS = 200
MINUTE_MS = 60_000
EMPTY_ROUNDS_MAX = 150


class Owner:
    def __init__(self) -> None:
        self.places: set[Place] = set()
        self.revocations = 0

    async def assigned(self, partitions: Collection[Place]) -> None:
        self.places |= set(partitions)

    async def revoked(self, partitions: Collection[Place]) -> None:
        self.places -= set(partitions)
        self.revocations += 1


class Member:
    """A source together with what it was assigned."""

    def __init__(self, source: GroupSource, owner: Owner) -> None:
        self.source = source
        self.owner = owner
        self.alarms: list[str] = []

    async def owns(self, *places: Place) -> None:
        async def has_them() -> bool:
            return self.owner.places == set(places)

        await until(has_them, f"{places} to be assigned")

    async def read(self, place: Place, number: int) -> list[bytes | Unread]:
        """So many records in order: values, and those that could not be decoded."""
        found: list[bytes | Unread] = []
        for _ in range(EMPTY_ROUNDS_MAX):
            batch = await self.source.fetch(place, 100, WAIT_MS)
            found += _contents(batch)
            if len(found) >= number:
                return found
        raise AssertionError(f"{number} records of {place} were not to be had; these were: {found}")


def _contents(batch: Batch) -> list[bytes | Unread]:
    values: list[bytes | Unread] = [record.value or b"" for record in batch.records]
    return values if batch.unreadable is None else [*values, batch.unreadable]


@pytest.fixture
def group() -> str:
    return f"group-{uuid.uuid4().hex[:12]}"


@asynccontextmanager
async def member(
    settings: KafkaSettings, group: str, *topics: str, pattern: str | None = None
) -> AsyncIterator[Member]:
    broker = stream_broker(settings)
    await broker.start()
    alarms: list[str] = []
    source = GroupSource(
        broker, settings, group, *topics, pattern=pattern, on_alarm=lambda code, _place: alarms.append(code)
    )
    joined = Member(source, Owner())
    joined.alarms = alarms
    await source.start(joined.owner)
    try:
        yield joined
    finally:
        await source.stop()
        await broker.stop()


async def send(producer: Producer, topic: str, *values: bytes, partition: int = 0) -> None:
    await producer.send_all([Outgoing(topic, None, value, (), partition=partition) for value in values])


async def test_records_come_in_order_and_go_on_from_what_was_committed(
    settings: KafkaSettings, make_topic: MakeTopic, producer: Producer, group: str
) -> None:
    topic = await make_topic(1)
    place = Place(topic, 0)
    await send(producer, topic, b"0", b"1", b"2")
    async with member(settings, group, topic) as first:
        await first.owns(place)
        assert await first.read(place, 3) == [b"0", b"1", b"2"]
        await first.source.commit({place: 2})
    async with member(settings, group, topic) as second:
        await second.owns(place)
        assert await second.read(place, 1) == [b"2"]


async def test_no_more_come_than_were_asked_for(
    settings: KafkaSettings, make_topic: MakeTopic, producer: Producer, group: str
) -> None:
    topic = await make_topic(1)
    place = Place(topic, 0)
    await send(producer, topic, *(b"%d" % number for number in range(10)))
    async with member(settings, group, topic) as joined:
        await joined.owns(place)
        await joined.read(place, 0)
        sizes: list[int] = []
        while sum(sizes) < 10:
            sizes.append(len((await joined.source.fetch(place, 3, WAIT_MS)).records))
    assert max(sizes) <= 3


async def test_an_empty_partition_gives_nothing_and_others_are_left_alone(
    settings: KafkaSettings, make_topic: MakeTopic, producer: Producer, group: str
) -> None:
    topic = await make_topic(2)
    empty, full = Place(topic, 0), Place(topic, 1)
    await send(producer, topic, b"x", partition=1)
    async with member(settings, group, topic) as joined:
        await joined.owns(empty, full)
        for _ in range(3):
            assert _contents(await joined.source.fetch(empty, 10, WAIT_MS)) == []
        assert await joined.read(full, 1) == [b"x"]
        assert joined.source.end(full) == 1


async def test_records_that_nobody_took_for_long_are_no_silence_of_their_leader(
    settings: KafkaSettings,
    make_topic: MakeTopic,
    producer: Producer,
    group: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The leader is not asked while they lie in the client. From then on it is to answer."""
    topic = await make_topic(1)
    place = Place(topic, 0)
    late_ms = 0
    now_ms = consuming._now_ms
    monkeypatch.setattr(consuming, "_now_ms", lambda: now_ms() + late_ms)
    await send(producer, topic, b"x")
    async with member(settings, group, topic) as joined:
        await joined.owns(place)
        await joined.read(place, 0)
        late_ms = MINUTE_MS
        assert await joined.read(place, 1) == [b"x"]
        assert _contents(await joined.source.fetch(place, 10, WAIT_MS)) == []
        late_ms = 2 * MINUTE_MS
        with pytest.raises(KafkaUnavailable):
            await joined.source.fetch(place, 10, WAIT_MS)


async def test_who_waits_for_records_is_told_when_the_source_stops(
    settings: KafkaSettings, make_topic: MakeTopic, producer: Producer, group: str
) -> None:
    topic = await make_topic(1)
    place = Place(topic, 0)
    has_read = asyncio.Event()

    async def read_on(source: GroupSource) -> None:
        while True:
            if (await source.fetch(place, 10, 10 * MINUTE_MS)).records:
                has_read.set()

    await send(producer, topic, b"x")
    async with member(settings, group, topic) as joined:
        await joined.owns(place)
        reading = asyncio.create_task(read_on(joined.source))
        await asyncio.wait_for(has_read.wait(), DEADLINE_S)
    with pytest.raises(KafkaUnavailable):
        await asyncio.wait_for(reading, DEADLINE_S)


async def test_a_header_key_that_is_not_utf8_costs_its_own_record_alone(
    settings: KafkaSettings, make_topic: MakeTopic, producer: Producer, group: str
) -> None:
    """The records before and behind it are in the same batch."""
    topic = await make_topic(1)
    place = Place(topic, 0)
    await send(producer, topic, b"before")
    good = [("trace", b"1"), ("empty", None)]
    await send_batch(
        settings,
        topic,
        [
            (None, b"one", good),
            (b"k", b"bad", [(BAD_KEY, b"v")]),
            (b"k", b"two", good),
            (None, b"bad too", [("fine", b""), (BAD_KEY, b"")]),
            (b"k", None, []),
            (None, b"three", good),
        ],
    )
    await send(producer, topic, b"behind")
    async with member(settings, group, topic) as joined:
        await joined.owns(place)
        found = await joined.read(place, 8)
    errors = [item for item in found if isinstance(item, Unread)]
    assert [(error.topic, error.partition, error.offset) for error in errors] == [
        (topic, 0, 2),
        (topic, 0, 4),
    ]
    assert [item for item in found if isinstance(item, bytes)] == [
        b"before",
        b"one",
        b"two",
        b"",
        b"three",
        b"behind",
    ]


async def test_what_is_behind_a_bad_record_is_as_it_was_sent(
    settings: KafkaSettings, make_topic: MakeTopic, group: str
) -> None:
    topic = await make_topic(1)
    place = Place(topic, 0)
    carried = [("a", b"1"), ("a", None), ("ü", b"\xff")]
    await send_batch(settings, topic, [(None, b"bad", [(BAD_KEY, b"")]), (b"key", b"value", carried)])
    async with member(settings, group, topic) as joined:
        await joined.owns(place)

        async def first() -> Any:
            return (await joined.source.fetch(place, 10, WAIT_MS)).records

        [record] = await until(first, "a record")
    assert (record.topic, record.partition, record.offset) == (topic, 0, 1)
    assert (record.key, record.value, list(record.headers)) == (b"key", b"value", carried)
    assert record.timestamp > 0
    assert record.timestamp_type in (0, 1)


async def test_a_member_that_begins_behind_a_bad_record_reads_on(
    settings: KafkaSettings, make_topic: MakeTopic, producer: Producer, group: str
) -> None:
    """As after a restart between two records of one batch."""
    topic = await make_topic(1)
    place = Place(topic, 0)
    await send_batch(
        settings, topic, [(None, b"bad", [(BAD_KEY, b"")]), (None, b"good", []), (None, b"end", [])]
    )
    async with member(settings, group, topic) as first:
        await first.owns(place)
        await first.read(place, 1)
        await first.source.commit({place: 2})
    async with member(settings, group, topic) as second:
        await second.owns(place)
        assert await second.read(place, 1) == [b"end"]


def compressed(settings: KafkaSettings, topic: str, codec: str, *values: bytes) -> None:
    """By another client library, in one batch."""
    sender = ConfluentProducer(
        {"bootstrap.servers": settings.bootstrap_servers, "compression.type": codec, "linger.ms": 200}
    )
    for value in values:
        sender.produce(topic, value=value * 200, partition=0)
    assert sender.flush(30) == 0


@pytest.mark.parametrize("codec", ["zstd", "lz4", "snappy"])
async def test_a_batch_in_a_compression_that_cannot_be_read_is_passed_over(
    settings: KafkaSettings, make_topic: MakeTopic, producer: Producer, group: str, codec: str
) -> None:
    topic = await make_topic(1)
    place = Place(topic, 0)
    await send(producer, topic, b"before")
    compressed(settings, topic, codec, b"one", b"two", b"three")
    await send(producer, topic, b"behind")
    async with member(settings, group, topic) as joined:
        await joined.owns(place)
        before, *lost, behind = await joined.read(place, 5)
    assert (before, behind) == (b"before", b"behind")
    assert [item.offset for item in lost if isinstance(item, Unread)] == [1, 2, 3]


@pytest.mark.parametrize("settings", ["embedded"], indirect=True)
@pytest.mark.parametrize("codec", [1, 4])
async def test_garbage_that_claims_to_be_compressed_is_passed_over(
    settings: KafkaSettings, make_topic: MakeTopic, producer: Producer, group: str, codec: int
) -> None:
    topic = await make_topic(1)
    place = Place(topic, 0)
    await send(producer, topic, b"before")
    await send_batch(settings, topic, [(None, b"x" * 100, [])] * 2, codec=codec)
    await send(producer, topic, b"behind")
    async with member(settings, group, topic) as joined:
        await joined.owns(place)
        before, *lost, behind = await joined.read(place, 4)
    assert (before, behind) == (b"before", b"behind")
    assert [item.offset for item in lost if isinstance(item, Unread)] == [1, 2]


@pytest.mark.parametrize("settings", ["real"], indirect=True)
@pytest.mark.parametrize("codec", [1, 2, 3, 4, 5, 7])
async def test_a_real_kafka_stores_no_garbage(
    settings: KafkaSettings, make_topic: MakeTopic, codec: int
) -> None:
    topic = await make_topic(1)
    with pytest.raises(KafkaError):
        await send_batch(settings, topic, [(None, b"x" * 100, [])] * 2, codec=codec)


async def test_members_share_the_partitions(
    settings: KafkaSettings, make_topic: MakeTopic, group: str
) -> None:
    topic = await make_topic(2)
    async with member(settings, group, topic) as first:
        await first.owns(Place(topic, 0), Place(topic, 1))
        async with member(settings, group, topic) as second:

            async def shared() -> bool:
                return len(first.owner.places) == len(second.owner.places) == 1

            await until(shared, "each member to have a partition")
            assert first.owner.places.isdisjoint(second.owner.places)
            [lost] = second.owner.places
            with pytest.raises(KafkaUnavailable):
                await first.source.commit({lost: 0})
        await first.owns(Place(topic, 0), Place(topic, 1))


async def test_a_pattern_takes_the_topics_that_fit(
    settings: KafkaSettings, make_topic: MakeTopic, producer: Producer, group: str
) -> None:
    topic, _other = await make_topic(1), await make_topic(1)
    async with member(settings, group, pattern=f"^{topic}$") as joined:
        await joined.owns(Place(topic, 0))


async def test_without_kafka_there_is_no_start(settings: KafkaSettings, group: str) -> None:
    nobody = settings.model_copy(update={"bootstrap_servers": f"127.0.0.1:{free_port()}"})
    broker = stream_broker(nobody)
    await broker.start()
    source = GroupSource(broker, nobody, group, "topic")
    with pytest.raises(KafkaUnavailable):
        await source.start(Owner())
    await source.stop()
    await broker.stop()
