"""DISPATCH under rules about answers: nothing unchecked leaves it, and every call is paid for as it was."""

import hashlib
from typing import Any

import orjson
import pytest

from broker.errors import DatabaseUnavailable
from broker.policy import tokens
from broker.policy.answers.judge import AnswerJudge
from broker.policy.judge import Judge
from broker.providers.provider import Answer, Failed
from schemas.outcomes import Answered, Expired, Refused
from schemas.reasons import Failure, Refusal
from schemas.state import Decision, Usage
from tests.unit.broker.policy.answers.judging import chat
from tests.unit.broker.policy.jobs import revision, rule
from tests.unit.workers.dispatching import Bench
from tests.unit.workers.memory import NOW_MS
from workers import caller
from workers.judging import AT_ONCE_BYTES_MAX

MAIL = "joe.doe@example.com"
USAGE = Usage(input_tokens=10, output_tokens=5)
REVISION = "r" * 64
MARKED = Decision(id="d" * 32, revision=REVISION, effect="allow", answers=True)
DENIES: dict[str, Any] = {"dlp": {"answer": {"EMAIL": "block"}}}
REDACTS: dict[str, Any] = {"dlp": {"answer": {"EMAIL": "redact"}}}


class Revisions:
    """One, by `REVISION`. `away`: so often the database is."""

    def __init__(self, judge: AnswerJudge | None, away: int = 0) -> None:
        self._judge = judge
        self.away = away
        self.shadow: Judge | None = None
        self.asked: list[str] = []

    def candidate(self, project_id: int) -> Judge | None:
        return self.shadow

    async def answers(self, revision: str) -> AnswerJudge | None:
        self.asked.append(revision)
        if self.away:
            self.away -= 1
            raise DatabaseUnavailable("away")
        return self._judge


def revisions(*rules: dict[str, Any], away: int = 0, **sections: Any) -> Revisions:
    return Revisions(Judge(revision(*rules, **sections)).answers, away)


def judge_of(document: dict[str, Any]) -> Judge:
    rules = document.get("rules", [])
    return Judge(revision(*rules, **{name: each for name, each in document.items() if name != "rules"}))


def bench_under(live: dict[str, Any] | None, candidate: dict[str, Any] | None) -> Bench:
    """`live`: None where no rule is about the answer."""
    policy = Revisions(None if live is None else judge_of(live).answers)
    policy.shadow = None if candidate is None else judge_of(candidate)
    return bench_of(policy, **({"decision": None} if live is None else {}))


def bench_of(policy: Revisions, **fields: Any) -> Bench:
    return Bench(policy=policy, **({"decision": MARKED, "endpoint": "/v1/chat/completions"} | fields))


def says(content: str) -> Answer:
    body = orjson.dumps(chat(content))
    return Answer(200, body, USAGE, hashlib.sha256(body).hexdigest(), 5)


async def ended(bench: Bench, *results: Answer | Failed) -> dict[str, Any]:
    """The reply."""
    bench.provider.results.extend(results)
    assert await bench.handle()
    reply: dict[str, Any] = orjson.loads(bench.producer.sent[-1].value)
    return reply


async def test_an_answer_that_policy_denies_is_nowhere_and_is_paid_for_by_its_usage() -> None:
    bench = bench_of(revisions(**DENIES))
    answer = says(f"Write to {MAIL}.")
    reply = await ended(bench, answer)
    [record] = bench.producer.sent
    told = record.value + b"".join(content for _, content in record.headers)
    assert MAIL.encode() not in told
    state = bench.last
    assert state.answer is not None
    assert isinstance(state.outcome, Refused)
    assert (state.outcome.reason, state.outcome.stage) == (Refusal.ANSWER_REFUSED, "dispatch")
    assert state.outcome.response_sha256 == answer.response_sha256 == state.answer.response_sha256
    assert state.outcome.request_sha256 == hashlib.sha256(bench.provider.calls[0].body).hexdigest()
    assert (state.answer.rule, state.answer.types) == ("dlp.answer.email", (("EMAIL", 1),))
    [charge] = state.charges
    assert (charge.verdict, charge.usage, charge.estimated) == ("answered", USAGE, False)
    assert 0 < charge.nanodollars == reply["cost_nanodollars"]
    assert (reply["status"], reply["error"]["code"]) == ("refused", "answer_refused")
    assert reply["error"]["message"] == f"decision {state.answer.id}, rule dlp.answer.email"
    assert bench.ledger.verdicts == []


async def test_an_answer_that_may_be_had_costs_the_same_as_one_that_may_not() -> None:
    denied = await ended(bench_of(revisions(**DENIES)), says(MAIL))
    redacted = await ended(bench_of(revisions(**REDACTS)), says(MAIL))
    assert denied["cost_nanodollars"] == redacted["cost_nanodollars"]


async def test_data_is_taken_out_before_anybody_gets_the_answer() -> None:
    bench = bench_of(revisions(**REDACTS))
    answer = says(f"Write to {MAIL}.")
    reply = await ended(bench, answer)
    assert reply["response"]["choices"][0]["message"]["content"] == "Write to [EMAIL_1]."
    state = bench.last
    assert isinstance(state.outcome, Answered)
    assert state.outcome.response_sha256 == answer.response_sha256, "of what the provider answered"
    assert state.answer is not None
    assert (state.answer.effect, state.answer.redacted) == ("redact", ("EMAIL",))


async def test_detectors_are_shown_the_answer_as_it_passed_and_none_that_is_withheld() -> None:
    shown: list[bytes] = []
    for policy in (revisions(**REDACTS), revisions(**DENIES)):
        bench = bench_of(policy)
        bench.dispatch.caller.show = lambda _, body: shown.append(body)
        await ended(bench, says(f"Write to {MAIL}."))
    [body] = shown
    assert orjson.loads(body)["choices"][0]["message"]["content"] == "Write to [EMAIL_1]."


async def test_what_the_request_had_taken_out_comes_back_and_is_not_found() -> None:
    policy = revisions(**DENIES)
    bench = bench_of(policy)
    sealed = tokens.seal(bench.token_key, bench.bring(decision=MARKED), {"[EMAIL_1]": MAIL})
    bench.bring(tokens=sealed, decision=MARKED, tokens_sha256=hashlib.sha256(sealed).hexdigest())
    reply = await ended(bench, says("Write to [EMAIL_1]."))
    assert reply["response"]["choices"][0]["message"]["content"] == f"Write to {MAIL}."


def compared(bench: Bench) -> dict[tuple[str, str, str], float]:
    """How many answers, by effects and whether they are the same."""
    return {
        (sample.labels["live"], sample.labels["candidate"], sample.labels["same"]): sample.value
        for family in bench.metrics.registry.collect()
        for sample in family.samples
        if sample.name == "headworks_policy_shadow_answers_total"
    }


FLAGS: dict[str, Any] = {"dlp": {"answer": {"EMAIL": "flag"}}}
MORE: dict[str, Any] = FLAGS | {"rules": [rule("more", "answer.chars > 0", effect="flag")]}
ELSEWHERE: dict[str, Any] = {"rules": [rule(when="answer.chars > 0", scope={"project": ["other"]})]}
ASKS: dict[str, Any] = {"rules": [rule("asks")]}


@pytest.mark.parametrize(
    ("live", "candidate", "found"),
    [
        (REDACTS, DENIES, {("redact", "deny", "no"): 1}),
        (DENIES, REDACTS, {("deny", "redact", "no"): 1}),
        (REDACTS, REDACTS | {"description": "Other words."}, {("redact", "redact", "yes"): 1}),
        (
            FLAGS,
            FLAGS | {"rules": [rule("more", "answer.chars > 0", effect="flag")]},
            {("flag", "flag", "no"): 1},
        ),
        (None, DENIES, {("allow", "deny", "no"): 1}),
        (DENIES, ASKS, {("deny", "allow", "no"): 1}),
        (REDACTS, ELSEWHERE, {("redact", "allow", "no"): 1}),
        (None, ASKS, {}),
        (None, ELSEWHERE, {}),
        (REDACTS, None, {}),
    ],
)
async def test_a_candidate_in_the_shadow_judges_answers_too_and_nothing_comes_of_it_but_counts(
    live: dict[str, Any] | None, candidate: dict[str, Any] | None, found: dict[tuple[str, str, str], float]
) -> None:
    alone, shadowed = bench_under(live, None), bench_under(live, candidate)
    replies = [await ended(bench, says(f"Write to {MAIL}.")) for bench in (alone, shadowed)]
    assert replies[0] == replies[1]
    assert len(shadowed.producer.sent) == 1
    assert shadowed.last.answer == alone.last.answer
    assert compared(alone) == {}
    assert compared(shadowed) == found


async def test_a_candidate_that_breaks_breaks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = revisions(**REDACTS)
    policy.shadow = Judge(revision(**DENIES))
    bench = bench_of(policy)

    async def breaks(*_: object) -> None:
        assert len(bench.producer.sent) == 1, "the answer is on its way by then"
        raise RuntimeError

    monkeypatch.setattr(caller, "comparison", breaks)
    assert (await ended(bench, says(MAIL)))["status"] == "answered"
    labels = {"stage": "dispatch", "code": "internal_error"}
    assert bench.metrics.registry.get_sample_value("headworks_troubles_total", labels) == 1


async def test_a_long_answer_is_judged_too() -> None:
    reply = await ended(bench_of(revisions(**DENIES)), says("x " * AT_ONCE_BYTES_MAX + MAIL))
    assert reply["error"]["code"] == "answer_refused"


async def test_an_answer_that_cannot_be_judged_ends_as_an_error_of_policy() -> None:
    body = b"[]"
    answer = Answer(200, body, USAGE, hashlib.sha256(body).hexdigest(), 5)
    reply = await ended(bench_of(revisions(**DENIES)), answer)
    assert reply["error"]["code"] == "policy_error"


async def test_rules_see_whose_job_it_is() -> None:
    when = "organization == 'acme' && project == 'p' && lane == 'standard' && answer.chars > 0"
    assert (await ended(bench_of(revisions(rule(when=when))), says("x")))["status"] == "refused"


async def test_without_rules_about_answers_nobody_is_asked() -> None:
    policy = revisions(**DENIES)
    for decision in (None, Decision(id="d", revision=REVISION, effect="allow")):
        bench = bench_of(policy, decision=decision)
        assert (await ended(bench, says(MAIL)))["status"] == "answered"
        assert bench.last.answer is None
    assert policy.asked == []


async def test_a_revision_that_is_gone_costs_no_call() -> None:
    bench = bench_of(Revisions(None))
    reply = await ended(bench)
    assert (reply["status"], reply["error"]["code"], reply["cost_nanodollars"]) == (
        "refused",
        "policy_error",
        0,
    )
    assert (bench.provider.calls, bench.ledger.intents) == ([], {})


async def test_while_the_revision_cannot_be_read_the_job_waits_and_nothing_is_called() -> None:
    policy = revisions(away=2, **DENIES)
    bench = bench_of(policy)

    async def called() -> None:
        policy.asked.append("called")

    bench.provider.during = called
    assert (await ended(bench, says(MAIL)))["status"] == "refused"
    assert policy.asked == [REVISION, REVISION, REVISION, "called"]


async def test_a_job_whose_deadline_passes_while_it_waits_for_its_revision_expires() -> None:
    policy = revisions(away=9, **DENIES)
    bench = bench_of(policy, deadline_ms=NOW_MS + 60_000)
    with pytest.raises(AssertionError):
        await ended(bench)
    bench.later_ms = 61_000
    await ended(bench)
    assert isinstance(bench.last.outcome, Expired)
    assert bench.provider.calls == []


async def test_a_call_that_fails_is_tried_again_and_its_answer_judged() -> None:
    bench = bench_of(revisions(**DENIES))
    bench.provider.results.append(Failed(Failure.PROVIDER_ERROR, False, 5, 500))
    assert await bench.handle()
    again = bench.last
    assert (again.attempt, again.decision, again.answer) == (2, MARKED, None)


async def test_a_record_that_comes_again_after_its_refusal_calls_nobody() -> None:
    bench = bench_of(revisions(**DENIES))
    await ended(bench, says(MAIL))
    bench.ledger.terminal = "refused"
    assert await bench.handle()
    assert len(bench.provider.calls) == 1
