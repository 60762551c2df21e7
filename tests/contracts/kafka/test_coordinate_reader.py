"""Single records, read again by their coordinates."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from broker.errors import KafkaUnavailable
from broker.kafka.producing import Producer
from broker.kafka.reading import CoordinateReader
from broker.records import Outgoing
from broker.settings import KafkaSettings
from schemas.topics import Coordinate
from tests.contracts.kafka.conftest import MakeTopic
from tests.services.server import free_port
from tests.stack.batches import BAD_KEY, send_batch


@pytest_asyncio.fixture
async def reader(settings: KafkaSettings) -> AsyncIterator[CoordinateReader]:
    made = CoordinateReader(settings)
    await made.start()
    yield made
    await made.stop()


async def fill(producer: Producer, topic: str, number: int, partition: int = 0) -> list[Coordinate]:
    return await producer.send_all(
        [Outgoing(topic, None, b"%d" % value, (), partition=partition) for value in range(number)]
    )


async def test_near_and_far_ones_are_found_in_whatever_order(
    make_topic: MakeTopic, producer: Producer, reader: CoordinateReader
) -> None:
    topic = await make_topic(1)
    places = await fill(producer, topic, 1_300)
    wanted = [places[number] for number in (1_299, 3, 0, 700, 701, 3)]
    found = await reader.read(wanted)
    assert {place.offset: record.value for place, record in found.items()} == {
        number: b"%d" % number for number in (0, 3, 700, 701, 1_299)
    }


async def test_several_partitions_and_topics_are_read_in_one_call(
    make_topic: MakeTopic, producer: Producer, reader: CoordinateReader
) -> None:
    one, two = await make_topic(2), await make_topic(1)
    places = [
        *(await fill(producer, one, 2, 0)),
        *(await fill(producer, one, 2, 1)),
        *(await fill(producer, two, 1)),
    ]
    assert (await reader.read(places)).keys() == set(places)


async def test_what_is_not_there_is_left_out(
    make_topic: MakeTopic, producer: Producer, reader: CoordinateReader
) -> None:
    topic = await make_topic(1)
    [place] = await fill(producer, topic, 1)
    beyond = Coordinate(topic, 0, 17)
    assert (await reader.read([place, beyond])).keys() == {place}
    assert await reader.read([]) == {}


async def test_the_end_is_where_the_next_record_goes(
    make_topic: MakeTopic, producer: Producer, reader: CoordinateReader
) -> None:
    topic = await make_topic(1)
    assert await reader.end(topic, 0) == 0
    await fill(producer, topic, 3)
    assert await reader.end(topic, 0) == 3


async def test_callers_at_the_same_time_take_turns(
    make_topic: MakeTopic, producer: Producer, reader: CoordinateReader
) -> None:
    topic = await make_topic(2)
    left, right = await fill(producer, topic, 5, 0), await fill(producer, topic, 5, 1)
    reads = asyncio.gather(*(reader.read([place]) for place in (*left, *right)))
    found, end = await asyncio.gather(reads, reader.end(topic, 1))
    assert [list(one) for one in found] == [[place] for place in (*left, *right)]
    assert end == 5


async def test_a_record_that_cannot_be_decoded_hides_none_of_its_neighbours(
    settings: KafkaSettings, make_topic: MakeTopic, producer: Producer, reader: CoordinateReader
) -> None:
    topic = await make_topic(1)
    [before] = await fill(producer, topic, 1)
    bad, same_batch = await send_batch(
        settings, topic, [(None, b"bad", [(BAD_KEY, b"")]), (None, b"in its batch", [])]
    )
    [behind] = await fill(producer, topic, 1)
    found = await reader.read([before, bad, same_batch, behind])
    assert found.keys() == {before, same_batch, behind}
    assert found[same_batch].value == b"in its batch"


async def test_without_kafka_there_is_no_start(settings: KafkaSettings) -> None:
    nobody = settings.model_copy(update={"bootstrap_servers": f"127.0.0.1:{free_port()}"})
    reader = CoordinateReader(nobody)
    with pytest.raises(KafkaUnavailable, match="no Kafka at"):
        await reader.start()
    await reader.stop()
