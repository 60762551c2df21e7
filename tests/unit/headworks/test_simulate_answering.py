"""When and how an answer is sent, read from its plan: nothing here waits."""

import re
from typing import Any

import orjson
import pytest

from headworks.simulate import Behaviour, CannedAnswer, Fault, FixedLatency
from headworks.simulate.answering import Answered, Facts, answer
from headworks.simulate.answers import STATEMENT
from headworks.simulate.delivery import STEP_BYTES_MAX, Ending
from headworks.simulate.wire import Request

SLOW = FixedLatency(ms=70)


def ask(behaviour: Behaviour, *, number: int = 1, headers: Any = None, **fields: Any) -> Answered:
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}], **fields}
    request = Request("POST", "/v1/chat/completions", "", headers or {}, orjson.dumps(body), keep_alive=True)
    return answer(request, Facts(behaviour, now=1.7e9, number=number, authorized=True, allowance=None))


def sent(answered: Answered) -> bytes:
    return b"".join(step.data for step in answered.delivery.steps)


def test_an_answer_goes_out_in_one_step_after_the_latency() -> None:
    answered = ask(Behaviour(latency=SLOW))
    assert [step.after_ms for step in answered.delivery.steps] == [70]
    assert answered.delivery.ending is Ending.KEEP


def test_a_streamed_answer_waits_once_and_then_between_its_events() -> None:
    answered = ask(Behaviour(latency=SLOW, stream_gap_ms=5), stream=True)
    first, *between, last = (step.after_ms for step in answered.delivery.steps)
    assert (first, last) == (70, 0)
    assert set(between) == {5}


def test_errors_that_were_set_take_the_latency_and_refusals_do_not() -> None:
    assert ask(Behaviour(latency=SLOW, error_rate=1)).delivery.steps[0].after_ms == 70
    assert ask(Behaviour(latency=SLOW), messages=[]).delivery.steps[0].after_ms == 0


def test_a_hang_has_no_steps() -> None:
    answered = ask(Behaviour(hang_rate=1))
    assert (answered.delivery.steps, answered.delivery.ending) == ((), Ending.HANG)


def test_a_large_answer_goes_out_in_pieces() -> None:
    answered = ask(Behaviour(oversized_rate=1, oversized_bytes=3 * STEP_BYTES_MAX, latency=SLOW))
    assert [step.after_ms for step in answered.delivery.steps] == [70, 0, 0, 0]
    assert all(len(step.data) <= STEP_BYTES_MAX for step in answered.delivery.steps)


def test_the_same_request_gets_the_same_answer_whoever_asks() -> None:
    one = ask(Behaviour(), number=1, headers={"x-headworks-job-id": "a"})
    two = ask(Behaviour(seed=5), number=2, headers={"x-headworks-job-id": "b"})
    bodies = [re.sub(rb"simulated-\d+", b"", sent(answered)) for answered in (one, two)]
    assert bodies[0] == bodies[1]


def test_a_call_of_a_job_has_its_fate_whatever_came_before() -> None:
    behaviour = Behaviour(error_rate=0.3, hang_rate=0.3)
    who = {"x-headworks-job-id": "a", "x-headworks-run": "0", "x-headworks-attempt": "1"}
    assert {ask(behaviour, number=number, headers=who).call.fault for number in range(50)} == {
        ask(behaviour, headers=who).call.fault
    }


def test_attempts_and_nameless_calls_differ_in_fate() -> None:
    behaviour = Behaviour(hang_rate=0.5)
    of_job = [{"x-headworks-job-id": "a", "x-headworks-attempt": str(attempt)} for attempt in range(50)]
    assert {ask(behaviour, headers=who).call.fault for who in of_job} == {None, Fault.HANG}
    assert {ask(behaviour, number=number).call.fault for number in range(50)} == {None, Fault.HANG}


@pytest.mark.parametrize(
    ("limit", "tokens", "reason"),
    [({}, 40, "stop"), ({"max_tokens": 7}, 7, "length"), ({"max_tokens": 40}, 40, "stop")],
)
def test_the_requests_own_limit_bounds_the_answer(limit: dict[str, int], tokens: int, reason: str) -> None:
    answered = ask(Behaviour(completion_tokens_min=40, completion_tokens_max=40), **limit)
    body = orjson.loads(sent(answered).partition(b"\r\n\r\n")[2])
    assert (body["usage"]["completion_tokens"], answered.call.completion_tokens) == (tokens, tokens)
    assert body["choices"][0]["finish_reason"] == reason
    assert body["choices"][0]["message"]["content"].startswith(STATEMENT)


def test_every_choice_is_counted() -> None:
    behaviour = Behaviour(completion_tokens_min=40, completion_tokens_max=40)
    assert ask(behaviour, n=3).call.completion_tokens == 120


@pytest.mark.parametrize("tokens", [1, 100, 100_000])
def test_text_is_as_long_as_its_tokens_say(tokens: int) -> None:
    answered = ask(Behaviour(completion_tokens_min=tokens, completion_tokens_max=tokens))
    body = orjson.loads(sent(answered).partition(b"\r\n\r\n")[2])
    assert len(body["choices"][0]["message"]["content"]) == max(len(STATEMENT), tokens * 4)


def test_canned_content_follows_the_statement_and_keeps_to_the_limit() -> None:
    behaviour = Behaviour(canned=(CannedAnswer(content="éé forty two"),))
    whole, cut = (
        orjson.loads(sent(ask(behaviour, **limit)).partition(b"\r\n\r\n")[2])
        for limit in ({}, {"max_tokens": 1})
    )
    assert whole["choices"][0]["message"]["content"] == f"{STATEMENT} éé forty two"
    assert cut["choices"][0]["message"]["content"] == f"{STATEMENT} éé"
    assert (whole["usage"]["completion_tokens"], cut["usage"]["completion_tokens"]) == (4, 1)


def test_headers_of_no_sense_count_as_absent() -> None:
    headers = {"x-headworks-job-id": "j" * 500, "x-headworks-run": "-1", "x-headworks-attempt": "9" * 400}
    call = ask(Behaviour(), headers=headers).call
    assert (call.job_id, call.run, call.attempt) == ("j" * 128, None, None)


def test_the_record_of_a_call_holds_no_prompt() -> None:
    call = ask(Behaviour(), messages=[{"role": "user", "content": "the secret plan"}]).call
    assert b"secret" not in call.line()
    fields = "t job_id run attempt model status fault prompt_tokens completion_tokens body_sha256"
    assert set(orjson.loads(call.line())) == set(fields.split())
