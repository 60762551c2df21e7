"""What a request is asked for before it goes out, so that its answer can be judged."""

from typing import Any

import pytest

from broker.admission import Bounds, Sender, encoded
from broker.admission import judge as admit
from broker.errors import JobRefused
from broker.identity.directory import Project, ProjectSettings
from broker.policy.answers.overlap import canary
from broker.policy.decide import Job, Judgement
from broker.policy.judge import Judge, judge
from broker.pricing.book import PriceBook
from broker.providers.routes import Routes
from broker.quota.budget import Budget
from schemas.envelope import Envelope
from schemas.reasons import Refusal
from tests.unit.broker.policy.jobs import revision, rule
from tests.unit.broker.policy.test_judge import job
from tests.unit.workers.memory import TARGET

LOOKAROUND = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"pattern": "(?=a)"}}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"$ref": "https://example.com"}}}
ROUTES = Routes({"own": TARGET})
SYSTEM = {"role": "system", "content": "You are brief."}


def of(*rules: dict[str, Any], **sections: Any) -> Judge:
    return Judge(revision(*rules, **sections))


def with_system(*messages: dict[str, Any], **fields: Any) -> Job:
    own = job("Hello, joe@example.com.")
    request = own.envelope.request | {"messages": [*messages, *own.envelope.request["messages"]]} | fields
    return own._replace(envelope=Envelope(version=1, endpoint="/v1/chat/completions", request=request))


def test_a_job_whose_answer_no_rule_is_about_is_not_marked() -> None:
    assert judge(job(), of(rule(effect="flag"))).decision.answers is None
    elsewhere = rule(when="answer.chars > 3", scope={"lane": ["bulk"]})
    assert judge(job(), of(elsewhere)).decision.answers is None


def test_a_job_whose_answer_is_to_be_judged_is_marked_and_decided_as_ever() -> None:
    plain, marked = judge(job(), of()), judge(job(), of(rule(when="answer.chars > 3")))
    assert marked.decision.answers is True
    assert (marked.decision.effect, marked.request) == (plain.decision.effect, None)


def test_a_canary_stands_at_the_end_of_the_last_system_prompt() -> None:
    parts = [{"type": "text", "text": text} for text in ("One.", "Two.")]
    developer = {"role": "developer", "content": parts}
    given = with_system(SYSTEM, developer)
    live = of(answer={"prompt_leak": {"canary": True}}, dlp={"request": {"EMAIL": "redact"}})
    judgement = judge(given, live)
    assert judgement.request is not None
    first, second, user = judgement.request["messages"]
    assert first == SYSTEM
    assert second["content"][1]["text"] == f"Two.\n\n(ref {canary(given.value_sha256)})"
    assert user["content"] == "Hello, [EMAIL_1]."
    assert given.envelope.request["messages"][1] == developer


def test_without_a_system_prompt_there_is_nothing_to_leak_and_nothing_is_put_in() -> None:
    assert judge(job(), of(answer={"prompt_leak": {"canary": True}})).request is None
    assert judge(with_system(SYSTEM), of(answer={"prompt_leak": {}})).request is None


def test_a_job_that_is_refused_gets_no_canary() -> None:
    live = of(rule(), answer={"prompt_leak": {"canary": True}})
    judgement = judge(with_system(SYSTEM), live)
    assert (judgement.decision.effect, judgement.request, judgement.decision.answers) == ("deny", None, None)


class Rules:
    def __init__(self, live: Judge) -> None:
        self._live = live

    def judge(self, given: Job) -> Judgement:
        return judge(given, self._live)


def admitted(given: Job, live: Judge) -> Any:
    project = Project(3, 2, "search", ProjectSettings())
    sender = Sender("acme", project, Budget(2, 3, "k"), "shop", "standard", given.value_sha256)
    return admit(encoded(given.envelope), sender, PriceBook.load(), Rules(live), Bounds(10**6, 64), ROUTES)


def test_a_canary_is_paid_for_like_the_rest() -> None:
    given = with_system(SYSTEM)
    plain, marked = (
        admitted(given, of(answer={"prompt_leak": {"canary": canary}})) for canary in (False, True)
    )
    assert plain.rewritten is None
    assert b"(ref " in marked.rewritten
    assert marked.estimate.input_tokens > plain.estimate.input_tokens
    assert marked.estimate.nanodollars > plain.estimate.nanodollars


@pytest.mark.parametrize(
    ("section", "fields", "param"),
    [
        ({"json_schema": True}, {"response_format": LOOKAROUND}, "response_format.json_schema.schema"),
        ({"tools": {"arguments": True}}, {"tools": [TOOL]}, "tools.0.function.parameters"),
    ],
)
def test_a_job_whose_answer_could_not_be_checked_is_refused_before_it_costs_anything(
    section: dict[str, Any], fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(JobRefused) as refused:
        admitted(with_system(**fields), of(answer=section))
    assert (refused.value.reason, refused.value.param) == (Refusal.ANSWER_SCHEMA_UNCHECKABLE, param)
    admitted(with_system(), of(answer=section))


@pytest.mark.parametrize(
    "section",
    [
        {"json_schema": True, "mode": "monitor"},
        {"json_schema": True, "effects": {"json_schema": "flag"}},
        {"tools": {"arguments": True}, "effects": {"tools": "flag"}},
        {"tools": {}},
        {"chars_max": 9},
    ],
)
def test_what_withholds_nothing_refuses_nothing(section: dict[str, Any]) -> None:
    given = with_system(response_format=LOOKAROUND, tools=[TOOL])
    assert admitted(given, of(answer=section)).decision.answers is True
