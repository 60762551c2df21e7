"""ADMIT: who sent it, may it pass, has it been here before?

jobs.<lane>[.<application>]
  not authentic   → a counter, and a sampled dead letter
  refused         → outcomes
  seen before     → outcomes, as a repeat or a conflict
  called off      → outcomes
  to be reviewed  → parked, until somebody decides (`review`)
  begun before    → reserved.<lane>: DISPATCH finishes it
  else            → RESERVE: handed over where this process runs it and the gate is open, else by
                    admitted.<lane>. Where DISPATCH is there too and can begin at once, what RESERVE holds
                    for is handed on to it, and done with here when DISPATCH has done with it
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence
from time import monotonic
from typing import NamedTuple

from broker.errors import GateClosed, NotBelieved, RedisUnavailable
from broker.identity.directory import Directory
from broker.policy.decide import Judgement, Policy
from broker.pricing.project_books import ProjectBooks
from broker.records import Incoming, Inner, Outgoing
from broker.settings import Settings
from broker.store.cancels import CancelRow, Cancels
from broker.store.jobs import Seen
from schemas import topics
from schemas.envelope import TTL_S_MAX
from schemas.outcomes import Cancelling, Conflict, Repeat
from schemas.reasons import Refusal, Unauthentic
from schemas.state import State
from workers.examining import Cancel, Examiner, Job
from workers.register import Again, Register
from workers.review import Held, Holding, held, run_key
from workers.sampling import Sampler
from workers.tools import Tools

_YIELD_AFTER_S = 0.004
"""Policy may take tens of milliseconds for a long prompt, and less than one for others."""
_GATE_AWAY_MS = 5_000
"""For so long after it was away nothing is handed over: at a Redis that is frozen each try takes seconds,
for which everything behind would wait.
"""

Begin = Callable[[Inner], bool]
"""Have DISPATCH begin a job that a hold was taken for, now or never: whether it does."""
Hold = Callable[[Sequence[Inner], Sequence[Outgoing], Begin], Awaitable[None]]
"""RESERVE's: take the jobs' holds, and publish what follows and is not begun, and the records beside."""
Show = Callable[[State, bytes], None]
"""A job's value, to detectors that look at jobs beside their way."""


class _Revoked(NamedTuple):
    """A record under a key that is revoked now: nobody's, unless it was read, and begun, before."""

    record: Incoming
    inner: Inner


class _Read(NamedTuple):
    """What records turned out to be."""

    jobs: list[Job]
    cancels: list[Cancel]
    revoked: list[_Revoked]
    strangers: list[Outgoing]


class Admit:
    def __init__(
        self,
        settings: Settings,
        tools: Tools,
        directory: Directory,
        books: ProjectBooks,
        policy: Policy,
        register: Register,
        cancels: Cancels,
        holding: Holding,
    ) -> None:
        admit = settings.admit
        self.hold: Hold | None = None
        """Where this process runs RESERVE too."""
        self.begin: Callable[[Incoming, Inner], bool] = lambda *_: False
        """Where it runs both RESERVE and DISPATCH: have DISPATCH begin the job of a record, and answer for
        the record.
        """
        self._hold_from_ms = 0
        """Not before, where the gate was away."""
        self.show: Show | None = None
        """Where a detector is plugged in."""
        self.examiner = Examiner(settings, tools, directory, books, policy)
        self._register = register
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
        jobs, cancels, revoked, strangers = await self._examine(records)
        await self._call_off(self._allowed(cancels))
        seen = await self._register.enter(jobs)
        known = list(zip(jobs, seen, strict=True))
        begun = await self._begun(known, revoked)
        strangers += self._not_begun(revoked, begun)
        onward, ended, held = self._sorted(await self._going(known, begun))
        asking = [self._outlets.outcome(cancel.state, Cancelling(), b"") for cancel in cancels]
        parked = await self._producer.send_all([self._holding.record(one) for one in held])
        await self._holding.enter(held, parked)
        origins = {job.state.origin: job.record for job in jobs}
        beside = strangers + asking + ended + self._resumed(begun)
        await self._pass_on(onward, beside, lambda inner: self.begin(origins[inner.state.origin], inner))
        self._shown([*onward, *(one.inner for one in held)])

    async def _begun(
        self, known: Sequence[tuple[Job, Seen]], revoked: Sequence[_Revoked]
    ) -> Mapping[str, Inner | None]:
        """See `Register.begun`. Only what comes again can have begun."""
        again = [Again(job.inner, _is_welcome(job)) for job, seen in known if seen is Seen.REDELIVERED]
        before = await self._register.read_before([one.inner for one in revoked])
        return await self._register.begun(again + [Again(inner, is_welcome=False) for inner in before])

    def _not_begun(self, revoked: Sequence[_Revoked], begun: Container[str]) -> list[Outgoing]:
        return [
            letter
            for record, inner in revoked
            if inner.state.origin not in begun
            for letter in self._turn_away(record, Unauthentic.KEY_REVOKED)
        ]

    def _resumed(self, begun: Mapping[str, Inner | None]) -> list[Outgoing]:
        resumed = [inner for inner in begun.values() if inner is not None]
        for _ in resumed:
            self._metrics.job("admit", "resumed")
        return [
            self._outlets.onward(topics.reserved(inner.state.lane), inner, inner.state) for inner in resumed
        ]

    def _shown(self, passed: Iterable[Inner]) -> None:
        if self.show is not None:
            for inner in passed:
                self.show(inner.state, inner.value)

    async def _going(
        self, known: Iterable[tuple[Job, Seen]], begun: Container[str]
    ) -> list[tuple[Job, Seen]]:
        """Without those that have begun, or were held for review, when they were read before."""
        every = [(job, seen) for job, seen in known if job.state.origin not in begun]
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
            elif job.judgement is not None and _is_for_review(job.judgement):
                to_hold.append(held(job.inner, job.judgement))
            else:
                onward.append(job.inner)
        return onward, ended, to_hold

    async def _pass_on(self, admitted: Sequence[Inner], beside: Sequence[Outgoing], begin: Begin) -> None:
        """RESERVE's own topic is where jobs wait while the gate is away, so that refusals and cancellations
        that come behind them do not.
        """
        if admitted and self.hold is not None and self._may_hold():
            try:
                await self.hold(admitted, beside, begin)
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

    async def _examine(self, records: Sequence[Incoming]) -> _Read:
        read = _Read([], [], [], [])
        yielded_at = monotonic()
        for record in records:
            try:
                judged = await self.examiner.examine(record)
            except NotBelieved as error:
                self._sort_out(record, error.reason, read)
            else:
                read.cancels.append(judged) if isinstance(judged, Cancel) else read.jobs.append(judged)
            if monotonic() - yielded_at >= _YIELD_AFTER_S:
                await asyncio.sleep(0)
                yielded_at = monotonic()
        return read

    def _sort_out(self, record: Incoming, reason: Unauthentic, read: _Read) -> None:
        if reason is Unauthentic.KEY_REVOKED:
            inner = self.examiner.identify(record, even_revoked=True)
            if inner is not None:
                read.revoked.append(_Revoked(record, inner))
                return
        read.strangers.extend(self._turn_away(record, reason))

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

    def _turn_away(self, record: Incoming, reason: Unauthentic) -> list[Outgoing]:
        self._metrics.unauthentic(reason)
        if not self._sampler.take(self._clock()):
            return []
        self._metrics.dead_letter("admit", reason)
        return [self._outlets.dead_record(record, "admit", reason.value)]

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


def _is_for_review(judgement: Judgement) -> bool:
    return judgement.decision.effect == "review"


def _is_welcome(job: Job) -> bool:
    return job.refused is None and (job.judgement is None or not _is_for_review(job.judgement))


def _name(job: Job, seen: Seen) -> str:
    if seen in (Seen.CONFLICT, Seen.REPEAT, Seen.CANCELLED):
        return str(seen.value)
    if job.refused is not None:
        return str(job.refused.reason.value)
    is_held = job.judgement is not None and _is_for_review(job.judgement)
    return "held_for_review" if is_held else "passed"


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
