"""What becomes of answers: denied, redacted, flagged, or let pass, and told by rules and digests alone."""

from hashlib import sha256
from itertools import zip_longest
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from broker.policy.answers.judge import TOO_MUCH, UNREADABLE, AnswerJudge, AnswerJudgement
from broker.policy.answers.reading import DEPTH_MAX, TEXTS_MAX
from broker.policy.dlp.errors import TooMuchFound
from tests.unit.broker.policy.answers.judging import answered, call, chat, judge_of, judged, outcome
from tests.unit.broker.policy.jobs import job, rule

MAIL, CARD, SECRET = "joe.doe@example.com", "4111111111111111", "ghp_0123456789abcdefghijABCDEFGHIJ012345"
DLP = {"answer": {"EMAIL": "redact", "CREDIT_CARD": "redact", "PHONE": "flag", "SECRET": "block"}}
ALL = judge_of(
    rule("long", "answer.chars > 50000", "flag"),
    rule("copies", "answer.prompt_overlap > 10 && answer.choices < 3", "flag"),
    dlp=DLP,
    answer={
        "chars_max": 100_000,
        "forbidden_words": ["sluicegate"],
        "required_words": ["regards"],
        "json_schema": True,
        "prompt_leak": {"canary": True},
        "tools": {"arguments": True},
        "effects": {"required_words": "flag"},
    },
)


@pytest.fixture
def dlp() -> AnswerJudge:
    return judge_of(dlp=DLP)


def choice(judgement: AnswerJudgement, number: int = 0) -> Any:
    return orjson.loads(judgement.body)["choices"][number]


def test_an_answer_without_anything_passes_as_it_came(dlp: AnswerJudge) -> None:
    judgement = judged(dlp, chat("Good morning."))
    assert judgement.decision.effect == "allow"
    assert judgement.body == orjson.dumps(chat("Good morning."))
    assert judgement.decision.response_sha256 == sha256(judgement.body).hexdigest()


def test_what_goes_on_is_what_was_judged(dlp: AnswerJudge) -> None:
    """A name that stands twice is read once."""
    twice = b'{"choices":[{"message":{"content":"%s"}}],"choices":[{"message":{"content":"Hello."}}]}'
    judgement = judged(dlp, twice % MAIL.encode())
    assert judgement.decision.effect == "allow"
    assert MAIL.encode() not in judgement.body


def test_data_that_is_blocked_withholds_the_answer(dlp: AnswerJudge) -> None:
    judgement = judged(dlp, chat(f"The key is {SECRET}."))
    decision = judgement.decision
    assert judgement.is_withheld
    assert (decision.rule, decision.reason, decision.types) == ("dlp.answer.secret", "rule", (("SECRET", 1),))
    assert SECRET not in decision.model_dump_json()


def test_data_is_taken_out_wherever_it_stands(dlp: AnswerJudge) -> None:
    message = {
        "content": [{"type": "text", "text": f"Write to {MAIL}."}],
        "reasoning_content": f"The address is {MAIL}, I think, or jane@example.com.",
        "tool_calls": [call("send", orjson.dumps({"to": MAIL, "card": int(CARD)}).decode())],
        "annotations": [{"type": "url_citation", "url_citation": {"title": f"About {MAIL}"}}],
    }
    judgement = judged(dlp, chat(message))
    assert judgement.decision.effect == "redact"
    assert judgement.decision.redacted == ("CREDIT_CARD", "EMAIL")
    found = choice(judgement)["message"]
    assert found["content"][0]["text"] == "Write to [EMAIL_1]."
    assert found["reasoning_content"] == "The address is [EMAIL_1], I think, or [EMAIL_2]."
    arguments = orjson.loads(found["tool_calls"][0]["function"]["arguments"])
    assert arguments == {"to": "[EMAIL_1]", "card": "[CREDIT_CARD_1]"}
    assert found["annotations"][0]["url_citation"]["title"] == "About [EMAIL_1]"


def test_data_that_is_split_over_parts_is_found_and_taken_out(dlp: AnswerJudge) -> None:
    parts = [{"type": "text", "text": text} for text in ("Write to joe.doe@exam", "ple.com today.")]
    judgement = judged(dlp, chat({"content": parts}))
    assert judgement.decision.redacted == ("EMAIL",)
    found = [part["text"] for part in choice(judgement)["message"]["content"]]
    assert found == ["Write to [EMAIL_1]", "[EMAIL_2] today."]


def test_log_probabilities_do_not_spell_what_was_taken_out(dlp: AnswerJudge) -> None:
    tokens: list[dict[str, Any]] = [
        {"token": piece, "logprob": -1, "top_logprobs": []} for piece in ("joe.", "doe@", "example.com")
    ]
    judgement = judged(dlp, chat(MAIL, "Nothing here.", logprobs={"content": tokens}))
    assert choice(judgement)["message"]["content"] == "[EMAIL_1]"
    assert choice(judgement)["logprobs"] is None
    assert choice(judgement, 1)["logprobs"] is None, "they spell what its text does not"


def test_log_probabilities_of_a_text_are_not_counted_again(dlp: AnswerJudge) -> None:
    tokens = [{"token": piece, "logprob": -1} for piece in ("joe.", "doe@", "example.com")]
    judgement = judged(dlp, chat(MAIL, logprobs={"content": tokens, "refusal": None}))
    assert judgement.decision.types == (("EMAIL", 1),)


def alternatives(*ranks: str, legacy: bool = False) -> dict[str, Any]:
    """Log probabilities with a token for each letter; the ranks are what might have been said instead."""
    places = [list(place) for place in zip_longest(*ranks, fillvalue="")]
    if legacy:
        return {"tokens": ["x"] * len(places), "top_logprobs": [dict.fromkeys(place, -1) for place in places]}
    return {
        "content": [
            {"token": "x", "logprob": -9, "top_logprobs": [{"token": each, "logprob": -1} for each in place]}
            for place in places
        ]
    }


@pytest.mark.parametrize("legacy", [False, True])
def test_nor_do_they_tell_what_the_model_was_kept_from_saying(dlp: AnswerJudge, legacy: bool) -> None:
    spelled = alternatives("0" * len(MAIL), MAIL, legacy=legacy)
    judgement = judged(dlp, chat("x" * len(MAIL), "Nothing here.", logprobs=spelled))
    assert judgement.decision.redacted == ("EMAIL",)
    assert choice(judgement)["logprobs"] is None
    assert choice(judgement)["message"]["content"] == "x" * len(MAIL)
    assert outcome(dlp, chat("x", logprobs=alternatives(SECRET, legacy=legacy))) == (
        "deny",
        "dlp.answer.secret",
    )


def test_alternatives_that_say_nothing_stay_and_are_not_counted_as_said(dlp: AnswerJudge) -> None:
    spelled = alternatives("xxx", "yes", "nay")
    judgement = judged(dlp, chat("xxx", logprobs=spelled))
    assert choice(judgement)["logprobs"] == spelled
    by_length = judge_of(answer={"chars_max": 3})
    assert outcome(by_length, chat("xxx", logprobs=spelled)) == ("allow", None)
    forbids = judge_of(answer={"forbidden_words": ["nay"]})
    assert outcome(forbids, chat("xxx", logprobs=spelled)) == ("deny", "answer.forbidden_words")
    by_name = judge_of(
        dlp={"answer": {"X": "block"}, "patterns": [{"type": "X", "pattern": "logprob|token"}]}
    )
    assert outcome(by_name, chat("xxx", logprobs=spelled)) == ("allow", None), "the API's own names"


def test_alternatives_of_another_form_are_read_whole(dlp: AnswerJudge) -> None:
    token = {"token": "x", "logprob": -1, "top_logprobs": [{"token": "y", "beside": [SECRET]}]}
    assert outcome(dlp, chat("x", logprobs={"content": [token]})) == ("deny", "dlp.answer.secret")
    assert outcome(dlp, chat("x", logprobs={"top_logprobs": {SECRET: -1}})) == ("deny", "dlp.answer.secret")


def test_names_of_properties_are_read_too(dlp: AnswerJudge) -> None:
    message = {
        "tool_calls": [
            {"type": "function", "function": {"name": "f", "arguments": {MAIL: {MAIL: 1}, "b": MAIL}}}
        ],
        "provider_fields": {"x": 1, f"to {MAIL}": f"of {MAIL}", "jane@example.com": [], "y": 2},
    }
    judgement = judged(dlp, chat(message) | {MAIL: 1})
    assert judgement.decision.types == (("EMAIL", 7),)
    found = choice(judgement)["message"]
    arguments = found["tool_calls"][0]["function"]["arguments"]
    assert arguments == {"[EMAIL_1]": {"[EMAIL_1]": 1}, "b": "[EMAIL_1]"}
    fields = {"x": 1, "to [EMAIL_1]": "of [EMAIL_1]", "[EMAIL_2]": [], "y": 2}
    assert list(found["provider_fields"].items()) == list(fields.items())
    assert orjson.loads(judgement.body)["[EMAIL_1]"] == 1
    assert outcome(dlp, chat({"beside": {SECRET: 1}})) == ("deny", "dlp.answer.secret")


def test_names_in_arguments_are_read_as_they_are_meant(dlp: AnswerJudge) -> None:
    escaped = '{"\\u006aoe.doe\\u0040example.com": {"' + MAIL + '": 1}}'
    judgement = judged(dlp, chat({"tool_calls": [call("f", escaped)]}))
    arguments = choice(judgement)["message"]["tool_calls"][0]["function"]["arguments"]
    assert judgement.decision.types == (("EMAIL", 2),)
    assert MAIL not in str(orjson.loads(arguments))


def test_many_names_take_linear_time(dlp: AnswerJudge) -> None:
    names = {f"p{n}@example.com": 1 for n in range(9_000)}
    judgement = judged(dlp, chat({"beside": names}))
    assert len(choice(judgement)["message"]["beside"]) == 9_000
    assert b"@" not in judgement.body


def test_what_will_be_put_back_is_neither_found_nor_given_out_again(dlp: AnswerJudge) -> None:
    own = answered(chat(f"To [EMAIL_1], not to {MAIL}."), tokens={"[EMAIL_1]": "jane@example.com"})
    judgement = dlp.judge(own)
    assert judgement.decision.types == (("EMAIL", 1),)
    assert choice(judgement)["message"]["content"] == "To [EMAIL_1], not to [EMAIL_2]."


def test_what_the_server_says_of_itself_is_no_text_of_the_answer() -> None:
    judge = judge_of(dlp={"answer": {"X": "block"}, "patterns": [{"type": "X", "pattern": "chatcmpl-[0-9]"}]})
    assert outcome(judge, chat("Good morning.")) == ("allow", None)
    assert outcome(judge, chat("chatcmpl-1")) == ("deny", "dlp.answer.x")
    assert outcome(judge, chat("Good.") | {"beside": ["chatcmpl-1"]}) == ("deny", "dlp.answer.x")


def test_a_flag_is_told_and_nothing_more(dlp: AnswerJudge) -> None:
    response = chat("Call +1 415-779-9194.")
    judgement = judged(dlp, response)
    assert (judgement.decision.effect, judgement.decision.rules) == ("flag", ("dlp.answer.phone",))
    assert judgement.body == orjson.dumps(response)


def test_what_is_monitored_is_told_and_lets_pass() -> None:
    judge = judge_of(
        rule("m", "answer.choices > 0", mode="monitor"), answer={"chars_max": 1, "mode": "monitor"}
    )
    decision = judged(judge, chat("Good morning.")).decision
    assert (decision.effect, decision.rules, set(decision.monitored)) == ("allow", (), {"m", "answer.length"})


def test_an_exception_lifts_a_check() -> None:
    judge = judge_of(
        rule("may", "answer.chars < 1000", "allow", priority=5, scope={"application": ["support-bot"]}),
        answer={"chars_max": 1},
    )
    assert outcome(judge, chat("Good morning.")) == ("allow", "may")


def test_rules_read_the_request_and_the_answer() -> None:
    judge = judge_of(
        rule(
            "r", "request.model == 'gpt-4o-mini' && answer.finish_reason == 'length' && answer.refusals == 1"
        )
    )
    cut = chat("Good", {"refusal": "No."}, finish_reason="length")
    assert outcome(judge, cut) == ("deny", "r")
    assert outcome(judge, cut, {"model": "gpt-4o"}) == ("allow", None)


def test_whose_answers_no_rule_is_about_is_known_before_they_come() -> None:
    judge = judge_of(rule("r", "answer.chars > 0", scope={"project": ["support"], "lane": ["bulk"]}))
    assert judge.concerns(job(lane="bulk"))
    assert not judge.concerns(job())
    assert not judge.concerns(job(project="sales", lane="bulk"))


def test_a_decision_is_of_one_answer_under_one_revision(dlp: AnswerJudge) -> None:
    ids = [judged(dlp, chat(text)).decision.id for text in ("one", "two", "one")]
    assert ids[0] == ids[2] != ids[1]
    assert judged(judge_of(dlp=DLP, answer={"chars_max": 9}), chat("one")).decision.id != ids[0]


# what cannot be judged


@pytest.mark.parametrize(
    ("response", "named"),
    [
        (b"no JSON", UNREADABLE),
        (
            chat({"content": "x", "deep": orjson.Fragment(b"[" * (DEPTH_MAX + 9) + b"]" * (DEPTH_MAX + 9))}),
            TOO_MUCH,
        ),
        (chat({"content": [{"type": "text", "text": str(n)} for n in range(TEXTS_MAX)]}), TOO_MUCH),
        (chat(" ".join(f"joe{n}@example.com" for n in range(10_001))), TooMuchFound.code),
    ],
)
def test_what_cannot_be_judged_is_withheld(dlp: AnswerJudge, response: Any, named: str) -> None:
    judgement = judged(dlp, response)
    assert judgement.is_withheld
    assert (judgement.decision.reason, judgement.decision.rule) == ("policy_error", named)


def test_where_all_is_monitored_what_cannot_be_judged_passes_and_is_told() -> None:
    judge = judge_of(dlp=DLP | {"mode": "monitor"})
    decision = judged(judge, b"no JSON").decision
    assert (decision.effect, decision.monitored) == ("allow", (UNREADABLE,))


def test_a_check_that_breaks_denies_as_an_error() -> None:
    judge = judge_of(answer={"json_schema": True})
    loop = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"$ref": "#"}}}
    decision = judged(judge, chat("1"), {"response_format": loop}).decision
    assert (decision.effect, decision.reason, decision.rule) == ("deny", "policy_error", "answer.json_schema")


def test_a_monitored_check_that_breaks_denies_nothing() -> None:
    judge = judge_of(answer={"json_schema": True, "mode": "monitor"})
    loop = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"$ref": "#"}}}
    decision = judged(judge, chat("1"), {"response_format": loop}).decision
    assert (decision.effect, decision.monitored) == ("allow", ("answer.json_schema",))


# whatever comes

NAMES = [
    *("choices", "message", "content", "refusal", "tool_calls", "function", "name", "arguments", "type"),
    *("text", "logprobs", "token", "finish_reason", "function_call", "data", "embedding"),
]
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(NAMES) | st.text(max_size=8),
            inner,
            max_size=5,
        )
    ),
    max_leaves=30,
)
choices = st.fixed_dictionaries({"message": values}, optional={"finish_reason": values, "logprobs": values})
FORMS: list[dict[str, Any]] = [
    {},
    {"response_format": {"type": "json_object"}},
    {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}},
    {
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        "tool_choice": None,
    },
]


@given(
    response=st.dictionaries(st.sampled_from(NAMES), values, max_size=4)
    | st.fixed_dictionaries({"choices": st.lists(values | choices, max_size=3)}),
    form=st.sampled_from(FORMS),
)
@example(response={"choices": []}, form={})
@example(response={"choices": [None, "joe@example.com", ["joe@example.com"], 3]}, form=FORMS[1])
@example(response={"choices": [{"message": None, "logprobs": "joe@example.com"}]}, form=FORMS[2])
@example(response={"data": [{"embedding": "AAAA", "object": "joe@example.com"}]}, form={})
@example(response={"choices": [{"message": {"tool_calls": [{"function": "x"}, None]}}]}, form=FORMS[3])
def test_any_json_is_judged_and_nothing_redacted_is_left(response: Any, form: dict[str, Any]) -> None:
    judgement = judged(ALL, response, form)
    assert judgement.decision.rule not in {UNREADABLE, TOO_MUCH}
    again = orjson.loads(judgement.body)
    if judgement.decision.effect == "redact":
        assert dict(judged(ALL, again, form).decision.types).keys().isdisjoint({"EMAIL", "CREDIT_CARD"})
    else:
        assert again == response


@given(
    response=st.binary(max_size=200).map(lambda end: b"\xff" + end)
    | st.sampled_from([b"null", b'"x"', b"[]"])
)
def test_what_is_no_json_object_is_withheld(response: bytes) -> None:
    assert judged(ALL, response).decision.rule == UNREADABLE


def test_a_huge_answer_is_judged() -> None:
    words = " ".join(f"word{n % 977} and{n % 1009}" for n in range(120_000))
    decision = judged(ALL, chat(words)).decision
    assert (decision.effect, decision.rule) == ("deny", "answer.length")
