"""What ADMIT has read before, and what of it has begun.

DISPATCH finishes a job whose call has begun, whatever ADMIT would say of it now. A job that was handed over
has no other record than the one that ADMIT read. Where its worker died, or lost the partition, that one comes
again; and by then its key may be revoked, or its policy another.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from broker.records import Inner
from broker.store.attempts import AttemptFacts
from broker.store.jobs import JobRow, Jobs, Seen
from schemas.envelope import RetryPolicy
from schemas.state import State
from workers.attempts import AttemptBook, attempt_key
from workers.examining import Job
from workers.tombstones import key_of

_ONCE = RetryPolicy(attempts_max=1, at_most_once=True)


class Again(NamedTuple):
    inner: Inner
    is_welcome: bool
    """Whether ADMIT would let it pass now too. Else what was begun is finished, and nothing more is tried."""


class Register:
    """Every method raises DatabaseUnavailable."""

    def __init__(self, jobs: Jobs, attempts: AttemptBook) -> None:
        self._jobs = jobs
        self._attempts = attempts

    async def enter(self, jobs: Sequence[Job]) -> list[Seen]:
        """See `Jobs.register`."""
        return await self._jobs.register([_row(job.state) for job in jobs])

    async def begun(self, again: Sequence[Again]) -> Mapping[str, Inner | None]:
        """Those whose call has begun, by their origins, as they go on to DISPATCH. None: nothing is left to
        do.
        """
        keys = [attempt_key(one.inner.state) for one in again]
        found = await asyncio.gather(*(self._attempts.facts(key) for key in keys))
        return {
            one.inner.state.origin: _resumed(one, facts)
            for one, facts in zip(again, found, strict=True)
            if facts.intent is not None
        }

    async def read_before(self, inners: Sequence[Inner]) -> list[Inner]:
        """Those that ADMIT registered when it read the same record."""
        if not inners:
            return []
        origins = await self._jobs.origins([key_of(inner.state) for inner in inners])
        return [inner for inner in inners if origins.get(key_of(inner.state)) == inner.state.origin]


def _resumed(one: Again, facts: AttemptFacts) -> Inner | None:
    if facts.intent is None or facts.is_over:
        return None
    state = one.inner.state.model_copy(update={"hold": facts.intent.hold})
    return one.inner._replace(state=state if one.is_welcome else _ended(state))


def _row(state: State) -> JobRow:
    return JobRow(
        application_id=state.application_id,
        job_id=state.job_id,
        value_sha256=state.value_sha256,
        origin=state.origin,
        lane=state.lane.value,
        project_id=state.project_id,
        appended_ms=state.appended_ms,
        deadline_ms=state.deadline_ms,
    )


def _ended(state: State) -> State:
    """It is too late for it, so that DISPATCH begins nothing of it."""
    return state.model_copy(update={"retry": _ONCE, "deadline_ms": state.appended_ms})
