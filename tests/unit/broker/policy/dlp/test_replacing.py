import json

from hypothesis import given
from hypothesis import strategies as st

from broker.policy.dlp.replacing import Placeholders, redact, replace, restore, restore_in_json, tokenize
from broker.policy.dlp.spans import Kind, Span

TEXT = "joe@x.io, ann@x.io, joe@x.io"
SPANS = (Span(0, 8, Kind.EMAIL), Span(10, 18, Kind.EMAIL), Span(20, 28, Kind.EMAIL))


def test_the_same_value_has_the_same_number() -> None:
    assert redact(TEXT, SPANS) == "[EMAIL_1], [EMAIL_2], [EMAIL_1]"


def test_numbers_go_on_through_a_job_s_messages() -> None:
    placeholders = Placeholders([TEXT, "ann@x.io"])
    replace(TEXT, SPANS, placeholders.tokenize)
    assert replace("ann@x.io", [Span(0, 8, Kind.EMAIL)], placeholders.tokenize) == "[EMAIL_2]"
    assert placeholders.mapping == {"[EMAIL_1]": "joe@x.io", "[EMAIL_2]": "ann@x.io"}


def test_a_placeholder_that_stands_in_the_text_is_not_given_out() -> None:
    text = "[EMAIL_1] joe@x.io"
    tokenized, mapping = tokenize(text, [Span(10, 18, Kind.EMAIL)])
    assert tokenized == "[EMAIL_1] [EMAIL_2]"
    assert restore(tokenized, mapping) == text


def test_a_redaction_of_the_answer_is_no_token_of_the_request() -> None:
    _, mapping = tokenize("joe@x.io", [Span(0, 8, Kind.EMAIL)])
    answer = replace(
        "ann@x.io", [Span(0, 8, Kind.EMAIL)], Placeholders(["ann@x.io"], reserved=mapping).redact
    )
    assert restore(answer, mapping) == "[EMAIL_2]"


def test_a_redaction_is_not_kept() -> None:
    placeholders = Placeholders([TEXT])
    replace(TEXT, SPANS, placeholders.redact)
    assert placeholders.mapping == {}


def test_a_value_is_put_back_once_and_not_looked_through() -> None:
    mapping = {"[EMAIL_1]": "[EMAIL_2]", "[EMAIL_2]": "x"}
    assert restore("[EMAIL_1][EMAIL_2][EMAIL_3]", mapping) == "[EMAIL_2]x[EMAIL_3]"


@given(st.text())
def test_what_is_put_back_into_json_leaves_it_json(value: str) -> None:
    restored = restore_in_json('{"to": "[EMAIL_1]"}', {"[EMAIL_1]": value})
    assert json.loads(restored) == {"to": value}
