"""Why was a job's provider called again? From the records alone, and pure."""

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple
from uuid import UUID

from schemas.reasons import Failure
from tests.crucible.history import Attempt, AttemptId, Call, Harm, History, Verdict
from tests.crucible.plan import LEASE_S, RENEW_S

_KILLS = frozenset({"kill", "kill_at", "kill_all", "join", "rewind"})
_STOPS = frozenset({"pause"})
_DATABASE_AWAY = frozenset({"postgres", "still postgres", "readonly"})
_LATE_S = 1.5
"""By which a renewal may be late where two cores carry everything."""
_ANSWERED_WITH_ERROR = frozenset({Failure.PROVIDER_ERROR, Failure.RATE_LIMITED})
_ERROR_STATUS_MIN = 400


class SecondCall(NamedTuple):
    id: AttemptId
    cause: str
    explained: bool


class Explainer:
    def __init__(self, history: History) -> None:
        self._calls = history.calls
        self._attempts = {attempt.id: attempt for attempt in history.attempts}
        self._verdicts = {verdict.id: verdict for verdict in history.verdicts}
        self._harms = history.harms
        self._once = {job.job_id for job in history.published if job.at_most_once}

    def second_calls(self) -> Iterator[SecondCall]:
        """Each call of a job that has one before it, and each that has no intent on record."""
        before: dict[UUID, dict[AttemptId, Call]] = defaultdict(dict)
        for call in sorted(self._calls, key=lambda call: (call.at_s, call.id)):
            earlier = before[call.id.job_id]
            if call.id not in self._attempts:
                yield SecondCall(call.id, "no intent on record", explained=False)
            elif earlier:
                cause, explained = self._explain(call, earlier)
                yield SecondCall(call.id, cause, explained)
            earlier.setdefault(call.id, call)

    def _explain(self, call: Call, earlier: dict[AttemptId, Call]) -> tuple[str, bool]:
        """By the verdict on the last attempt that was called; only one after it may be called."""
        if call.id in earlier:
            return "the same attempt, called twice", False
        previous = max(earlier)
        if previous > call.id:
            return f"attempt {previous.attempt} was called before it", False
        verdict = self._verdicts.get(previous)
        if verdict is None:
            return f"no verdict on attempt {previous.attempt}", False
        if verdict.kind == "unknown" and call.id.job_id in self._once:
            return f"{verdict.reason}, of a job that may be called once", False
        return self._justify(verdict, earlier[previous])

    def _justify(self, verdict: Verdict, call: Call) -> tuple[str, bool]:
        """Does what the ledger gives as the reason agree with the other records?"""
        if verdict.reason == Failure.WORKER_LOST:
            lost = self._was_lost(verdict)
            return (verdict.reason, True) if lost else ("worker_lost, and no fault struck its worker", False)
        if verdict.reason == Failure.HOLD_LAPSED:
            return "hold_lapsed, and it was called", False
        if verdict.reason == Failure.CANCELLED:
            return "cancelled, and called again", False
        if verdict.reason in _ANSWERED_WITH_ERROR and (call.status or 0) < _ERROR_STATUS_MIN:
            return f"{verdict.reason}, and the provider answered {call.status}", False
        return verdict.reason, True

    def _was_lost(self, verdict: Verdict) -> bool:
        attempt = self._attempts.get(verdict.id)
        return attempt is not None and any(
            _loses(harm, attempt)
            for harm in self._harms
            if harm.began_s <= verdict.at_s and harm.ended_s >= attempt.at_s
        )


def _loses(harm: Harm, attempt: Attempt) -> bool:
    """Whether the fault takes the attempt from its worker: kills it, or keeps it from renewing its lease."""
    if harm.kind in _KILLS:
        return attempt.owner_pid in harm.pids
    if harm.kind in _STOPS:
        return attempt.owner_pid in harm.pids and _outlasts_lease(harm, attempt)
    return harm.kind in _DATABASE_AWAY and _outlasts_lease(harm, attempt)


def _outlasts_lease(harm: Harm, attempt: Attempt) -> bool:
    """A worker renews its lease every RENEW_S. None of those tries can have come through if the fault began
    before the first try after the last renewal, and ended after the last try before the lease ran out.
    """
    if attempt.lease_until_s is None:
        return False
    first_try_s = attempt.lease_until_s - LEASE_S + RENEW_S
    last_try_s = attempt.lease_until_s - RENEW_S
    return harm.began_s <= first_try_s + _LATE_S and harm.ended_s >= last_try_s - _LATE_S


def second_calls(history: History) -> list[SecondCall]:
    return list(Explainer(history).second_calls())
