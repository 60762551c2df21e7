"""The header that a record on `dead` carries beside the bytes that failed."""

from typing import Literal

from schemas.base import Record


class DeadLetter(Record):
    version: Literal[1] = 1
    stage: Literal["admit", "reserve", "dispatch", "settle", "retry"]
    reason: str
    origin: str
    """The coordinate of the record that failed, `topic/partition/offset`."""
    at_ms: int
    detail: str | None = None
    """For operators: never a prompt, a completion or a secret."""
