"""The final reply: the value of a record on `replies.<application>`."""

from typing import Any, Literal
from uuid import UUID

from schemas.base import Extensible

Status = Literal["answered", "refused", "expired", "cancelled", "dead", "unknown"]


class ReplyError(Extensible):
    code: str
    """Stable (`schemas.reasons`)."""
    message: str
    param: str | None = None


class Reply(Extensible):
    version: Literal[1] = 1
    job_id: UUID
    run: int = 1
    status: Status | str
    """How the job ended. One that a reader does not know, of a later broker, is an end all the same."""
    model: str | None = None
    response: dict[str, Any] | None = None
    """The body that the provider answered, but for what policy put back into it or took out."""
    status_code: int | None = None
    """The provider's HTTP status, where one came."""
    error: ReplyError | None = None
    cost_nanodollars: int = 0
    attempts: int = 0
    dead_letter: str | None = None
