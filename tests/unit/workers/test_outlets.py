"""What leaves by the doors to `outcomes` and `dead`: a job under a seal, a stranger's record as it came."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import NotBelieved
from broker.records import Inner, Outgoing, Sealer
from schemas import headers, topics
from schemas.dead_letter import DeadLetter
from schemas.outcomes import Answered, Dead, Expired, Refused, Repeat
from schemas.reasons import Failure, Refusal
from schemas.state import State
from schemas.topics import Coordinate, Lane
from tests.unit.workers.memory import JOB, NOW_MS, SEAL_KEY, Received, charge, received, state
from workers.outlets import Outlets, coordinate, spent

SEALER = Sealer(SEAL_KEY)
OUTLETS = Outlets(SEALER, lambda: NOW_MS)
ORIGIN = Coordinate("reserved.standard", 2, 9)
COSTLY = state(charges=(charge(1, 0), charge(2, 30), charge(3, 12)))
NAMES = [headers.STATE, headers.SEAL, headers.DEAD_LETTER, headers.CORRELATION_ID, "x-other"]


def opened(record: Outgoing) -> Inner:
    return SEALER.open(received(record))


def told(record: Outgoing) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(record.value)
    return found


def note_of(record: Outgoing) -> DeadLetter:
    [note] = [content for name, content in record.headers if name == headers.DEAD_LETTER]
    return DeadLetter.model_validate_json(note)


def test_a_coordinate_names_where_a_record_stands() -> None:
    assert coordinate(Received("dead", b"", (), 4, 17)) == Coordinate("dead", 4, 17)


def test_what_all_attempts_cost_is_their_sum() -> None:
    assert spent(state()) == 0
    assert spent(COSTLY) == 42


# outcomes


@pytest.mark.parametrize("lane", Lane)
def test_an_outcome_goes_to_its_lane_by_the_job_s_own_partition(lane: Lane) -> None:
    record = OUTLETS.outcome(state(lane=lane), Repeat(), b"")
    assert (record.topic, record.key, record.by_key) == (topics.outcomes(lane), JOB.bytes, True)


def test_an_outcome_is_the_same_state_with_an_end_and_without_what_the_call_was_made_by() -> None:
    before = state()
    assert before.estimate is not None
    inner = opened(OUTLETS.outcome(before, Expired(stage="retry"), b"{}"))
    assert inner.state == before.model_copy(
        update={"outcome": Expired(stage="retry"), "estimate": None, "overrides": {}}
    )
    assert inner.value == b"{}"


def test_an_outcome_names_the_hold_of_an_attempt_once() -> None:
    charged, unused = charge(1, 70), charge(2, 80).hold.model_copy(update={"id": "unused"})
    ended = opened(OUTLETS.outcome(state(hold=charged.hold, charges=(charged,)), Expired(stage="retry"), b""))
    assert (ended.state.hold, ended.state.charges) == (None, (charged,))
    ended = opened(OUTLETS.outcome(state(hold=unused, charges=(charged,)), Expired(stage="retry"), b""))
    assert ended.state.hold == unused


def test_an_answer_carries_the_provider_s_bytes_and_what_all_attempts_cost() -> None:
    outcome = Answered(model="m-1", request_sha256="a" * 64, response_sha256="b" * 64)
    record = OUTLETS.answered(COSTLY, outcome, b'{"choices":[1.50]}', 200)
    assert b'{"choices":[1.50]}' in record.value
    assert opened(record).state.outcome == outcome
    assert told(record) == {
        "version": 1,
        "job_id": str(JOB),
        "run": 1,
        "status": "answered",
        "attempts": 3,
        "model": "m-1",
        "status_code": 200,
        "response": {"choices": [1.5]},
        "cost_nanodollars": 42,
    }


def test_a_refusal_names_stage_reason_and_parameter() -> None:
    record = OUTLETS.refused(
        COSTLY, "dispatch", Refusal.PROVIDER_REFUSED, "bad_param", "temperature", status_code=400
    )
    assert opened(record).state.outcome == Refused(reason=Refusal.PROVIDER_REFUSED, stage="dispatch")
    reply = told(record)
    assert reply["error"] == {"code": "provider_refused", "message": "bad_param", "param": "temperature"}
    assert (reply["status"], reply["status_code"], reply["cost_nanodollars"]) == ("refused", 400, 42)


def test_a_late_job_is_told_what_it_cost() -> None:
    record = OUTLETS.expired(COSTLY, "reserve")
    assert opened(record).state.outcome == Expired(stage="reserve")
    reply = told(record)
    assert (reply["status"], reply["error"]["code"], reply["cost_nanodollars"]) == ("expired", "expired", 42)


def test_a_dead_job_s_reply_names_its_letter() -> None:
    outcome = Dead(reason=Failure.TIMEOUT, dead_letter="dead/0/3")
    record = OUTLETS.failed(COSTLY, outcome, "dead", "timeout", "dead/0/3")
    assert opened(record).state.outcome == outcome
    reply = told(record)
    assert (reply["status"], reply["error"]["code"], reply["dead_letter"]) == ("dead", "timeout", "dead/0/3")
    assert reply["cost_nanodollars"] == 42


@given(st.binary(max_size=200))
def test_what_goes_on_keeps_its_value_under_the_new_state(value: bytes) -> None:
    record = OUTLETS.onward(topics.admitted(Lane.BULK), inner_of(value), state(attempt=2))
    assert (record.topic, record.by_key) == ("admitted.bulk", False)
    after = opened(record)
    assert (after.value, after.state) == (value, state(attempt=2))


def inner_of(value: bytes, of: State | None = None) -> Inner:
    return opened(SEALER.seal(topics.reserved(Lane.STANDARD), of or state(), value))


# dead letters


def test_a_dead_job_is_sealed_beside_its_note() -> None:
    record = OUTLETS.dead_job(inner_of(b"prompt", COSTLY), "dispatch", "timeout", ORIGIN)
    assert record.topic == topics.DEAD
    assert opened(record) == inner_of(b"prompt", COSTLY)
    assert note_of(record) == DeadLetter(
        stage="dispatch", reason="timeout", origin=str(ORIGIN), at_ms=NOW_MS, detail=None
    )


def test_an_unreadable_record_is_its_bytes_and_a_note() -> None:
    record = OUTLETS.unreadable(ORIGIN, "settle", "UnicodeDecodeError", b"\xff\x00")
    assert (record.topic, record.key, record.value) == (topics.DEAD, None, b"\xff\x00")
    note = note_of(record)
    assert (note.reason, note.detail, note.origin) == ("undecodable", "UnicodeDecodeError", str(ORIGIN))


carried = st.lists(st.tuples(st.sampled_from(NAMES), st.none() | st.binary(max_size=9)), max_size=60)


@given(carried, st.none() | st.binary(max_size=40), st.none() | st.binary(max_size=16))
def test_a_record_of_nobody_s_passes_for_no_job_s(
    pairs: list[tuple[str, bytes | None]], value: bytes | None, key: bytes | None
) -> None:
    stranger = Received("jobs.bulk", value, tuple(pairs), 1, 5, key=key)
    record = OUTLETS.dead_record(stranger, "admit", "bad_signature")
    assert (record.topic, record.key, record.value) == (topics.DEAD, key, value or b"")
    names = [name for name, _ in record.headers]
    assert names.count(headers.DEAD_LETTER) == 1
    assert not {headers.STATE, headers.SEAL} & set(names)
    assert len(names) <= headers.HEADERS_MAX + 1
    assert note_of(record).origin == "jobs.bulk/1/5"
    with pytest.raises(NotBelieved):
        opened(record)


def test_a_record_of_nobody_s_keeps_its_own_headers() -> None:
    stranger = Received("jobs.bulk", b"v", (("a", b"1"), (headers.REPLY_TO, b"replies.x"), ("a", b"2")))
    record = OUTLETS.dead_record(stranger, "admit", "header_duplicate", "detail")
    assert list(record.headers[:3]) == [("a", b"1"), (headers.REPLY_TO, b"replies.x"), ("a", b"2")]
    assert note_of(record).detail == "detail"


def test_of_too_many_headers_the_first_are_kept_and_none_is_without_a_value() -> None:
    many = tuple((f"x{number}", None) for number in range(headers.HEADERS_MAX + 8))
    record = OUTLETS.dead_record(Received("jobs.bulk", b"v", many), "admit", "headers_too_many")
    assert [pair for pair in record.headers if pair[0] != headers.DEAD_LETTER] == [
        (name, b"") for name, _ in many[: headers.HEADERS_MAX]
    ]


def test_a_sealed_dead_letter_copied_by_a_stranger_is_none() -> None:
    """A genuine seal, sent by somebody else to a topic of theirs, is not kept beside the bytes."""
    genuine = OUTLETS.dead_job(inner_of(b"prompt"), "dispatch", "timeout", ORIGIN)
    copied = received(genuine)._replace(topic="jobs.bulk")
    with pytest.raises(NotBelieved):
        opened(OUTLETS.dead_record(copied, "admit", "header_missing"))
