import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.providers.classify import (
    RETRY_AFTER_MS_MAX,
    Accepted,
    Refused,
    Retryable,
    classify,
    retry_after_ms,
)
from schemas.reasons import Failure, Refusal

NOW_MS = 1_767_225_600_000
"""Thu, 01 Jan 2026 00:00:00 GMT."""


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Accepted()),
        (202, Accepted()),
        (301, Refused(Refusal.PROVIDER_REFUSED)),
        (307, Refused(Refusal.PROVIDER_REFUSED)),
        (400, Refused(Refusal.PROVIDER_REFUSED)),
        (401, Refused(Refusal.PROVIDER_AUTHENTICATION)),
        (403, Refused(Refusal.PROVIDER_AUTHENTICATION)),
        (404, Refused(Refusal.PROVIDER_REFUSED)),
        (408, Retryable(Failure.PROVIDER_ERROR, None, sent=False)),
        (409, Retryable(Failure.PROVIDER_ERROR, None, sent=False)),
        (413, Refused(Refusal.PROVIDER_REFUSED)),
        (422, Refused(Refusal.PROVIDER_REFUSED)),
        (425, Retryable(Failure.PROVIDER_ERROR, None, sent=False)),
        (429, Retryable(Failure.RATE_LIMITED, None, sent=False)),
        (500, Retryable(Failure.PROVIDER_ERROR, None, sent=False)),
        (502, Retryable(Failure.PROVIDER_ERROR, None, sent=True)),
        (503, Retryable(Failure.PROVIDER_ERROR, None, sent=False)),
        (504, Retryable(Failure.PROVIDER_ERROR, None, sent=True)),
        (529, Retryable(Failure.PROVIDER_ERROR, None, sent=False)),
    ],
)
def test_each_status_has_one_meaning(status: int, verdict: object) -> None:
    assert classify(status, {}, NOW_MS) == verdict


@pytest.mark.parametrize(
    ("headers", "wait_ms"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2_000),
        ({"retry-after": " 1.5 "}, 1_500),
        ({"retry-after": "0"}, 0),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:07 GMT"}, 7_000),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:07"}, 7_000),
        ({"retry-after": "Wed, 31 Dec 2025 23:00:00 GMT"}, 0),
        ({"retry-after": "999999999"}, RETRY_AFTER_MS_MAX),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "Thu, 99 Jan 2026 00:00:07 GMT"}, None),
        ({"retry-after-ms": "250", "retry-after": "1"}, 250),
        ({"x-ratelimit-reset-requests": "1s"}, 1_000),
        ({"x-ratelimit-reset-tokens": "6m0s"}, 360_000),
        ({"x-ratelimit-reset-tokens": "20ms"}, 20),
        ({"x-ratelimit-reset-tokens": "2m59.56s"}, 179_560),
        ({"x-ratelimit-reset-tokens": "1h0m0s"}, 3_600_000),
        ({"x-ratelimit-reset-tokens": "1d"}, 86_400_000),
        ({"x-ratelimit-reset-tokens": "7"}, 7_000),
        ({"x-ratelimit-reset-tokens": "later"}, None),
        ({"x-ratelimit-reset-tokens": ""}, None),
        ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "3s"}, 3_000),
        (
            {
                "x-ratelimit-reset-requests": "8h",
                "x-ratelimit-remaining-requests": "10",
                "x-ratelimit-reset-tokens": "3s",
                "x-ratelimit-remaining-tokens": "0",
            },
            3_000,
        ),
        ({"retry-after": "1", "x-ratelimit-reset-tokens": "3s"}, 1_000),
    ],
)
def test_how_long_a_rate_limit_asks_us_to_wait(headers: dict[str, str], wait_ms: int | None) -> None:
    assert classify(429, headers, NOW_MS) == Retryable(Failure.RATE_LIMITED, wait_ms, sent=False)


def test_another_error_is_not_put_off_by_rate_limits() -> None:
    headers = {"x-ratelimit-reset-tokens": "3s"}

    assert classify(503, headers, NOW_MS) == Retryable(Failure.PROVIDER_ERROR, None, sent=False)
    assert classify(503, headers | {"retry-after": "9"}, NOW_MS) == Retryable(
        Failure.PROVIDER_ERROR, 9_000, sent=False
    )


@given(st.text() | st.from_regex(r"[0-9dhms.]{1,12}"), st.text() | st.from_regex(r"[0-9dhms.]{1,12}"))
def test_no_header_breaks_the_rule(asked: str, reset: str) -> None:
    wait_ms = retry_after_ms({"retry-after": asked, "x-ratelimit-reset-tokens": reset}, NOW_MS, limited=True)

    assert wait_ms is None or 0 <= wait_ms <= RETRY_AFTER_MS_MAX


@given(st.integers(200, 999))
def test_every_status_has_a_meaning(status: int) -> None:
    assert isinstance(classify(status, {}, NOW_MS), Accepted | Retryable | Refused)
