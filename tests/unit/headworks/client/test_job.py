"""The envelope made of a job: the same job has the same bytes, and what is wrong is told by its field."""

from typing import Any
from uuid import uuid4

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headworks.client.errors import JobInvalid
from headworks.client.job import TEXT_MAX, Job, check, encode, job_of
from schemas.envelope import ATTEMPTS_DEFAULT, TTL_S_DEFAULT, Envelope, RetryPolicy, Tags
from schemas.topics import Lane

REQUEST: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
requests = st.dictionaries(st.text(max_size=8), json_values, max_size=5)


@given(requests, st.integers(1, 7 * 86_400), st.integers(1, 10), st.booleans())
def test_what_is_encoded_is_the_envelope_that_was_asked_for(
    request: dict[str, Any], ttl_s: int, attempts: int, once: bool
) -> None:
    retry = RetryPolicy(attempts_max=attempts, at_most_once=once)
    value = encode(Job(request, ttl_s=ttl_s, retry=retry, tags=Tags(feature="search")))
    assert Envelope.model_validate_json(value) == Envelope(
        version=1,
        endpoint="/v1/chat/completions",
        request=request,
        tags=Tags(feature="search"),
        ttl_s=ttl_s,
        retry=retry,
    )


def test_defaults_are_left_out_however_they_were_given() -> None:
    bare = encode(Job(REQUEST))
    assert orjson.loads(bare) == {"version": 1, "endpoint": "/v1/chat/completions", "request": REQUEST}
    assert bare == encode(
        Job(REQUEST, tags={}, ttl_s=TTL_S_DEFAULT, retry={"attempts_max": ATTEMPTS_DEFAULT})
    )
    assert bare == encode(Job(REQUEST, tags=Tags(), retry=RetryPolicy()))


def test_the_order_of_the_request_is_kept_since_a_schema_may_mean_it() -> None:
    assert encode(Job({"b": 1, "a": {"d": 1, "c": 1}})).endswith(b'"request":{"b":1,"a":{"d":1,"c":1}}}')


@pytest.mark.parametrize(
    ("job", "named"),
    [
        (Job(REQUEST, endpoint="/v1/images"), "endpoint"),  # type: ignore[arg-type]  # that is the point
        (Job(REQUEST, ttl_s=0), "ttl_s"),
        (Job(REQUEST, tags={"team": "x"}), "tags.team"),
        (Job(REQUEST, tags={"user": "secret\n"}), "tags.user"),
        (Job(REQUEST, retry={"attempts_max": 99}), "retry.attempts_max"),
        (Job({"model": {1, 2}}), "not JSON"),
        (Job({"n": 2**70}), "not JSON"),
    ],
)
def test_a_wrong_field_is_named_and_its_value_is_not(job: Job, named: str) -> None:
    with pytest.raises(JobInvalid, match=named) as caught:
        encode(job)
    assert "secret" not in str(caught.value)


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(JobInvalid, match="not JSON"):
        encode(Job({"prompt": "\ud800"}))


def test_options_overlay_a_job() -> None:
    job = job_of(Job(REQUEST, ttl_s=60, lane=Lane.BULK), {"lane": Lane.INTERACTIVE})
    assert (job.lane, job.ttl_s) == (Lane.INTERACTIVE, 60)
    assert job_of(REQUEST, {"ttl_s": 5}) == Job(REQUEST, ttl_s=5)


@pytest.mark.parametrize(
    "fields",
    [
        {"job_id": "019b76da-a800-7d3f-8a5b-1c2d3e4f5061"},
        {"idempotency_key": "\ud800"},
        {"idempotency_key": "x" * (TEXT_MAX + 1)},
        {"traceparent": "\ud800"},
        {"traceparent": "00-\n"},
        {"traceparent": "é" * TEXT_MAX},
    ],
)
def test_what_cannot_be_sent_beside_the_envelope_is_named(fields: Any) -> None:
    with pytest.raises(JobInvalid, match=next(iter(fields))):
        check(Job({}, **fields))


def test_what_can_be_sent_passes() -> None:
    check(Job({}))
    check(Job({}, job_id=uuid4(), idempotency_key="ä/1", traceparent="00-" + "a" * 32))


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("where", ["temperature", "metadata", "stop"])
def test_what_is_no_number_in_json_is_refused_and_not_sent_as_null(number: float, where: str) -> None:
    held: dict[str, Any] = {"temperature": number, "metadata": {"a": [number]}, "stop": ("x", number)}
    with pytest.raises(JobInvalid, match="NaN or an infinity"):
        encode(Job({"model": "m", where: held[where]}))


def test_null_itself_is_sent() -> None:
    assert b'"stop":null' in encode(Job({"model": "m", "stop": None, "temperature": 0.5}))
