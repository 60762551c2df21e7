"""Answers of a file, judged by a revision before it judges those of jobs."""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Any, Final, NamedTuple, get_args

import orjson

from broker.policy.answers.judge import Answered
from broker.policy.evaluation import RowInvalid
from broker.policy.judge import Judge
from broker.policy.revision import PolicyRevision
from headworks.batch.lines import Line
from headworks.trial.scan import whole
from schemas.envelope import Endpoint, Tags
from schemas.requests import RequestRefused, validate_request
from schemas.state import AnswerDecision

_CHAT: Final = "/v1/chat/completions"
_NAME: Final = "example"
"""Of the organization, project and application whose jobs they are taken for."""


class _Row(NamedTuple):
    endpoint: str
    request: dict[str, Any]
    response: dict[str, Any]


def judge_answers(lines: Iterable[Line], revision: PolicyRevision) -> Iterator[tuple[int, AnswerDecision]]:
    """Each line that is not blank, with its number. Raises RowInvalid at the first malformed one."""
    answers = Judge(revision).answers
    for line in lines:
        raw = whole(line)
        if raw.strip() and answers is not None:
            yield line.number, answers.judge(_answered(_row(line.number, raw))).decision


def _answered(row: _Row) -> Answered:
    request, body = orjson.dumps(row.request), orjson.dumps(row.response)
    return Answered(
        organization=_NAME,
        project=_NAME,
        application=_NAME,
        lane="standard",
        endpoint=row.endpoint,
        request=row.request,
        tags=Tags(),
        regions=(),
        value_sha256=sha256(request).hexdigest(),
        body=body,
        response_sha256=sha256(body).hexdigest(),
        tokens={},
    )


def _row(number: int, raw: bytes) -> _Row:
    try:
        fields = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise RowInvalid(number, "row", "is not JSON") from None
    if not isinstance(fields, dict):
        raise RowInvalid(number, "row", "must be an object")
    for name in ("request", "response"):
        if not isinstance(fields.get(name), dict):
            raise RowInvalid(number, name, "must be an object")
    endpoint = fields.get("endpoint", _CHAT)
    if endpoint not in get_args(Endpoint):
        raise RowInvalid(number, "endpoint", f"must be one of {', '.join(get_args(Endpoint))}")
    try:
        validate_request(endpoint, fields["request"])
    except RequestRefused as refused:
        raise RowInvalid(number, refused.param or "request", refused.message) from None
    return _Row(endpoint, fields["request"], fields["response"])
