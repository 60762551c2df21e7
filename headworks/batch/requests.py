"""One line of the OpenAI Batch input format: {"custom_id", "method": "POST", "url", "body"}."""

from enum import StrEnum
from typing import Any, NamedTuple, get_args

import orjson
from pydantic import ValidationError

from headworks.batch.lines import Line
from headworks.client.job import NO_TAGS
from schemas.envelope import Endpoint, Tags

_ENDPOINTS: dict[str, Endpoint] = {endpoint: endpoint for endpoint in get_args(Endpoint)}


class Fault(StrEnum):
    """Why a line makes no job. Codes are never renamed."""

    LINE_TOO_LONG = "line_too_long"
    INVALID_JSON = "invalid_json"
    MISSING_CUSTOM_ID = "missing_custom_id"
    DUPLICATE_CUSTOM_ID = "duplicate_custom_id"
    UNSUPPORTED_METHOD = "unsupported_method"
    UNSUPPORTED_URL = "unsupported_url"
    INVALID_BODY = "invalid_body"
    INVALID_TAGS = "invalid_tags"


class Request(NamedTuple):
    number: int
    custom_id: str
    endpoint: Endpoint
    body: dict[str, Any]
    tags: Tags


class Malformed(NamedTuple):
    number: int
    custom_id: str | None
    fault: Fault
    message: str


class _Wrong(Exception):
    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault = fault
        self.message = message


def parse(line: Line) -> Request | Malformed | None:
    """None for a blank line."""
    if line.raw is None:
        return Malformed(line.number, None, Fault.LINE_TOO_LONG, "the line is longer than a job may be")
    if not line.raw.strip():
        return None
    custom_id: str | None = None
    try:
        fields = _object(line.raw)
        custom_id = _custom_id(fields)
        body, tags = _tagged(_body(fields))
        return Request(line.number, custom_id, _endpoint(fields), body, tags)
    except _Wrong as wrong:
        return Malformed(line.number, custom_id, wrong.fault, wrong.message)


def _object(raw: bytes) -> dict[str, Any]:
    try:
        fields = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise _Wrong(Fault.INVALID_JSON, f"not JSON: {error.msg} at column {error.colno}") from None
    if not isinstance(fields, dict):
        raise _Wrong(Fault.INVALID_JSON, "not a JSON object")
    return fields


def _custom_id(fields: dict[str, Any]) -> str:
    custom_id = fields.get("custom_id")
    if not isinstance(custom_id, str) or not custom_id:
        raise _Wrong(Fault.MISSING_CUSTOM_ID, "custom_id must be a string that is not empty")
    return custom_id


def _endpoint(fields: dict[str, Any]) -> Endpoint:
    if fields.get("method") != "POST":
        raise _Wrong(Fault.UNSUPPORTED_METHOD, "method must be POST")
    url = fields.get("url")
    endpoint = _ENDPOINTS.get(url) if isinstance(url, str) else None
    if endpoint is None:
        raise _Wrong(Fault.UNSUPPORTED_URL, f"url must be {' or '.join(_ENDPOINTS)}")
    return endpoint


def _body(fields: dict[str, Any]) -> dict[str, Any]:
    body = fields.get("body")
    if not isinstance(body, dict):
        raise _Wrong(Fault.INVALID_BODY, "body must be an object")
    return body


def _tagged(body: dict[str, Any]) -> tuple[dict[str, Any], Tags]:
    """Move department, feature and user from the body's metadata to the tags; other metadata stays."""
    metadata = body.get("metadata")
    if not isinstance(metadata, dict) or not metadata.keys() & Tags.model_fields.keys():
        return body, NO_TAGS
    named = {name: metadata[name] for name in Tags.model_fields if name in metadata}
    rest = {name: value for name, value in metadata.items() if name not in named}
    try:
        tags = Tags.model_validate(named)
    except ValidationError as error:
        names = ", ".join(f"metadata.{item['loc'][0]}" for item in error.errors(include_input=False))
        message = f"a tag is 1 to 128 letters, digits, blanks and .:@/+-_; look at {names}"
        raise _Wrong(Fault.INVALID_TAGS, message) from None
    without = {name: value for name, value in body.items() if name != "metadata"}
    return (without | {"metadata": rest} if rest else without), tags
