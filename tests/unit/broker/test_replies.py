"""The bytes of replies are what readers are told that they are."""

from typing import Any, get_args

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.replies import WORDING, answer, expired_result, failure
from schemas.reasons import Failure, Notice, Refusal
from schemas.reply import Reply, ReplyError, Status
from schemas.state import State
from tests.unit.workers.memory import JOB, charge, state

CODES = [*Refusal, *Failure, *Notice]
FAILED = [status for status in get_args(Status) if status != "answered"]


def read(value: bytes) -> Reply:
    """As a reader does that knows of no other field."""
    told = orjson.loads(value)
    assert told.keys() <= Reply.model_fields.keys()
    assert (told.get("error") or {}).keys() <= ReplyError.model_fields.keys()
    return Reply.model_validate_json(value)


def at(attempts: int = 2, **fields: Any) -> State:
    return state(charges=tuple(charge(number) for number in range(1, attempts + 1)), **fields)


def test_an_answer_tells_all_that_a_reader_may_want() -> None:
    reply = read(answer(at(3, run=2), b'{"id":"x","choices":[]}', 201, "m-1", 77))
    assert reply == Reply(
        job_id=JOB,
        run=2,
        status="answered",
        model="m-1",
        response={"id": "x", "choices": []},
        status_code=201,
        cost_nanodollars=77,
        attempts=3,
    )


@pytest.mark.parametrize("body", [b'{"a": 1.50, "a":2}', b'{\n "b":1e400}', '{"c":"é\\u0000"}'.encode()])
def test_the_provider_s_body_is_not_touched(body: bytes) -> None:
    assert body in answer(at(), body, 200, "m", 0)


json_bodies = st.dictionaries(st.text(), st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text())


@given(json_bodies, st.integers(0, 2**53), st.integers(0, 12))
def test_every_answer_is_one_json_object(body: dict[str, Any], nanodollars: int, attempts: int) -> None:
    reply = read(answer(at(attempts), orjson.dumps(body), 200, "m", nanodollars))
    assert (reply.response, reply.cost_nanodollars, reply.attempts) == (body, nanodollars, attempts)


@pytest.mark.parametrize("status", FAILED)
@pytest.mark.parametrize("code", CODES)
def test_every_end_has_its_code_and_a_message(status: Status, code: str) -> None:
    reply = read(failure(at(), status, str(code), nanodollars=5))
    assert reply.status == status
    assert reply.error is not None
    assert reply.error.code == code
    assert reply.error.message
    assert "_" not in reply.error.message
    assert (reply.response, reply.cost_nanodollars, reply.attempts) == (None, 5, 2)


def test_a_message_of_the_rule_s_own_comes_before_the_code_s() -> None:
    own = read(failure(at(), "refused", "no_target", "none", "model", status_code=404))
    assert own.error == ReplyError(code="no_target", message="none", param="model")
    assert own.status_code == 404
    usual = read(failure(at(), "refused", "no_target"))
    assert usual.error == ReplyError(code="no_target", message=WORDING["no_target"])


def test_what_is_not_known_is_left_out() -> None:
    told = orjson.loads(failure(at(model=None), "expired", "expired"))
    assert told.keys() == {"version", "job_id", "run", "status", "attempts", "error", "cost_nanodollars"}
    assert told["error"].keys() == {"code", "message"}


def test_a_dead_job_s_reply_names_its_letter() -> None:
    reply = read(failure(at(), "dead", "timeout", dead_letter="dead/0/3"))
    assert (reply.dead_letter, reply.model) == ("dead/0/3", "gpt-4o-mini")


def test_wordings_are_for_codes_that_there_are() -> None:
    assert WORDING.keys() <= {str(code) for code in CODES}


@pytest.mark.parametrize("status", get_args(Status))
def test_a_reply_that_is_no_longer_retained_tells_how_it_ended_and_what_it_cost(status: Status) -> None:
    reply = read(expired_result(str(JOB), 3, status, 9, 4))
    assert (reply.job_id, reply.run, reply.status, reply.response) == (JOB, 3, status, None)
    assert (reply.cost_nanodollars, reply.attempts) == (9, 4)
    assert reply.error is not None
    assert reply.error.code == Notice.RESULT_EXPIRED
