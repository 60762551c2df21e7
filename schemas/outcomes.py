"""How a job ends: a closed union. Every job leaves by way of one of these, and by SETTLE alone.

The value of a record on `outcomes.*` is the final reply as it will be delivered (`schemas.reply`); the
outcome itself travels in the sealed state header.
"""

from typing import Literal

from schemas.base import Record
from schemas.reasons import Failure, Refusal

StageName = Literal["admit", "reserve", "dispatch", "settle", "retry"]


class Answered(Record):
    kind: Literal["answered"] = "answered"
    model: str
    request_sha256: str
    """Of the bytes sent to the provider."""
    response_sha256: str
    """Of the bytes that the provider answered."""


class Refused(Record):
    kind: Literal["refused"] = "refused"
    reason: Refusal
    stage: StageName
    request_sha256: str | None = None
    """Of an answer that policy withheld: as of one that was given."""
    response_sha256: str | None = None


class Expired(Record):
    kind: Literal["expired"] = "expired"
    stage: StageName


class Cancelled(Record):
    """Its application called it off before it was answered."""

    kind: Literal["cancelled"] = "cancelled"
    stage: StageName


class Dead(Record):
    """Attempts are used up. The dead letter was written first, at `dead_letter`."""

    kind: Literal["dead"] = "dead"
    reason: Failure
    dead_letter: str
    """Coordinate, `topic/partition/offset`."""


class Unknown(Record):
    """An at-most-once job whose only call may or may not have been answered."""

    kind: Literal["unknown"] = "unknown"
    reason: Failure


class Repeat(Record):
    """The same job again from another coordinate: no terminal of its own; its sender gets the job's reply."""

    kind: Literal["repeat"] = "repeat"


class Cancelling(Record):
    """A job is called off: no terminal of its own; its sender gets the job's reply, however it ends."""

    kind: Literal["cancelling"] = "cancelling"


class Conflict(Record):
    """Another value under a job id already used: refused to its sender, never the first job's terminal."""

    kind: Literal["conflict"] = "conflict"


Outcome = Answered | Refused | Expired | Cancelled | Dead | Unknown | Repeat | Cancelling | Conflict
Asking = Repeat | Cancelling
"""Those whose sender awaits the end of a job that another record is to bring about."""
TERMINAL_KINDS = ("answered", "refused", "expired", "cancelled", "dead", "unknown")
