"""A reply becomes one of the closed union of results."""

from typing import Any
from uuid import UUID

import pytest

from headworks.client.results import (
    Answered,
    Dead,
    Expired,
    Refused,
    Result,
    ResultGone,
    Unknown,
    Unrecognized,
    result_of,
)
from schemas.reply import Reply, ReplyError

JOB = UUID(int=7)
ENDED: dict[str, Any] = {"job_id": JOB, "run": 2, "cost_nanodollars": 11, "attempts": 3}
ERROR = ReplyError(code="timeout", message="no answer in 120 s", param="model")


def reply(status: str, **fields: Any) -> Reply:
    return Reply(**ENDED, status=status, **fields)


@pytest.mark.parametrize(
    ("given", "result"),
    [
        (
            reply("answered", response={"a": 1}, model="m", status_code=201),
            Answered(**ENDED, response={"a": 1}, model="m", status_code=201),
        ),
        (reply("answered", response={}), Answered(**ENDED, response={}, model=None, status_code=200)),
        (reply("answered", error=ERROR), ResultGone(**ENDED, message=ERROR.message)),
        (
            reply("refused", error=ERROR, response={"e": 1}, status_code=400),
            Refused(
                **ENDED,
                reason="timeout",
                message=ERROR.message,
                param="model",
                response={"e": 1},
                status_code=400,
            ),
        ),
        (
            reply("dead", error=ERROR, dead_letter="dead/0/9"),
            Dead(**ENDED, reason="timeout", message=ERROR.message, dead_letter="dead/0/9"),
        ),
        (reply("expired"), Expired(**ENDED, message="")),
        (reply("unknown", error=ERROR), Unknown(**ENDED, reason="timeout", message=ERROR.message)),
        (
            reply("withdrawn", error=ERROR, response={"e": 1}),
            Unrecognized(
                **ENDED, status="withdrawn", reason="timeout", message=ERROR.message, response={"e": 1}
            ),
        ),
        (
            reply("withdrawn"),
            Unrecognized(**ENDED, status="withdrawn", reason="withdrawn", message="", response=None),
        ),
    ],
)
def test_each_status_has_its_type(given: Reply, result: Result) -> None:
    assert result_of(given) == result


def answered(response: dict[str, Any]) -> Answered:
    return Answered(**ENDED, response=response, model="m", status_code=200)


def test_the_text_of_a_chat_answer_is_its_first_choice() -> None:
    response = {"choices": [{"message": {"content": "one"}}, {"message": {"content": "two"}}]}
    assert answered(response).text == "one"


def test_a_tool_call_says_nothing() -> None:
    assert answered({"choices": [{"message": {"content": None, "tool_calls": [{}]}}]}).text == ""


@pytest.mark.parametrize("response", [{}, {"choices": []}, {"data": [{"embedding": [0.1]}]}])
def test_what_is_no_chat_answer_has_no_text(response: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="not a chat completion"):
        _ = answered(response).text
