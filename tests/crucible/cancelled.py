"""What a job that is called off may end as, and what a call that is cut off must cost. Pure.

It may end as anything: what comes first counts, and nothing says when a cancellation was read. But only one
that was called off ends as cancelled, and never after an answer that was charged; nobody is called again
after a call was cut off (see `second_calls`); and what was called is charged in full, as of unknown outcome.
"""

from collections.abc import Iterator
from uuid import UUID

from schemas.reasons import Failure
from tests.crucible.history import AttemptId, Charge, History, Verdict


def cancelled_wrongly(history: History) -> list[str]:
    """A line for each job that ended as cancelled and must not, and each attempt wrongly on record so."""
    wanted = {job.job_id for job in history.published if job.called_off}
    return [
        *_uncalled_for(history, wanted),
        *(line for verdict in _cut_off(history) for line in _accounted(verdict, history, wanted)),
    ]


def _uncalled_for(history: History, wanted: set[UUID]) -> Iterator[str]:
    answered = {charge.id.job_id for charge in history.charges if charge.verdict == "answered"}
    for terminal in history.terminals:
        if terminal.kind != "cancelled":
            continue
        if terminal.job_id not in wanted:
            yield f"cancelled: {terminal.job_id}, which nobody called off"
        elif terminal.job_id in answered:
            yield f"cancelled: {terminal.job_id}, though an answer is charged"


def _cut_off(history: History) -> Iterator[Verdict]:
    return (verdict for verdict in history.verdicts if verdict.reason == Failure.CANCELLED)


def _accounted(verdict: Verdict, history: History, wanted: set[UUID]) -> Iterator[str]:
    """Beside the provider's log: a call may be on record whose request never came there, not the reverse."""
    id_ = verdict.id
    was_called = any(call.id == id_ for call in history.calls)
    kind = next((terminal.kind for terminal in history.terminals if terminal.job_id == id_.job_id), None)
    if id_.job_id not in wanted:
        yield f"cancelled: attempt {id_}, of a job that nobody called off"
    elif kind not in (None, "cancelled"):
        yield f"cancelled: attempt {id_}, whose job ended as {kind}"
    elif was_called and not _is_charged(id_, verdict, history.charges):
        yield f"cancelled: attempt {id_} was called, and is not charged as of unknown outcome"


def _is_charged(id_: AttemptId, verdict: Verdict, charges: tuple[Charge, ...]) -> bool:
    return verdict.kind == "unknown" and any(
        charge.id == id_ and charge.verdict == "unknown" and charge.nanodollars > 0 for charge in charges
    )
