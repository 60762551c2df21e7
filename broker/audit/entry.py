"""What is kept on record about how a job ended: who, what was decided, digests and cost; never a text."""

import re
from functools import lru_cache
from typing import Any, Final

from schemas.outcomes import Answered, Dead, Outcome, Refused, Unknown
from schemas.state import State

_MODEL_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}")


def audit_entry(
    state: State, outcome: Outcome, *, coordinate: str, reply_sha256: str, at_ms: int, terminal: bool
) -> dict[str, Any]:
    """The entry for an outcome read at `coordinate`, whose value has the digest `reply_sha256`.

    `terminal`: the outcome is the one that the run ended with.
    """
    decision, judged = state.decision, state.answer
    answered = outcome if isinstance(outcome, Answered | Refused) else None
    return {
        "at_ms": at_ms,
        "application": state.application,
        "application_id": state.application_id,
        "organization_id": state.organization_id,
        "project_id": state.project_id,
        "key_id": state.key_id,
        "job_id": str(state.job_id),
        "run": state.run,
        "kind": outcome.kind,
        "terminal": terminal,
        "reason": reason_of(outcome),
        "model": _model(state.model),
        "value_sha256": state.value_sha256,
        "request_sha256": answered and answered.request_sha256,
        "response_sha256": answered and answered.response_sha256,
        "reply_sha256": reply_sha256,
        "outcome": coordinate,
        "attempts": len(state.charges),
        "nanodollars": sum(charge.nanodollars for charge in state.charges),
        "decision_id": decision and decision.id,
        "decision_revision": decision and decision.revision,
        "decision_effect": decision and decision.effect,
        "approved_by": state.approval and state.approval.by,
        "answer_decision_id": judged and judged.id,
        "answer_decision_effect": judged and judged.effect,
        "answer_decision_rule": judged and judged.rule,
        "answer_decision_rules": judged and [*judged.rules, *judged.monitored],
        "answer_decision_score": judged and judged.score,
    }


def reason_of(outcome: Outcome) -> str | None:
    if isinstance(outcome, Answered):  # most are, and pydantic takes its time to say what is no instance
        return None
    return outcome.reason if isinstance(outcome, Refused | Dead | Unknown) else None


@lru_cache(maxsize=256)
def _model(name: str | None) -> str | None:
    """A refused job may have put any text where the name of a model belongs."""
    return name if name is not None and _MODEL_NAME.fullmatch(name) else None
