"""What policy took out comes back in the answer, for the same job alone."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.policy.dlp.errors import TokenMapTooLarge, TokenMapUnreadable
from broker.policy.tokens import RESTORED_BYTES_MAX, put_back, seal, unseal
from tests.unit.workers.memory import state

KEY = bytes(range(32))
MAPPING = {"[EMAIL_1]": "joe@example.com", "[NOTE_1]": 'a "quoted" \\ back\nslash ü'}


def answer(**message: Any) -> bytes:
    return orjson.dumps({"id": "x", "choices": [{"index": 0, "message": {"role": "assistant", **message}}]})


def message(body: bytes) -> Any:
    return orjson.loads(body)["choices"][0]["message"]


def test_a_map_is_opened_by_the_job_and_run_that_it_was_sealed_for() -> None:
    sealed = seal(KEY, state(), MAPPING)
    assert unseal(KEY, state(attempt=4), sealed) == MAPPING
    assert unseal(KEY, state(), None) == {}
    for other in (state(run=2), state(application="other")):
        with pytest.raises(TokenMapUnreadable):
            unseal(KEY, other, sealed)


def test_a_map_that_no_header_carries_is_refused() -> None:
    with pytest.raises(TokenMapTooLarge):
        seal(KEY, state(), {f"[EMAIL_{n}]": f"{n:040}@example.com" for n in range(50_000)})


def test_values_stand_where_the_answer_repeats_their_placeholders() -> None:
    body = answer(content="Written to [EMAIL_1], not [EMAIL_2]: [NOTE_1]", refusal=None)
    assert message(put_back(body, MAPPING)) == {
        "role": "assistant",
        "content": f"Written to joe@example.com, not [EMAIL_2]: {MAPPING['[NOTE_1]']}",
        "refusal": None,
    }


def test_a_tool_call_s_arguments_stay_json() -> None:
    call = {"function": {"name": "mail", "arguments": json.dumps({"to": "[EMAIL_1]", "text": "[NOTE_1]"})}}
    [found] = message(put_back(answer(tool_calls=[call]), MAPPING))["tool_calls"]
    assert json.loads(found["function"]["arguments"]) == {
        "to": "joe@example.com",
        "text": MAPPING["[NOTE_1]"],
    }


def test_what_has_no_tokens_is_passed_on_byte_for_byte() -> None:
    body = b' {"choices": [ ]}'
    assert put_back(body, {}) is body


def test_an_answer_does_not_grow_without_bound() -> None:
    body = answer(content="[NOTE_1]" * 200_000)
    assert put_back(body, {"[NOTE_1]": "x" * 4_000}) is body
    assert len(body) < RESTORED_BYTES_MAX


@given(st.recursive(st.none() | st.text() | st.integers(-9, 9), lambda each: st.lists(each, max_size=4)))
def test_what_holds_no_placeholder_stays_as_it_is(content: Any) -> None:
    assert message(put_back(answer(content=content), {"[EMAIL_1]": "x"}))["content"] == content


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50))
def test_any_value_comes_back(value: str) -> None:
    found = message(put_back(answer(content="<[EMAIL_1]>"), {"[EMAIL_1]": value}))
    assert found["content"] == f"<{value}>"


def test_into_structured_output_values_go_as_json() -> None:
    quoted = {"[NAME_1]": 'Joe "the lock" Doe\\'}
    text = orjson.dumps({"who": "[NAME_1]", "list": ["[NAME_1]"]}).decode()
    found = orjson.loads(message(put_back(answer(content=text), quoted))["content"])
    assert found == {"who": quoted["[NAME_1]"], "list": [quoted["[NAME_1]"]]}
    prose = message(put_back(answer(content="[NAME_1] {"), quoted))["content"]
    assert prose == f"{quoted['[NAME_1]']} {{"


def test_an_answer_too_deep_to_be_written_anew_keeps_its_placeholders() -> None:
    deep = b'{"choices":[{"message":{"content":"[EMAIL_1]","x":' + b"[" * 300 + b"]" * 300 + b"}}]}"
    assert put_back(deep, MAPPING) == deep
