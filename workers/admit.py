"""ADMIT: who sent it, may it pass, has it been here before?

jobs.<lane>[.<application>]
  not authentic   → a counter, and a sampled dead letter
  refused         → outcomes
  seen before     → outcomes, as a repeat or a conflict
  called off      → outcomes
  to be reviewed  → parked, until somebody decides (`review`)
  else            → RESERVE: handed over where this process runs it and the gate is open, else by
                    admitted.<lane>
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from time import monotonic

from broker.errors import GateClosed, NotBelieved, RedisUnavailable
from broker.identity.directory import Directory
from broker.policy.decide import Policy
from broker.pricing.project_books import ProjectBooks
from broker.records import Incoming, Inner, Outgoing
from broker.settings import Settings
from broker.store.cancels import CancelRow, Cancels
from broker.store.jobs import JobRow, Jobs, Seen
from schemas import topics
from schemas.envelope import TTL_S_MAX
from schemas.outcomes import Cancelling, Conflict, Repeat
from schemas.reasons import Refusal
from schemas.state import State
from workers.examining import Cancel, Examiner, Job
from workers.review import Held, Holding, held, run_key
from workers.sampling import Sampler
from workers.tools import Tools

_YIELD_AFTER_S = 0.004
"""Policy may take tens of milliseconds for a long prompt, and less than one for others."""
_GATE_AWAY_MS = 5_000
"""For so long after it was away nothing is handed over: at a Redis that is frozen each try takes seconds,
for which everything behind would wait.
"""

Hold = Callable[[Sequence[Inner], Sequence[Outgoing]], Awaitable[None]]
"""RESERVE's: take the jobs' holds, and publish what follows and the records beside."""
Show = Callable[[State, bytes], None]
"""A job's value, to detectors that look at jobs beside their way."""


class Admit:
    def __init__(
        self,
        settings: Settings,
        tools: Tools,
        directory: Directory,
        books: ProjectBooks,
        policy: Policy,
        jobs: Jobs,
        cancels: Cancels,
        holding: Holding,
    ) -> None:
        admit = settings.admit
        self.hold: Hold | None = None
        """Where this process runs RESERVE too."""
        self._hold_from_ms = 0
        """Not before, where the gate was away."""
        self.show: Show | None = None
        """Where a detector is plugged in."""
        self.examiner = Examiner(settings, tools, directory, books, policy)
        self._jobs = jobs
        self._cancels = cancels
        self._holding = holding
        self._producer = tools.producer
        self._clock = tools.clock
        self._metrics = tools.metrics
        self._outlets = tools.outlets
        self._tombstones = tools.tombstones
        self._cancels_max = admit.cancels_max
        self._sampler = Sampler(admit.dead_letter_sample_per_s)

    async def handle(self, records: Sequence[Incoming]) -> None:
        jobs, cancels, strangers = await self._examine(records)
        await self._call_off(self._allowed(cancels))
        seen = await self._jobs.register([_row(job) for job in jobs])
        onward, ended, held = self._sorted(await self._going(zip(jobs, seen, strict=True)))
        asking = [self._outlets.outcome(cancel.state, Cancelling(), b"") for cancel in cancels]
        parked = await self._producer.send_all([self._holding.record(one) for one in held])
        await self._holding.enter(held, parked)
        await self._pass_on(onward, strangers + asking + ended)
        self._shown([*onward, *(one.inner for one in held)])

    def _shown(self, passed: Iterable[Inner]) -> None:
        if self.show is not None:
            for inner in passed:
                self.show(inner.state, inner.value)

    async def _going(self, jobs: Iterable[tuple[Job, Seen]]) -> list[tuple[Job, Seen]]:
        """Without those that were held for review when they were read before."""
        every = list(jobs)
        again = [job.state for job, seen in every if seen is Seen.REDELIVERED]
        held = await self._holding.waiting(again)
        return [
            (job, seen)
            for job, seen in every
            if seen is not Seen.REDELIVERED or run_key(job.state) not in held
        ]

    def _sorted(self, jobs: Iterable[tuple[Job, Seen]]) -> tuple[list[Inner], list[Outgoing], list[Held]]:
        """What goes on, the ends of what does not, and what is to be reviewed."""
        onward: list[Inner] = []
        ended: list[Outgoing] = []
        to_hold: list[Held] = []
        for job, seen in jobs:
            end = self._end(job, seen)
            if end is not None:
                ended.append(end)
            elif job.judgement is not None and job.judgement.decision.effect == "review":
                to_hold.append(held(job.inner, job.judgement))
            else:
                onward.append(job.inner)
        return onward, ended, to_hold

    async def _pass_on(self, admitted: Sequence[Inner], beside: Sequence[Outgoing]) -> None:
        """RESERVE's own topic is where jobs wait while the gate is away, so that refusals and cancellations
        that come behind them do not.
        """
        if admitted and self.hold is not None and self._may_hold():
            try:
                await self.hold(admitted, beside)
            except (RedisUnavailable, GateClosed) as error:
                self._hold_from_ms = self._clock() + _GATE_AWAY_MS
                self._metrics.trouble("reserve", error)
            else:
                self._hold_from_ms = 0
                return
        sealed = [
            self._outlets.onward(topics.admitted(inner.state.lane), inner, inner.state) for inner in admitted
        ]
        await self._producer.send_all([*beside, *sealed])

    def _may_hold(self) -> bool:
        """One batch at a time tries whether a gate that was away is there again."""
        now_ms = self._clock()
        if now_ms < self._hold_from_ms:
            return False
        if self._hold_from_ms:
            self._hold_from_ms = now_ms + _GATE_AWAY_MS
        return True

    async def _examine(self, records: Sequence[Incoming]) -> tuple[list[Job], list[Cancel], list[Outgoing]]:
        jobs: list[Job] = []
        cancels: list[Cancel] = []
        strangers: list[Outgoing] = []
        yielded_at = monotonic()
        for record in records:
            try:
                judged = await self.examiner.examine(record)
            except NotBelieved as error:
                strangers += self._turn_away(record, error)
            else:
                cancels.append(judged) if isinstance(judged, Cancel) else jobs.append(judged)
            if monotonic() - yielded_at >= _YIELD_AFTER_S:
                await asyncio.sleep(0)
                yielded_at = monotonic()
        return jobs, cancels, strangers

    def _allowed(self, cancels: Sequence[Cancel]) -> list[Cancel]:
        """Beyond so many of an application in force the newest are not carried out: every process has them in
        memory. Whoever sent one hears how the job ends all the same, and may send it again.
        """
        allowed: list[Cancel] = []
        more: Counter[int] = Counter()
        for cancel in cancels:
            state, whose = cancel.state, cancel.state.application_id
            if self._tombstones.covers(state):
                allowed.append(cancel)
            elif self._tombstones.in_force(whose) + more[whose] < self._cancels_max:
                more[whose] += 1
                allowed.append(cancel)
            else:
                self._metrics.job("admit", "too_many_cancels")
        return allowed

    async def _call_off(self, cancels: Sequence[Cancel]) -> None:
        """On record before the jobs of the same batch, and before anyone is told."""
        if cancels:
            await self._cancels.enter([_cancel_row(cancel.state) for cancel in cancels])
            await self._tombstones.refresh()
            for _ in cancels:
                self._metrics.job("admit", "cancelling")

    def _turn_away(self, record: Incoming, error: NotBelieved) -> list[Outgoing]:
        self._metrics.unauthentic(error.reason)
        if not self._sampler.take(self._clock()):
            return []
        self._metrics.dead_letter("admit", error.reason)
        return [self._outlets.dead_record(record, "admit", error.reason.value)]

    def _end(self, job: Job, seen: Seen) -> Outgoing | None:
        """Its outcome; None of a job that goes on."""
        self._metrics.job("admit", _name(job, seen))
        if seen is Seen.CONFLICT:
            code = Refusal.JOB_ID_CONFLICT.value
            return self._outlets.failed(job.state, Conflict(), "refused", code, None)
        if seen is Seen.REPEAT:
            return self._outlets.outcome(job.state, Repeat(), b"")
        if seen is Seen.CANCELLED or self._tombstones.covers(job.state):
            return self._outlets.cancelled(job.state, "admit")
        if job.refused is not None:
            refused = job.refused
            return self._outlets.refused(job.state, "admit", refused.reason, refused.message, refused.param)
        return None


def _name(job: Job, seen: Seen) -> str:
    if seen in (Seen.CONFLICT, Seen.REPEAT, Seen.CANCELLED):
        return str(seen.value)
    if job.refused is not None:
        return str(job.refused.reason.value)
    is_held = job.judgement is not None and job.judgement.decision.effect == "review"
    return "held_for_review" if is_held else "passed"


def _row(job: Job) -> JobRow:
    state = job.state
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


def _cancel_row(state: State) -> CancelRow:
    """Until the longest deadline of a job that came at the same time. A later one ends at ADMIT."""
    return CancelRow(
        application_id=state.application_id,
        job_id=state.job_id,
        key_id=state.key_id,
        origin=state.origin,
        at_ms=state.appended_ms,
        until_ms=state.appended_ms + TTL_S_MAX * 1000,
    )
