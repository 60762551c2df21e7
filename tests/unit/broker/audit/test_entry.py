"""What an audit entry holds: digests and cost, and never a text."""

from uuid import UUID

import pytest

from broker.audit.entry import audit_entry
from schemas.envelope import Tags
from schemas.outcomes import Answered, Conflict, Dead, Expired, Outcome, Refused, Repeat, Unknown
from schemas.reasons import Failure, Refusal
from schemas.state import AnswerDecision, Charge, Decision, Hold, State
from schemas.topics import Lane

HOLD = Hold(id="c0" * 16, nanodollars=9, input_tokens=1, output_tokens=1, day=1, minute=1)
OUTCOMES: list[Outcome] = [
    Answered(model="gpt-4o", request_sha256="aa" * 32, response_sha256="bb" * 32),
    Refused(reason=Refusal.OVER_QUOTA, stage="reserve"),
    Expired(stage="retry"),
    Dead(reason=Failure.TIMEOUT, dead_letter="dead/0/3"),
    Unknown(reason=Failure.WORKER_LOST),
    Repeat(),
    Conflict(),
]


def _charge(attempt: int) -> Charge:
    return Charge(
        attempt=attempt, verdict="failed", hold=HOLD, nanodollars=40 + attempt, price_version="v", target="t"
    )


def _state(model: str | None = "gpt-4o") -> State:
    return State(
        application="shop",
        application_id=1,
        organization_id=2,
        project_id=3,
        key_id="key-1",
        job_id=UUID(int=5),
        run=2,
        lane=Lane.BULK,
        origin="jobs.bulk/0/7",
        value_sha256="11" * 32,
        appended_ms=1,
        deadline_ms=2,
        reply_to="replies.shop/0/secret-instance",
        model=model,
        tags=Tags(department="secret department"),
        parked_for="secret reason",
        decision=Decision(id="d-1", revision="r-1", effect="redact", rules=("pii",), score=7),
        charges=(_charge(1), _charge(2)),
    )


def _entry(outcome: Outcome, state: State | None = None) -> dict[str, object]:
    return audit_entry(
        state or _state(),
        outcome,
        coordinate="outcomes.bulk/1/9",
        reply_sha256="22" * 32,
        at_ms=77,
        terminal=True,
    )


def test_an_answer() -> None:
    assert _entry(OUTCOMES[0]) == {
        "at_ms": 77,
        "application": "shop",
        "application_id": 1,
        "organization_id": 2,
        "project_id": 3,
        "key_id": "key-1",
        "job_id": "00000000-0000-0000-0000-000000000005",
        "run": 2,
        "kind": "answered",
        "terminal": True,
        "reason": None,
        "model": "gpt-4o",
        "value_sha256": "11" * 32,
        "request_sha256": "aa" * 32,
        "response_sha256": "bb" * 32,
        "reply_sha256": "22" * 32,
        "outcome": "outcomes.bulk/1/9",
        "attempts": 2,
        "nanodollars": 83,
        "decision_id": "d-1",
        "decision_revision": "r-1",
        "decision_effect": "redact",
        "approved_by": None,
        "answer_decision_id": None,
        "answer_decision_effect": None,
        "answer_decision_rule": None,
        "answer_decision_rules": None,
        "answer_decision_score": None,
    }


def test_what_was_decided_on_an_answer_is_told_with_its_digest() -> None:
    decision = AnswerDecision(
        id="a-1",
        revision="r-1",
        effect="deny",
        rules=("leak",),
        score=5,
        reason="rule",
        rule="leak",
        monitored=("length",),
        response_sha256="bb" * 32,
    )
    outcome = Refused(
        reason=Refusal.ANSWER_REFUSED,
        stage="dispatch",
        request_sha256="aa" * 32,
        response_sha256="bb" * 32,
    )
    entry = _entry(outcome, _state().model_copy(update={"answer": decision}))
    assert (entry["request_sha256"], entry["response_sha256"]) == ("aa" * 32, "bb" * 32)
    assert {name: told for name, told in entry.items() if name.startswith("answer_")} == {
        "answer_decision_id": "a-1",
        "answer_decision_effect": "deny",
        "answer_decision_rule": "leak",
        "answer_decision_rules": ["leak", "length"],
        "answer_decision_score": 5,
    }


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: outcome.kind)
def test_every_outcome_has_the_same_fields(outcome: Outcome) -> None:
    entry = _entry(outcome)
    assert entry.keys() == _entry(OUTCOMES[0]).keys()
    assert entry["kind"] == outcome.kind
    assert entry["reason"] == getattr(outcome, "reason", None)
    assert "secret" not in str(entry)


@pytest.mark.parametrize("name", ["a prompt\nin the wrong place", "nul\0", "x" * 129, "", "ünïcödé", " gpt"])
def test_what_cannot_be_the_name_of_a_model_is_left_out(name: str) -> None:
    assert _entry(OUTCOMES[1], _state(name))["model"] is None


@pytest.mark.parametrize("name", ["gpt-4o", "meta-llama/Llama-3.1-8B:free", "claude-3-5-sonnet@20241022"])
def test_names_of_models_are_kept(name: str) -> None:
    assert _entry(OUTCOMES[1], _state(name))["model"] == name
