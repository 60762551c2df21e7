"""What an HTTP status means for a job. Pure; the one place where it is decided."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, Literal

from schemas.reasons import Failure, Refusal

RETRY_AFTER_MS_MAX: Final = 86_400_000
_UNKNOWN: Final = frozenset({502, 504, 520, 522, 524})
"""By these a gateway says that it does not know what the server behind it did (RFC 9110 15.6.3, 15.6.5; 52x
are a CDN's). By every other error a server says that it did not fulfil the request."""
_RETRYABLE: Final = frozenset({408, 409, 425, 429})
_SECONDS: Final = re.compile(r"\d{1,9}(?:\.\d{1,9})?", re.ASCII)
_DURATION: Final = re.compile(
    r"(?:(?P<d>\d{1,4})d)?(?:(?P<h>\d{1,6})h)?(?:(?P<m>\d{1,6})m(?!s))?"
    r"(?:(?P<s>\d{1,9}(?:\.\d{1,9})?)s)?(?:(?P<ms>\d{1,9}(?:\.\d{1,9})?)ms)?",
    re.ASCII,
)
_UNIT_MS: Final = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_LIMITS: Final = ("requests", "tokens")
_REMAINING: Final = tuple((limit, f"x-ratelimit-remaining-{limit}") for limit in _LIMITS)


@dataclass(frozen=True, slots=True)
class Accepted:
    """There is an answer to read."""


@dataclass(frozen=True, slots=True)
class Retryable:
    failure: Failure
    retry_after_ms: int | None
    sent: bool
    """The provider may have done the work."""


@dataclass(frozen=True, slots=True)
class Refused:
    refusal: Literal[Refusal.PROVIDER_REFUSED, Refusal.PROVIDER_AUTHENTICATION]


Verdict = Accepted | Retryable | Refused


def classify(status: int, headers: Mapping[str, str], now_ms: int) -> Verdict:
    """`headers` are looked up in lower case. Redirects are refused: they would forward credentials."""
    if 200 <= status < 300:
        return Accepted()
    if status in {401, 403}:
        return Refused(Refusal.PROVIDER_AUTHENTICATION)
    if status in _RETRYABLE or status >= 500:
        failure = Failure.RATE_LIMITED if status == 429 else Failure.PROVIDER_ERROR
        wait_ms = retry_after_ms(headers, now_ms, limited=status == 429)
        return Retryable(failure, wait_ms, sent=status in _UNKNOWN)
    return Refused(Refusal.PROVIDER_REFUSED)


def retry_after_ms(headers: Mapping[str, str], now_ms: int, *, limited: bool) -> int | None:
    """How long the server asks us to wait, a day at most; None if it does not say or cannot be read.

    Retry-After (RFC 9110 10.2.3) and OpenAI's retry-after-ms come first; of a rate limit also the
    x-ratelimit-reset-* of those limits that are used up.
    """
    asked = _plain(headers.get("retry-after-ms"), 1) or _retry_after(headers.get("retry-after"), now_ms)
    if asked is None and limited:
        asked = max((wait for limit in _LIMITS if (wait := _reset(headers, limit)) is not None), default=None)
    return None if asked is None else max(0, min(asked, RETRY_AFTER_MS_MAX))


def nothing_left_ms(headers: Mapping[str, str]) -> int | None:
    """How long until a rate limit that is used up is whole again, a day at most.

    None where the x-ratelimit-remaining-* do not say that one is, or not until when.
    """
    used_up = (limit for limit, name in _REMAINING if (left := headers.get(name)) and left.strip() == "0")
    longest = max((wait for limit in used_up if (wait := _reset(headers, limit)) is not None), default=None)
    return None if longest is None else min(longest, RETRY_AFTER_MS_MAX)


def _plain(text: str | None, unit_ms: int) -> int | None:
    if text is None or _SECONDS.fullmatch(text.strip()) is None:
        return None
    return round(float(text) * unit_ms)


def _retry_after(text: str | None, now_ms: int) -> int | None:
    if text is None:
        return None
    seconds = _plain(text, 1_000)
    return seconds if seconds is not None else _until_date(text, now_ms)


def _until_date(text: str, now_ms: int) -> int | None:
    try:
        moment = parsedate_to_datetime(text)
        return round(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1_000) - now_ms
    except (ValueError, OverflowError):
        return None


def _reset(headers: Mapping[str, str], limit: str) -> int | None:
    text = headers.get(f"x-ratelimit-reset-{limit}")
    if text is None or headers.get(f"x-ratelimit-remaining-{limit}", "0").strip() != "0":
        return None
    match = _DURATION.fullmatch(text.strip())
    if match is None or not match[0]:
        return _plain(text, 1_000)
    return round(sum(float(amount) * _UNIT_MS[unit] for unit, amount in match.groupdict().items() if amount))
