"""Lines of the OpenAI Batch output format, each with its entry's id in front.

An answer is {"id", "custom_id", "response": {"status_code", "request_id", "body"}, "error": null}; all else
goes to the errors file, {"id", "custom_id", "response": null, "error": {"code", "message", "line"}}. The
`request_id` is the job id.
"""

from typing import Any

import orjson

from headworks.batch.identity import Entry
from headworks.batch.requests import Malformed
from headworks.client.results import (
    Answered,
    Cancelled,
    Dead,
    Expired,
    Refused,
    ResultGone,
    Unknown,
    Unrecognized,
)
from schemas.reasons import Notice

Unanswered = ResultGone | Refused | Dead | Expired | Cancelled | Unknown | Unrecognized


def answer_line(entry: Entry, custom_id: str, result: Answered) -> bytes:
    response = {
        "status_code": result.status_code,
        "request_id": str(result.job_id),
        "body": result.response,
    }
    return _line(entry, custom_id, response=response)


def result_line(entry: Entry, custom_id: str, number: int, result: Unanswered) -> bytes:
    error = {"code": code_of(result), "message": message_of(result), "line": number}
    match result:
        case Refused(param=str(param)):
            error["param"] = param
        case Dead(dead_letter=str(dead_letter)):
            error["dead_letter"] = dead_letter
    return _line(entry, custom_id, error=error)


def malformed_line(entry: Entry, line: Malformed) -> bytes:
    return refusal_line(entry, line.custom_id, line.number, line.fault, f"line {line.number}: {line.message}")


def refusal_line(entry: Entry, custom_id: str | None, number: int, code: str, message: str) -> bytes:
    """Of a line that never became a job."""
    return _line(entry, custom_id, error={"code": code, "message": message, "line": number})


def code_of(result: Unanswered) -> str:
    match result:
        case Refused() | Dead() | Unknown() | Unrecognized():
            return result.reason
        case Expired():
            return Notice.EXPIRED
        case Cancelled():
            return Notice.CANCELLED
        case ResultGone():
            return Notice.RESULT_EXPIRED


def message_of(result: Unanswered) -> str:
    return result.message or code_of(result).replace("_", " ")


def _line(
    entry: Entry,
    custom_id: str | None,
    *,
    response: dict[str, Any] | None = None,
    error: dict[str, Any] | None = None,
) -> bytes:
    fields = {"id": str(entry), "custom_id": custom_id, "response": response, "error": error}
    return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)
