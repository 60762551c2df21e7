"""The producer of a process: where records go, and what is said when they cannot."""

import asyncio

import pytest

from broker.errors import KafkaUnavailable, Oversized
from broker.kafka.cluster import NewTopicSpec, connect
from broker.kafka.producing import Producer
from broker.records import Outgoing, partition_of
from broker.settings import KafkaSettings
from schemas.topics import Coordinate
from tests.contracts.kafka.conftest import LEADERS_TIMEOUT_S, MakeTopic
from tests.services.server import free_port
from tests.stack.raw import read_all


async def test_each_record_is_placed_and_its_place_is_told(
    settings: KafkaSettings, make_topic: MakeTopic, producer: Producer
) -> None:
    topic = await make_topic(3)
    carried = [("one", b"1"), ("two", b""), ("one", b"again")]
    records = [
        Outgoing(topic, b"k%d" % number, b"v%d" % number, carried, partition=number % 3)
        for number in range(9)
    ]
    places = await producer.send_all(records)
    assert places == [Coordinate(topic, number % 3, number // 3) for number in range(9)]
    stored = {(one.partition, one.offset): one for one in await read_all(settings, topic)}
    for record, place in zip(records, places, strict=True):
        found = stored[place.partition, place.offset]
        assert (found.key, found.value, list(found.headers)) == (record.key, record.value, carried)


async def test_a_key_decides_on_the_partition_where_it_is_to(
    make_topic: MakeTopic, producer: Producer
) -> None:
    topic = await make_topic(3)
    keys = [bytes([number]) * 16 for number in range(20)]
    places = await producer.send_all([Outgoing(topic, key, b"", (), by_key=True) for key in keys])
    assert [place.partition for place in places] == [partition_of(key, 3) for key in keys]


async def test_nothing_to_send_is_sent(producer: Producer) -> None:
    assert await producer.send_all([]) == []


async def test_one_record_too_large_is_told_as_such(
    settings: KafkaSettings, make_topic: MakeTopic, producer: Producer
) -> None:
    topic = await make_topic(1)
    with pytest.raises(Oversized):
        await producer.send(Outgoing(topic, None, bytes(settings.inner_record_bytes_max + 1), ()))
    assert await producer.send(Outgoing(topic, None, b"fits", ())) == Coordinate(topic, 0, 0)


async def test_partitions_are_counted(make_topic: MakeTopic, producer: Producer) -> None:
    topic = await make_topic(3)
    assert await producer.partitions(topic) == 3
    assert await producer.partitions("nobody-made-this") is None


async def test_a_topic_made_a_moment_after_another_was_looked_up_is_found(
    make_topic: MakeTopic, producer: Producer
) -> None:
    assert await producer.partitions("nobody-made-this") is None
    topic = await make_topic(2)
    assert await producer.partitions(topic) == 2


async def test_many_who_ask_at_once_share_the_answer(make_topic: MakeTopic, producer: Producer) -> None:
    topic = await make_topic(2)
    asked = [producer.partitions(name) for name in (topic, "nobody-made-this", topic, "nor-this")]
    assert await asyncio.gather(*asked) == [2, None, 2, None]


async def test_a_key_for_a_topic_that_is_not_there_waits_for_it(producer: Producer) -> None:
    with pytest.raises(KafkaUnavailable):
        await producer.send(Outgoing("nobody-made-this", b"key", b"", (), by_key=True))


@pytest.mark.parametrize("settings", ["real"], indirect=True)
async def test_a_partition_that_was_added_can_be_sent_to(
    settings: KafkaSettings, make_topic: MakeTopic, producer: Producer
) -> None:
    """The embedded Kafka adds no partitions."""
    topic = await make_topic(1)
    await producer.send(Outgoing(topic, None, b"", (), partition=0))
    async with connect(settings) as cluster:
        await cluster.add_partitions(topic, 2)
        await cluster.wait_for_leaders({topic: 2}, LEADERS_TIMEOUT_S)
    assert await producer.partitions(topic, 2) == 2
    assert await producer.send(Outgoing(topic, None, b"", (), partition=1)) == Coordinate(topic, 1, 0)


@pytest.mark.parametrize("settings", ["real"], indirect=True)
async def test_what_the_topic_takes_is_less_than_what_we_send(
    settings: KafkaSettings, producer: Producer
) -> None:
    """The embedded Kafka knows no such limit."""
    topic = f"small-{free_port()}"
    async with connect(settings) as cluster:
        await cluster.create([NewTopicSpec(topic, 1, 1, {"max.message.bytes": "2000"})])
        await cluster.wait_for_leaders({topic: 1}, LEADERS_TIMEOUT_S)
    with pytest.raises(Oversized):
        await producer.send(Outgoing(topic, None, bytes(5_000), ()))


async def test_without_kafka_there_is_no_start(settings: KafkaSettings) -> None:
    nobody = settings.model_copy(update={"bootstrap_servers": f"127.0.0.1:{free_port()}"})
    producer = Producer(nobody)
    with pytest.raises(KafkaUnavailable, match="KafkaConnectionError"):
        await producer.start()
    await producer.stop()
