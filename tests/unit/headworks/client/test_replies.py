"""Telling one's own replies without opening them, and opening only what is a reply."""

import json
import logging
from typing import NamedTuple
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headworks.client.replies import address, addressed_to, job_of, opened
from headworks.client.results import Expired, Refused, Unrecognized
from schemas import headers
from schemas.reply import Reply
from schemas.topics import ReplyTo

JOB = UUID(int=5)


class Record(NamedTuple):
    value: bytes | None = b""
    headers: tuple[tuple[str, bytes], ...] = ()
    topic: str = "replies.acme"
    partition: int = 3
    offset: int = 99
    timestamp: int = 0
    timestamp_type: int = 0
    key: bytes | None = None


@given(st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True), st.integers(1, 1000))
def test_an_instance_always_has_the_same_place(instance: str, partitions: int) -> None:
    place = address("acme", instance, partitions)
    assert place == address("acme", instance, partitions)
    assert place.partition is not None
    assert 0 <= place.partition < partitions
    assert ReplyTo.parse(str(place)) == place
    assert place.belongs_to("acme")


def test_a_reply_is_one_s_own_by_the_whole_address() -> None:
    record = Record(headers=((headers.REPLY_TO, b"replies.acme/3/worker-1"),))
    assert addressed_to(record, b"replies.acme/3/worker-1")
    assert not addressed_to(record, b"replies.acme/3/worker-11")
    assert not addressed_to(Record(), b"replies.acme/3/worker-1")


@pytest.mark.parametrize("value", [b"", b"not a uuid", b"\xff\xfe"])
def test_a_wrong_correlation_id_is_none(value: bytes) -> None:
    assert job_of(Record(headers=((headers.CORRELATION_ID, value),))) is None
    assert job_of(Record()) is None


def test_the_job_is_the_correlation_id() -> None:
    assert job_of(Record(headers=((headers.CORRELATION_ID, str(JOB).encode()),))) == JOB


def test_a_reply_is_opened() -> None:
    value = Reply(job_id=JOB, status="expired").model_dump_json().encode()
    assert opened(Record(value), JOB) == Expired(
        job_id=JOB, run=1, cost_nanodollars=0, attempts=0, message=""
    )


def test_what_a_newer_broker_adds_is_passed_over() -> None:
    told = {
        "version": 1,
        "job_id": str(JOB),
        "status": "refused",
        "queued_ms": 3,
        "error": {"code": "too_early", "message": "m", "hint": {"wait_s": 1}},
    }
    assert opened(Record(json.dumps(told).encode()), JOB) == Refused(
        job_id=JOB,
        run=1,
        cost_nanodollars=0,
        attempts=0,
        reason="too_early",
        message="m",
        param=None,
        response=None,
        status_code=None,
    )


def test_an_end_of_a_newer_broker_s_is_an_end() -> None:
    told = {"version": 1, "job_id": str(JOB), "status": "withdrawn", "by": "ann"}
    result = opened(Record(json.dumps(told).encode()), JOB)
    assert isinstance(result, Unrecognized)
    assert (result.status, result.reason) == ("withdrawn", "withdrawn")


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"{secret",
        b'{"version":9}',
        Reply(job_id=UUID(int=6), status="dead").model_dump_json().encode(),
    ],
)
def test_what_is_no_reply_of_that_job_is_logged_by_its_coordinate_alone(
    value: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        assert opened(Record(value), JOB) is None
    assert caplog.messages == ["reply_unreadable at replies.acme/3/99"]
