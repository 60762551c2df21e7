"""The OpenAI Batch output format, field by field."""

from typing import Any
from uuid import UUID

import orjson
import pytest

from headworks.batch.identity import Entry
from headworks.batch.output import Unanswered, answer_line, malformed_line, refusal_line, result_line
from headworks.batch.requests import Fault, Malformed
from headworks.client.results import Answered, Dead, Expired, Refused, ResultGone, Unknown, Unrecognized

JOB = UUID(int=7)
ENTRY = Entry("0a1b2c3d", JOB)
ID = f"batch_req_0a1b2c3d{JOB.hex}"
ENDED: dict[str, Any] = {"job_id": JOB, "run": 1, "cost_nanodollars": 0, "attempts": 1}


def test_an_answer() -> None:
    result = Answered(**ENDED, response={"choices": []}, model="m", status_code=200)
    line = answer_line(ENTRY, "a", result)
    assert line.endswith(b"}\n")
    assert orjson.loads(line) == {
        "id": ID,
        "custom_id": "a",
        "response": {"status_code": 200, "request_id": str(JOB), "body": {"choices": []}},
        "error": None,
    }


@pytest.mark.parametrize(
    ("result", "error"),
    [
        (
            Refused(
                **ENDED,
                reason="unknown_model",
                message="no",
                param="model",
                response=None,
                status_code=None,
            ),
            {"code": "unknown_model", "message": "no", "param": "model"},
        ),
        (
            Dead(**ENDED, reason="timeout", message="", dead_letter="dead/0/1"),
            {"code": "timeout", "message": "timeout", "dead_letter": "dead/0/1"},
        ),
        (Dead(**ENDED, reason="timeout", message="m", dead_letter=None), {"code": "timeout", "message": "m"}),
        (Expired(**ENDED, message="late"), {"code": "expired", "message": "late"}),
        (
            Unknown(**ENDED, reason="worker_lost", message=""),
            {"code": "worker_lost", "message": "worker lost"},
        ),
        (
            Unrecognized(**ENDED, status="withdrawn", reason="by_operator", message="m", response=None),
            {"code": "by_operator", "message": "m"},
        ),
        (ResultGone(**ENDED, message=""), {"code": "result_expired", "message": "result expired"}),
    ],
)
def test_all_else_is_an_error_with_its_line(result: Unanswered, error: dict[str, str]) -> None:
    assert orjson.loads(result_line(ENTRY, "a", 12, result)) == {
        "id": ID,
        "custom_id": "a",
        "response": None,
        "error": error | {"line": 12},
    }


def test_a_line_that_makes_no_job_says_where_it_stands() -> None:
    line = malformed_line(ENTRY, Malformed(12, None, Fault.INVALID_JSON, "not JSON"))
    assert orjson.loads(line)["error"] == {"code": "invalid_json", "message": "line 12: not JSON", "line": 12}
    assert orjson.loads(refusal_line(ENTRY, "a", 3, "body_too_large", "m"))["custom_id"] == "a"
