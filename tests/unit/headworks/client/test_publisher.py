"""Freshness as the acknowledgement tells it, and what becomes of aiokafka's errors."""

from uuid import UUID

import pytest
from aiokafka import errors as kafka
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import HeadworksError, SettingsInvalid, Unavailable
from broker.identity.credential import Credential
from broker.settings import KafkaSettings
from headworks.client.errors import ClockWrong, JobTooLarge, NotDelivered
from headworks.client.publisher import Publisher, check_fresh

JOB = UUID(int=1)
NOW_MS = 1_800_000_000_000


@given(st.integers(-30_000, 300_000))
def test_a_signature_inside_the_window_is_fresh(age_ms: int) -> None:
    check_fresh(NOW_MS, NOW_MS + age_ms)


@given(st.integers(300_001, 10**9))
def test_a_clock_that_is_behind_is_told_so(age_ms: int) -> None:
    with pytest.raises(ClockWrong, match=r"\d s behind"):
        check_fresh(NOW_MS, NOW_MS + age_ms)


@given(st.integers(30_001, 10**9))
def test_a_clock_that_is_ahead_is_told_so(lead_ms: int) -> None:
    with pytest.raises(ClockWrong, match=r"\d s ahead"):
        check_fresh(NOW_MS, NOW_MS - lead_ms)


@pytest.mark.parametrize(
    ("foreign", "ours"),
    [
        (kafka.MessageSizeTooLargeError(), JobTooLarge),
        (kafka.RecordTooLargeError(), JobTooLarge),
        (kafka.TopicAuthorizationFailedError("jobs.bulk"), SettingsInvalid),
        (kafka.KafkaTimeoutError(), NotDelivered),
        (kafka.NotLeaderForPartitionError(), NotDelivered),
        (kafka.OutOfOrderSequenceNumber(), NotDelivered),
    ],
)
async def test_an_error_of_aiokafka_is_one_of_ours(
    foreign: kafka.KafkaError, ours: type[HeadworksError]
) -> None:
    publisher = Publisher(Credential.generate("acme"), KafkaSettings())
    assert type(publisher._translated(JOB, foreign)) is ours


def test_not_delivered_is_worth_another_try() -> None:
    error = NotDelivered(JOB, "nothing came in 60 s")
    assert isinstance(error, Unavailable)
    assert error.retryable
    assert str(JOB) in str(error)
