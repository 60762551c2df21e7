"""How rules combine into one decision, and that the same job is always decided the same way."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.policy.decision import STRICTNESS, DecisionRecord, FiredRule, Redaction, decide, weigh
from broker.policy.detections import Detections
from broker.policy.facts import Answer, Facts
from broker.policy.revision import PolicyRevision
from broker.policy.terms import Effect
from schemas.envelope import Tags
from schemas.state import Decision
from tests.unit.broker.policy.jobs import SECRET, job, revision, rule

FAILS_ON_SEVEN = "1 / (request.messages.count - 7) >= 0"
"""Divides by zero where a job has seven messages, and so passes every probe."""
SEVEN = {"messages": [{"role": "user", "content": SECRET}] * 7}


def decided(*rules: dict[str, Any], facts: Facts | None = None, **sections: Any) -> DecisionRecord:
    return decide(facts or job(), revision(*rules, **sections).compiled)


def standings(record: DecisionRecord) -> dict[str, str]:
    return {fired.id: fired.standing for fired in record.rules}


# how effects combine


def test_where_nothing_fires_a_job_is_allowed() -> None:
    record = decided(rule(when="false"))
    assert (record.effect, record.reason, record.rule, record.score, record.rules) == (
        "allow",
        "default",
        None,
        0,
        (),
    )


@pytest.mark.parametrize("effect", ["deny", "review", "redact", "flag", "allow"])
def test_a_rule_that_fires_decides_and_is_named(effect: Effect) -> None:
    record = decided(rule("why", effect=effect, contribution=7), rule("not", "false"))
    assert (record.effect, record.reason, record.rule, record.score) == (effect, "rule", "why", 7)
    assert record.rules == (
        FiredRule(id="why", effect=effect, mode="enforce", contribution=7, standing="counts"),
    )


def test_the_strictest_effect_holds_whatever_the_priority() -> None:
    rules = [
        rule("a", effect="flag", priority=9),
        rule("b", effect="redact", priority=5),
        rule("c", effect="review", priority=2),
        rule("d", effect="deny"),
    ]
    for count, (effect, id_) in enumerate(
        [("flag", "a"), ("redact", "b"), ("review", "c"), ("deny", "d")], 1
    ):
        record = decided(*rules[:count])
        assert (record.effect, record.rule) == (effect, id_)
        assert set(standings(record).values()) == {"counts"}


def test_priority_then_id_names_the_reason_among_equals() -> None:
    assert decided(rule("a"), rule("b", priority=1), rule("c", priority=1)).rule == "b"


def test_an_allow_overrides_what_has_a_lower_priority_and_nothing_else() -> None:
    record = decided(
        rule("above", effect="flag", priority=6),
        rule("pass", effect="allow", priority=5),
        rule("beside", effect="redact", priority=5),
        rule("below", effect="deny", priority=4, contribution=30),
    )
    assert (record.effect, record.rule, record.score) == ("redact", "beside", 30)
    assert standings(record) == {
        "above": "counts",
        "beside": "counts",
        "pass": "counts",
        "below": "overridden",
    }


def test_a_monitored_rule_is_recorded_and_does_nothing() -> None:
    record = decided(
        rule("deny", mode="monitor", contribution=50, regions=["eu"]),
        rule("allow", effect="allow", mode="monitor", priority=9),
        rule("flag", effect="flag", contribution=1),
    )
    assert (record.effect, record.rule, record.score, record.regions) == ("flag", "flag", 1, None)
    assert standings(record) == {"allow": "monitored", "deny": "monitored", "flag": "counts"}


def test_a_rule_that_fails_denies_by_its_name_and_without_the_fault() -> None:
    record = decided(
        rule("broken", FAILS_ON_SEVEN, effect="flag", contribution=5),
        rule("pass", effect="allow", priority=9),
        facts=job(SEVEN),
    )
    assert (record.effect, record.reason, record.rule, record.score) == ("deny", "policy_error", "broken", 0)
    assert standings(record) == {"pass": "counts", "broken": "failed"}
    assert SECRET.encode() not in record.serialized()
    assert b"zero" not in record.serialized()


def test_a_monitored_rule_that_fails_denies_nothing() -> None:
    record = decided(rule("broken", FAILS_ON_SEVEN, mode="monitor"), facts=job(SEVEN))
    assert (record.effect, record.reason, standings(record)) == ("allow", "default", {"broken": "failed"})


@pytest.mark.parametrize(
    ("scope", "is_meant"),
    [
        ({}, True),
        ({"organization": ["acme"]}, True),
        ({"organization": ["other"]}, False),
        ({"project": ["support", "other"]}, True),
        ({"project": ["other"]}, False),
        ({"application": ["support-bot"]}, True),
        ({"application": ["other"]}, False),
        ({"model": ["gpt-4o-mini"]}, True),
        ({"model": ["gpt-4o"]}, False),
        ({"lane": ["standard"]}, True),
        ({"lane": ["bulk"]}, False),
        ({"lane": ["standard"], "project": ["other"]}, False),
    ],
)
def test_a_rule_is_about_the_jobs_in_its_scope(scope: dict[str, list[str]], is_meant: bool) -> None:
    assert (decided(rule(scope=scope)).effect == "deny") is is_meant


FIRING = st.lists(
    st.builds(
        lambda number, **fields: fields | {"number": number},
        st.integers(0, 99),
        effect=st.sampled_from(sorted(STRICTNESS)),
        priority=st.integers(0, 3),
        mode=st.sampled_from(["enforce", "enforce", "monitor"]),
        contribution=st.integers(-5, 5),
        when=st.sampled_from(["true", "true", "false"]),
    ),
    max_size=7,
    unique_by=lambda fields: int(fields["number"]),
)


@given(FIRING)
def test_any_rules_combine_as_written(drawn: list[dict[str, Any]]) -> None:
    """Against the words of `broker.policy.decision`, said once more in the plainest way."""
    rules = [rule(f"r{fields.pop('number'):02}", **fields) for fields in drawn]
    record = decided(*rules)
    firing = [one for one in rules if one["when"] == "true"]
    enforced = [one for one in firing if one["mode"] == "enforce"]
    bar = max((one["priority"] for one in enforced if one["effect"] == "allow"), default=0)
    counting = [one for one in enforced if one["priority"] >= bar]
    assert {fired.id for fired in record.rules} == {one["id"] for one in firing}
    assert {fired.id for fired in record.rules if fired.standing == "counts"} == {
        one["id"] for one in counting
    }
    assert record.score == sum(one["contribution"] for one in enforced)
    if not counting:
        assert (record.effect, record.reason) == ("allow", "default")
        return
    strictest = max(STRICTNESS[one["effect"]] for one in counting)
    deciding = [one for one in counting if STRICTNESS[one["effect"]] == strictest]
    assert record.rule == min(deciding, key=lambda one: (-one["priority"], one["id"]))["id"]
    assert STRICTNESS[record.effect] == strictest


@given(FIRING)
def test_the_order_of_the_document_decides_nothing(drawn: list[dict[str, Any]]) -> None:
    rules = [rule(f"r{fields.pop('number'):02}", **fields) for fields in drawn]
    assert decided(*rules).serialized() == decided(*reversed(rules)).serialized()


# sections


@pytest.mark.parametrize(
    ("score", "effect", "fired"),
    [
        (49, "allow", []),
        (50, "flag", ["injection.flag"]),
        (80, "deny", ["injection.deny"]),
        (500, "deny", ["injection.deny"]),
    ],
)
def test_the_injection_score_has_thresholds_and_counts_once(
    score: int, effect: str, fired: list[str]
) -> None:
    facts = job(detections=Detections(scores=(("tool", score), ("user", 3)), hits=(("hidden", score),)))
    record = decided(facts=facts, injection={"flag_at": 50, "deny_at": 80})
    assert (record.effect, record.score) == (effect, score if fired else 0)
    assert [one.id for one in record.rules] == fired
    assert record.injection == (("hidden", score),)


def test_the_dlp_section_acts_by_type() -> None:
    types = (("CREDIT_CARD", 1), ("EMAIL", 2), ("IP_ADDRESS", 3), ("PHONE", 1))
    effects = {"CREDIT_CARD": "redact", "EMAIL": "tokenize", "IP_ADDRESS": "flag", "IBAN": "block"}
    record = decided(
        facts=job(detections=Detections(types=types)), dlp={"request": effects, "contribution": 4}
    )
    assert (record.effect, record.rule, record.score) == ("redact", "dlp.request.credit_card", 12)
    assert record.redactions == (
        Redaction(type="CREDIT_CARD", how="redact"),
        Redaction(type="EMAIL", how="tokenize"),
    )
    assert record.types == types


def test_what_blocks_denies() -> None:
    facts = job(detections=Detections(types=(("SECRET", 1),)))
    record = decided(facts=facts, dlp={"request": {"SECRET": "block"}})
    assert (record.effect, record.rule, record.redactions) == ("deny", "dlp.request.secret", ())


def test_a_rule_takes_out_what_it_names_or_all_that_was_found() -> None:
    facts = job(detections=Detections(types=(("EMAIL", 1), ("PHONE", 1))))
    named = decided(rule(effect="redact", redact=["EMAIL", "IBAN"]), facts=facts)
    assert [one.type for one in named.redactions] == ["EMAIL"]
    everything = decided(rule(effect="redact"), facts=facts, dlp={"request": {"EMAIL": "tokenize"}})
    assert [(one.type, one.how) for one in everything.redactions] == [
        ("EMAIL", "redact"),
        ("PHONE", "redact"),
    ]


def test_what_waits_for_a_review_keeps_its_redactions() -> None:
    facts = job(detections=Detections(types=(("EMAIL", 1),)))
    record = decided(rule(effect="review"), facts=facts, dlp={"request": {"EMAIL": "redact"}})
    assert (record.effect, [one.type for one in record.redactions]) == ("review", ["EMAIL"])


def test_an_exception_lifts_a_redaction() -> None:
    facts = job(detections=Detections(types=(("EMAIL", 1),)))
    record = decided(
        rule("pass", effect="allow", priority=1), facts=facts, dlp={"request": {"EMAIL": "redact"}}
    )
    assert (record.effect, record.redactions) == ("allow", ())
    assert standings(record)["dlp.request.email"] == "overridden"


# regions


def test_regions_narrow_each_other() -> None:
    record = decided(
        rule("a", effect="flag", regions=["eu", "us"]),
        rule("b", effect="allow", regions=["eu", "uk"]),
        rule("c", effect="flag"),
    )
    assert (record.effect, record.regions) == ("flag", ("eu",))


def test_regions_that_exclude_each_other_deny() -> None:
    rules = rule("a", effect="flag", regions=["us"]), rule("b", effect="flag", regions=["eu"])
    record = decided(*rules)
    assert (record.effect, record.reason, record.rule, record.regions) == (
        "deny",
        "regions_conflict",
        "a",
        (),
    )
    overridden = decided(*rules, rule("c", effect="allow", priority=1, regions=["uk"]))
    assert (overridden.effect, overridden.regions) == ("allow", ("uk",))


# answers


def test_answers_are_decided_by_the_rules_about_answers_alone() -> None:
    policy = revision(
        rule("request"), rule("answer", "answer.chars > 10", effect="flag"), answer={"chars_max": 100}
    )
    facts = job(answer=Answer(chars=11, findings=("length",), types=(("EMAIL", 1),)))
    record = decide(facts, policy.compiled, "answer")
    assert standings(record) == {"answer": "counts", "answer.length": "counts"}
    assert (record.phase, record.effect, record.rule, record.types) == (
        "answer",
        "deny",
        "answer.length",
        (("EMAIL", 1),),
    )
    assert decide(facts, policy.compiled).rule == "request"


def test_each_check_of_answers_is_a_rule() -> None:
    policy = revision(
        answer={
            "forbidden_words": ["a"],
            "required_words": ["b"],
            "json_schema": True,
            "prompt_leak": {},
            "tools": {},
            "effects": {"prompt_leak": "flag"},
        },
        dlp={"answer": {"EMAIL": "redact"}},
    )
    found = {one.clause.id: one.clause.effect for one in policy.compiled.stages["answer"].every}
    assert found == {
        "answer.forbidden_words": "deny",
        "answer.required_words": "deny",
        "answer.json_schema": "deny",
        "answer.prompt_leak": "flag",
        "answer.tools": "deny",
        "dlp.answer.email": "redact",
    }


# the record

POLICY = revision(
    rule("size", "request.messages.chars > 5", effect="flag", contribution=2),
    rule("hot", "has(request.temperature) && request.temperature > 1", effect="review"),
    rule("tag", "has(tags.user) && tags.user.matches('^b')", effect="deny"),
    rule("fails", FAILS_ON_SEVEN, effect="flag", mode="monitor"),
    injection={"flag_at": 5, "deny_at": 9},
    dlp={"request": {"EMAIL": "redact"}},
)
JOBS = st.builds(
    lambda text, count, temperature, user, score, emails, lane, digest: job(
        {"messages": [{"role": "user", "content": text}] * count, "temperature": temperature},
        tags=Tags(user=user),
        detections=Detections(scores=(("user", score),), types=(("EMAIL", emails),) if emails else ()),
        lane=lane,
        value_sha256=digest,
    ),
    st.text(max_size=4),
    st.integers(1, 8),
    st.none() | st.floats(0, 2),
    st.none() | st.sampled_from(["alice", "bob"]),
    st.integers(0, 10),
    st.integers(0, 2),
    st.sampled_from(["bulk", "standard"]),
    st.sampled_from(["0" * 64, "f" * 64]),
)


@given(JOBS)
def test_the_same_job_gives_the_same_bytes_also_where_nothing_is_remembered(facts: Facts) -> None:
    warm = decide(facts, POLICY.compiled).serialized()
    assert decide(replace(facts), POLICY.compiled).serialized() == warm
    assert decide(facts, PolicyRevision.load(POLICY.text).compiled).serialized() == warm
    assert DecisionRecord.model_validate_json(warm).serialized() == warm


@given(JOBS, JOBS)
def test_jobs_that_are_told_apart_have_records_of_their_own(one: Facts, other: Facts) -> None:
    first, second = decide(one, POLICY.compiled), decide(other, POLICY.compiled)
    same = replace(one, request={}) == replace(other, request={})
    assert (first.input_sha256 == second.input_sha256) is same
    assert (first.id == second.id) is same


@pytest.mark.parametrize(
    "changed",
    [
        {"organization": "x"},
        {"project": "x"},
        {"application": "x"},
        {"lane": "bulk"},
        {"endpoint": "/v1/embeddings"},
        {"tags": Tags(feature="x")},
        {"regions": ("eu",)},
        {"detections": Detections(detectors="2")},
        {"detections": Detections(rules=("x",))},
        {"value_sha256": "1" * 64},
    ],
)
def test_the_input_hash_is_of_all_that_a_decision_depends_on(changed: dict[str, Any]) -> None:
    base = decide(job(), POLICY.compiled)
    assert decide(job(**changed), POLICY.compiled).input_sha256 != base.input_sha256


def test_the_answer_is_in_the_input_hash_of_its_own_phase_alone() -> None:
    facts = job(answer=Answer(chars=5))
    assert decide(facts, POLICY.compiled).input_sha256 == decide(job(), POLICY.compiled).input_sha256
    hashes = {decide(one, POLICY.compiled, "answer").input_sha256 for one in (facts, job())}
    assert len(hashes) == 2


def test_another_revision_makes_another_decision_of_the_same_input() -> None:
    one, other = decided(rule("a", effect="flag")), decided(rule("b", effect="flag"))
    assert one.input_sha256 == other.input_sha256
    assert one.id != other.id


def test_a_record_holds_no_text_of_the_job() -> None:
    facts = job({"user": SECRET, "metadata": {SECRET: SECRET}}, detections=Detections(types=(("EMAIL", 1),)))
    policy = revision(
        rule(when=f'has(request.user) && request.user == "{SECRET}"'),
        rule("b", "'x' in request.metadata_keys || true"),
    )
    assert SECRET.encode() not in decide(facts, policy.compiled).serialized()


def test_what_travels_with_the_job_names_the_rules_that_count() -> None:
    record = decided(rule("a", effect="flag", contribution=3), rule("b", mode="monitor"))
    assert record.summary() == Decision(
        id=record.id, revision=record.revision, effect="flag", rules=("a",), score=3
    )


def test_in_few_words_a_decision_says_what_it_says_in_full() -> None:
    policy = revision(rule("a", effect="flag", contribution=3), rule("b", mode="monitor", contribution=5))
    weighed = weigh(job(), policy.compiled)
    said = weighed.summary(served=("eu",), answers=True)
    assert said == weighed.record().summary().model_copy(update={"served": ("eu",), "answers": True})
    assert (said.score, said.rules) == (3, ("a",))


GOLDEN = (
    b'{"id":"a5c12757fba699229741c0e8abebe48e","revision":"b5f5aa6ddfc2a6453e2027f50030abb83d0c3'
    b'c8e7fea530eff8ba15a05b5461f","phase":"request","effect":"deny","reason":"rule","rule":"cap'
    b'","score":2,"rules":[{"id":"cap","effect":"deny","mode":"enforce","contribution":2,"standi'
    b'ng":"counts"}],"redactions":[],"regions":null,"injection":[],"types":[],"detectors":"","in'
    b'put_sha256":"ef669df9b06cc3c5bc3fa94a272a17201e95972d3078f8267f1f2bdc7fac9ab4"}'
)


def test_a_decision_of_long_ago_is_made_again_to_the_byte() -> None:
    """A golden record: a change to it is a change to every record that is kept."""
    record = decided(
        rule("cap", "request.messages.count > 0", contribution=2),
        facts=job(SEVEN),
        dlp={"request": {"EMAIL": "flag"}},
    )
    assert record.serialized() == GOLDEN


def test_thousands_of_different_jobs_are_decided_as_by_a_fresh_revision() -> None:
    """What conditions remember is bounded, and forgotten without a trace."""
    policy = revision(
        rule("even", "request.messages.chars % 2 == 0"),
        rule("many", "size(request.tools) > 9", effect="flag"),
    )
    for chars in range(1_000):
        tools = [{"type": "function", "function": {"name": f"t{number}"}} for number in range(chars % 20)]
        facts = job({"messages": [{"role": "user", "content": "x" * chars}], "tools": tools})
        expected = "deny" if chars % 2 == 0 else "flag" if chars % 20 > 9 else "allow"
        assert decide(facts, policy.compiled).effect == expected
