"""What a provider is asked, and the closed union of what can come of it."""

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from schemas.envelope import Endpoint
from schemas.reasons import Disbelief, Failure, Refusal
from schemas.state import Usage
from schemas.terms import Counting


@dataclass(frozen=True, slots=True)
class Call:
    """One attempt's request. Its identity travels in headers, and makes the provider's idempotency key."""

    endpoint: Endpoint
    body: bytes
    """Sent as it stands."""
    job_id: UUID
    run: int
    attempt: int
    counting: Counting
    """How the usage of its answer is to be read."""
    timeout_s: float | None = None
    """In place of the target's own, where it is shorter."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A JSON object of the shape that the endpoint promises."""

    status: int
    body: bytes
    """As it came."""
    usage: Usage | Disbelief
    response_sha256: str
    """Of `body`, in hexadecimal."""
    latency_ms: int
    nothing_left_ms: int | None = None
    """By its headers a rate limit is used up, and whole again after so long; None: not that it says."""


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt that may be made again.

    `sent` is False where the provider did not serve the request: no connection, or a status by which it says
    so itself. It is True where the work may be done: a time-out, a connection lost after sending, an answer
    that is broken or too large, a gateway that lost its server.
    """

    failure: Failure
    sent: bool
    latency_ms: int
    status: int | None = None
    retry_after_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """The provider refused the request, and would refuse it again."""

    refusal: Literal[Refusal.PROVIDER_REFUSED, Refusal.PROVIDER_AUTHENTICATION]
    status: int
    latency_ms: int
    code: str | None = None
    """The provider's own error code, if it is a short plain token; never its text."""


Result = Answer | Failed | Rejected
