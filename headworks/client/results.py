"""How a job ended, as a closed union of frozen types; `match` on them."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from schemas.reply import Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    job_id: UUID
    run: int
    """1 so far: kept for further runs of a job."""
    cost_nanodollars: int
    """Of all attempts together."""
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered(_Ended):
    response: dict[str, Any]
    """The body that the provider answered, as it stood."""
    model: str | None
    status_code: int

    @property
    def text(self) -> str:
        """What the first choice of a chat answer says; empty where it says nothing (a tool call).

        Raises TypeError where the response is not a chat completion.
        """
        match self.response:
            case {"choices": [{"message": {"content": str(content)}}, *_]}:
                return content
            case {"choices": [{"message": dict()}, *_]}:
                return ""
        raise TypeError("the response is not a chat completion; read `response`")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultGone(_Ended):
    """It was answered, but the answer is no longer retained; digest and cost are on the broker's record."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused(_Ended):
    """It may not pass; the same job would be refused again."""

    reason: str
    """A stable code (`schemas.reasons.Refusal`)."""
    message: str
    param: str | None
    response: dict[str, Any] | None
    """What the provider answered, where it was the provider that refused."""
    status_code: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dead(_Ended):
    """Its attempts are used up; the dead letter keeps the job."""

    reason: str
    message: str
    dead_letter: str | None
    """Its coordinate, `topic/partition/offset`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired(_Ended):
    """Its time to live ran out first."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled(_Ended):
    """Its application called it off first. A call that was cut off for it is charged in full."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown(_Ended):
    """An at-most-once job whose only call may or may not have been answered."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unrecognized(_Ended):
    """It ended in a way that came after this version of the client: the broker is newer."""

    status: str
    reason: str
    message: str
    response: dict[str, Any] | None


Result = Answered | ResultGone | Refused | Dead | Expired | Cancelled | Unknown | Unrecognized


def result_of(reply: Reply) -> Result:
    ended: dict[str, Any] = {
        "job_id": reply.job_id,
        "run": reply.run,
        "cost_nanodollars": reply.cost_nanodollars,
        "attempts": reply.attempts,
    }
    code, message, param = _error(reply)
    match reply.status:
        case "answered":
            return _answered(reply, ended, message)
        case "refused":
            ended |= {"response": reply.response, "status_code": reply.status_code}
            return Refused(**ended, reason=code, message=message, param=param)
        case "dead":
            return Dead(**ended, reason=code, message=message, dead_letter=reply.dead_letter)
        case "expired":
            return Expired(**ended, message=message)
        case "cancelled":
            return Cancelled(**ended, message=message)
        case "unknown":
            return Unknown(**ended, reason=code, message=message)
        case status:
            ended |= {"status": status, "response": reply.response}
            return Unrecognized(**ended, reason=code, message=message)


def _answered(reply: Reply, ended: dict[str, Any], message: str) -> Answered | ResultGone:
    if reply.response is None:
        return ResultGone(**ended, message=message)
    return Answered(**ended, response=reply.response, model=reply.model, status_code=reply.status_code or 200)


def _error(reply: Reply) -> tuple[str, str, str | None]:
    if reply.error is None:
        return reply.status, "", None
    return reply.error.code, reply.error.message, reply.error.param
