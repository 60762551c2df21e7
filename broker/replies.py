"""The bytes of final replies. Made once, by the stage that knows the outcome; SETTLE passes them on."""

from typing import Any

import orjson

from schemas.reply import Status
from schemas.state import State

WORDING = {
    "expired": "the deadline passed before the job could be done",
    "cancelled": "the application called the job off",
    "over_quota": "the project's budget does not allow it before the deadline",
    "outcome_unknown": "the call may or may not have been answered, and the job asked for at most one",
    "job_id_conflict": "another value was already sent under this job id",
    "result_expired": "the answer is no longer retained; its digest and cost are on record",
    "deadline_unreachable": "the provider's answers take longer just now than is left before the deadline",
    "policy_error": "a rule of policy could not be judged",
    "no_target": "no provider serves this model",
    "provider_refused": "the provider refused the request",
    "provider_authentication": "the provider refused the broker's credentials",
}


def answer(state: State, body: bytes, status_code: int, model: str, nanodollars: int) -> bytes:
    """`body` is spliced in as it came."""
    return orjson.dumps(
        _head(state, "answered")
        | {
            "model": model,
            "status_code": status_code,
            "response": orjson.Fragment(body),
            "cost_nanodollars": nanodollars,
        }
    )


def failure(
    state: State,
    status: Status,
    code: str,
    message: str | None = None,
    param: str | None = None,
    *,
    status_code: int | None = None,
    nanodollars: int = 0,
    dead_letter: str | None = None,
) -> bytes:
    error = {"code": code, "message": message or WORDING.get(code, code.replace("_", " "))}
    if param is not None:
        error["param"] = param
    optional = {"model": state.model, "status_code": status_code, "dead_letter": dead_letter}
    return orjson.dumps(
        _head(state, status)
        | {name: content for name, content in optional.items() if content is not None}
        | {"error": error, "cost_nanodollars": nanodollars}
    )


def expired_result(job_id: str, run: int, status: str, nanodollars: int, attempts: int) -> bytes:
    """For a repeat whose reply is no longer retained in `outcomes.*`."""
    code = "result_expired"
    return orjson.dumps(
        {
            "version": 1,
            "job_id": job_id,
            "run": run,
            "status": status,
            "error": {"code": code, "message": WORDING[code]},
            "cost_nanodollars": nanodollars,
            "attempts": attempts,
        }
    )


def _head(state: State, status: Status) -> dict[str, Any]:
    return {
        "version": 1,
        "job_id": str(state.job_id),
        "run": state.run,
        "status": status,
        "attempts": len(state.charges),
    }
