"""What a stage cannot handle is kept with its bytes; a job among it ends, and only a real one."""

from typing import get_args

import pytest

from broker.errors import DatabaseUnavailable, KafkaUnavailable, Oversized
from broker.records import Inner, Outgoing, Sealer
from schemas import headers, topics
from schemas.dead_letter import DeadLetter
from schemas.outcomes import Dead, StageName
from schemas.reasons import Failure
from schemas.topics import Coordinate, Lane
from tests.unit.workers.memory import SEAL_KEY, MemoryProducer, Received, received, state, tools
from workers.engine.source import Unreadable
from workers.poison import Poison

SEALER = Sealer(SEAL_KEY)
TOPIC = topics.reserved(Lane.STANDARD)
STAGES = [stage for stage in get_args(StageName) if stage != "settle"]
SECRET = "the text of a prompt"


def sealed(offset: int = 4) -> Received:
    return received(SEALER.seal(TOPIC, state(), b"value"), 1, offset)


def note_of(record: Outgoing) -> DeadLetter:
    return DeadLetter.model_validate_json(dict(record.headers)[headers.DEAD_LETTER])


@pytest.fixture
def producer() -> MemoryProducer:
    return MemoryProducer()


@pytest.mark.parametrize("stage", STAGES)
async def test_a_job_s_letter_is_written_first_and_its_end_names_it(
    producer: MemoryProducer, stage: StageName
) -> None:
    await Poison(stage, tools(producer))(sealed(), ZeroDivisionError(SECRET))
    letter, outcome = producer.sent
    assert (letter.topic, outcome.topic) == (topics.DEAD, "outcomes.standard")
    assert SEALER.open(received(letter)).state == state()
    note = note_of(letter)
    assert (note.stage, note.reason, note.origin) == (stage, "internal_error", f"{TOPIC}/1/4")
    end = SEALER.open(received(outcome)).state.outcome
    assert isinstance(end, Dead)
    assert end.reason is Failure.INTERNAL_ERROR
    place = Coordinate.parse(end.dead_letter)
    assert (place.topic, place.offset) == (topics.DEAD, 0)
    assert end.dead_letter.encode() in outcome.value


async def test_a_forged_record_ends_nobody_s_job(producer: MemoryProducer) -> None:
    forged = sealed()._replace(topic=topics.admitted(Lane.STANDARD))
    await Poison("reserve", tools(producer))(forged, ZeroDivisionError(SECRET))
    [letter] = producer.sent
    assert (letter.topic, letter.value) == (topics.DEAD, b"value")
    assert headers.SEAL not in dict(letter.headers)
    assert (note_of(letter).reason, note_of(letter).detail) == ("internal_error", "ZeroDivisionError")


async def test_settle_keeps_a_job_s_outcome_and_makes_no_other(producer: MemoryProducer) -> None:
    await Poison("settle", tools(producer))(sealed(), ZeroDivisionError(SECRET))
    [letter] = producer.sent
    assert letter.topic == topics.DEAD


async def test_what_cannot_be_decoded_is_kept_raw(producer: MemoryProducer) -> None:
    await Poison("admit", tools(producer))(Unreadable("jobs.bulk", 2, 8, "UnicodeDecodeError", b"\xff"), None)
    [letter] = producer.sent
    assert (letter.topic, letter.value) == (topics.DEAD, b"\xff")
    note = note_of(letter)
    assert (note.reason, note.detail, note.origin) == ("undecodable", "UnicodeDecodeError", "jobs.bulk/2/8")


async def test_admit_tells_whose_job_an_unsealed_record_is(producer: MemoryProducer) -> None:
    inner = Inner(state(), b"v", b"\0" * 32)
    record = Received("jobs.bulk", b"v", (), 0, 3)
    await Poison("admit", tools(producer), lambda _: inner)(record, ZeroDivisionError())
    assert [each.topic for each in producer.sent] == [topics.DEAD, "outcomes.standard"]
    producer.sent.clear()
    await Poison("admit", tools(producer), lambda _: None)(record, ZeroDivisionError())
    assert [each.topic for each in producer.sent] == [topics.DEAD]


async def test_of_our_own_errors_the_stable_code_is_told(producer: MemoryProducer) -> None:
    forged = sealed()._replace(headers=())
    await Poison("retry", tools(producer))(forged, Oversized(SECRET))
    assert note_of(producer.sent[0]).detail == "record_too_large"


@pytest.mark.parametrize("record", [sealed(), sealed()._replace(headers=())], ids=["a job", "nobody's"])
async def test_an_error_s_text_goes_nowhere(producer: MemoryProducer, record: Received) -> None:
    await Poison("dispatch", tools(producer))(record, ValueError(SECRET))
    for sent in producer.sent:
        assert SECRET.encode() not in sent.value + b"".join(content for _, content in sent.headers)


@pytest.mark.parametrize("record", [sealed(), Unreadable(TOPIC, 0, 1, "UnicodeDecodeError")])
async def test_while_kafka_is_away_it_is_to_be_tried_again(
    producer: MemoryProducer, record: Received | Unreadable
) -> None:
    producer.away = True
    with pytest.raises(KafkaUnavailable):
        await Poison("dispatch", tools(producer))(record, ValueError())


async def test_a_stage_is_told_of_what_is_kept_and_only_then(producer: MemoryProducer) -> None:
    told: list[tuple[Coordinate, int]] = []

    async def pass_over(at: Coordinate) -> None:
        told.append((at, len(producer.sent)))

    await Poison("settle", tools(producer), pass_over=pass_over)(sealed(offset=6), ValueError())
    await Poison("settle", tools(producer), pass_over=pass_over)(Unreadable(TOPIC, 3, 7, "E"), None)
    assert told == [(Coordinate(TOPIC, 1, 6), 1), (Coordinate(TOPIC, 3, 7), 2)]


async def test_a_stage_that_cannot_note_it_has_it_tried_again(producer: MemoryProducer) -> None:
    async def pass_over(at: Coordinate) -> None:
        raise DatabaseUnavailable("away")

    with pytest.raises(DatabaseUnavailable):
        await Poison("settle", tools(producer), pass_over=pass_over)(sealed(), ValueError())
