"""The envelope: what an application publishes as the value of a record on `jobs.*` (version 1).

Who sends it, its job id, when it was issued and where the reply goes stand in signed headers
(`schemas.headers`); the value holds the work alone, so that a repeat has the same SHA-256.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from schemas.base import Record

ENVELOPE_VERSION = 1
TTL_S_DEFAULT = 86_400
TTL_S_MAX = 7 * 86_400
ATTEMPTS_DEFAULT = 5
ATTEMPTS_MAX = 10

Endpoint = Literal["/v1/chat/completions", "/v1/embeddings"]
Tag = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[\w .:@/+-]+$")]


class Tags(Record):
    """For chargeback. They appear in bills and in the ledger: no secrets, no prompts."""

    department: Tag | None = None
    feature: Tag | None = None
    user: Tag | None = None


class RetryPolicy(Record):
    attempts_max: int = Field(ATTEMPTS_DEFAULT, ge=1, le=ATTEMPTS_MAX)
    at_most_once: bool = False
    """Never call the provider a second time where the first call's outcome is unknown."""


class Envelope(Record):
    version: Literal[1]
    endpoint: Endpoint
    request: dict[str, Any]
    """The body of the OpenAI-style call to `endpoint`."""
    tags: Tags = Tags()
    ttl_s: int = Field(TTL_S_DEFAULT, ge=1, le=TTL_S_MAX)
    """Time to live, counted from the record's append time."""
    retry: RetryPolicy = RetryPolicy()
