"""Each line is a request, a malformed line with a stable code, or blank; parsing never fails."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headworks.batch.lines import Line
from headworks.batch.requests import Fault, Malformed, Request, parse
from schemas.envelope import Tags

BODY: dict[str, Any] = {"model": "m", "messages": []}
GOOD: dict[str, Any] = {
    "custom_id": "a",
    "method": "POST",
    "url": "/v1/chat/completions",
    "body": BODY,
}


def parsed(fields: object) -> Request | Malformed | None:
    return parse(Line(7, orjson.dumps(fields)))


def test_a_request_is_taken_apart() -> None:
    assert parsed(GOOD | {"more": 1}) == Request(7, "a", "/v1/chat/completions", BODY, Tags())
    embeddings = parsed(GOOD | {"url": "/v1/embeddings"})
    assert isinstance(embeddings, Request)
    assert embeddings.endpoint == "/v1/embeddings"


@pytest.mark.parametrize(
    ("fields", "fault", "custom_id"),
    [
        ([], Fault.INVALID_JSON, None),
        ({}, Fault.MISSING_CUSTOM_ID, None),
        (GOOD | {"custom_id": 7}, Fault.MISSING_CUSTOM_ID, None),
        (GOOD | {"custom_id": ""}, Fault.MISSING_CUSTOM_ID, None),
        (GOOD | {"method": "GET"}, Fault.UNSUPPORTED_METHOD, "a"),
        (GOOD | {"url": "/v1/images"}, Fault.UNSUPPORTED_URL, "a"),
        (GOOD | {"url": ["/v1/embeddings"]}, Fault.UNSUPPORTED_URL, "a"),
        (GOOD | {"body": "x"}, Fault.INVALID_BODY, "a"),
        (GOOD | {"body": BODY | {"metadata": {"user": ""}}}, Fault.INVALID_TAGS, "a"),
        (GOOD | {"body": BODY | {"metadata": {"user": 5}}}, Fault.INVALID_TAGS, "a"),
    ],
)
def test_a_malformed_line_has_a_code(fields: object, fault: Fault, custom_id: str | None) -> None:
    malformed = parsed(fields)
    assert isinstance(malformed, Malformed)
    assert (malformed.number, malformed.custom_id, malformed.fault) == (7, custom_id, fault)


def test_what_is_no_json_is_told_by_its_place() -> None:
    malformed = parse(Line(7, b'{"a": }'))
    assert isinstance(malformed, Malformed)
    assert (malformed.fault, malformed.message[:8]) == (Fault.INVALID_JSON, "not JSON")
    assert "column 7" in malformed.message


def test_a_line_that_was_too_long_is_malformed_and_a_blank_one_is_nothing() -> None:
    too_long = parse(Line(7, None))
    assert isinstance(too_long, Malformed)
    assert too_long.fault == Fault.LINE_TOO_LONG
    assert parse(Line(7, b" \t")) is None


def test_who_is_charged_moves_from_the_metadata_to_the_tags() -> None:
    metadata = {"department": "ops", "user": "a@b.c", "trace": "t1"}
    request = parsed(GOOD | {"body": BODY | {"metadata": metadata}})
    assert isinstance(request, Request)
    assert request.tags == Tags(department="ops", user="a@b.c")
    assert request.body == BODY | {"metadata": {"trace": "t1"}}


def test_metadata_of_nothing_else_goes_away_with_its_tags() -> None:
    request = parsed(GOOD | {"body": BODY | {"metadata": {"feature": "search"}}})
    assert isinstance(request, Request)
    assert request.body == BODY


@given(st.binary(max_size=200))
def test_no_bytes_make_parsing_fail(raw: bytes) -> None:
    parse(Line(1, raw))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)
wild = st.fixed_dictionaries({}, optional=dict.fromkeys(("custom_id", "method", "url", "body"), json_values))


@given(st.one_of(json_values, wild, wild.map(lambda fields: GOOD | fields)))
def test_no_json_makes_parsing_fail(fields: object) -> None:
    try:
        raw = orjson.dumps(fields)
    except TypeError:
        return
    parse(Line(1, raw))
