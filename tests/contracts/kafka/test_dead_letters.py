"""Dead letters read back for an operator: the newest of all partitions, and one with its bytes."""

import pytest
import pytest_asyncio

from broker.errors import NotFound
from broker.kafka import topics
from broker.kafka.producing import Producer
from broker.ops.dead_letters import latest, read
from broker.records import Outgoing
from broker.settings import KafkaSettings
from schemas.dead_letter import DeadLetter
from schemas.topics import DEAD, Coordinate
from tests.stack.batches import BAD_KEY, send_batch


@pytest_asyncio.fixture(autouse=True)
async def all_topics(settings: KafkaSettings) -> None:
    await topics.apply(settings, [])


def _letter(number: int, partition: int) -> Outgoing:
    note = DeadLetter(stage="admit", reason=f"reason-{number}", origin="jobs.bulk/0/0", at_ms=number)
    headers = [("hw-dead-letter", note.model_dump_json().encode())]
    return Outgoing(DEAD, None, b"prompt %d" % number, headers, partition=partition)


async def _die(producer: Producer, numbers: range) -> list[Coordinate]:
    return await producer.send_all([_letter(number, number % 3) for number in numbers])


async def test_the_newest_of_all_partitions_come_first(settings: KafkaSettings, producer: Producer) -> None:
    places = await _die(producer, range(8))
    found = await latest(settings, 1_000)
    assert {letter.coordinate for letter in found} >= set(places)
    assert [letter.at_ms for letter in found] == sorted((letter.at_ms for letter in found), reverse=True)
    assert await latest(settings, 5) == found[:5]


async def test_one_is_read_with_its_bytes(settings: KafkaSettings, producer: Producer) -> None:
    place, _ = await _die(producer, range(2))
    letter, value = await read(settings, place)
    assert (letter.coordinate, letter.reason, value) == (place, "reason-0", b"prompt 0")


async def test_what_cannot_be_decoded_hides_no_other(settings: KafkaSettings, producer: Producer) -> None:
    [before] = await _die(producer, range(1))
    [bad] = await send_batch(settings, DEAD, [(None, b"bad", [(BAD_KEY, b"")])])
    [after] = await _die(producer, range(1))
    found = {letter.coordinate for letter in await latest(settings, 10)}
    assert {before, after} <= found
    assert bad not in found


@pytest.mark.parametrize(
    "place",
    [
        Coordinate(DEAD, 0, 10**9),
        Coordinate(DEAD, 10**6, 0),
        Coordinate("jobs.bulk", 0, 0),
        Coordinate(DEAD, 0, -1),
    ],
)
async def test_one_that_is_not_there(settings: KafkaSettings, place: Coordinate) -> None:
    with pytest.raises(NotFound, match="no dead letter"):
        await read(settings, place)
