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
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from time import monotonic
from typing import NamedTuple

from broker.errors import NotBelieved
from broker.identity.directory import Directory
from broker.policy.decide import Judgement, Policy
from broker.pricing.project_books import ProjectBooks
from broker.records import Incoming, Inner, Outgoing
from broker.settings import Settings
from broker.store.cancels import Cancels
from broker.store.jobs import Seen
from schemas import topics
from schemas.outcomes import Cancelling, Conflict, Repeat
from schemas.reasons import Refusal, Unauthentic
from schemas.state import State
from workers.calling_off import CallingOff
from workers.examining import Cancel, Examiner, Job
from workers.handover import Handover
from workers.register import Again, Register
from workers.review import Held, Holding, held, run_key
from workers.sampling import Sampler
from workers.tools import Tools

_YIELD_AFTER_S = 0.004
"""Policy may take tens of milliseconds for a long prompt, and less than one for others."""
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
        self.handover = Handover(tools)
        self.show: Show | None = None
        """Where a detector is plugged in."""
        self.examiner = Examiner(settings, tools, directory, books, policy)
        self._register = register
        self._calling_off = CallingOff(cancels, tools, admit.cancels_max)
        self._holding = holding
        self._producer = tools.producer
        self._clock = tools.clock
        self._metrics = tools.metrics
        self._outlets = tools.outlets
        self._tombstones = tools.tombstones
        self._sampler = Sampler(admit.dead_letter_sample_per_s)

    async def handle(self, records: Sequence[Incoming]) -> None:
        jobs, cancels, revoked, strangers = await self._examine(records)
        await self._calling_off.carry_out([cancel.state for cancel in cancels])
        seen = await self._register.enter(jobs)
        known = await self._not_held(list(zip(jobs, seen, strict=True)))
        begun = await self._begun(known, revoked)
        strangers += self._not_begun(revoked, begun)
        onward, ended, held = self._sorted(
            [(job, seen) for job, seen in known if job.state.origin not in begun]
        )
        asking = [self._outlets.outcome(cancel.state, Cancelling(), b"") for cancel in cancels]
        parked = await self._producer.send_all([self._holding.record(one) for one in held])
        await self._holding.enter(held, parked)
        beside = strangers + asking + ended + self._resumed(begun)
        await self.handover.pass_on(onward, beside, {job.state.origin: job.record for job in jobs})
        self._shown([*onward, *(one.inner for one in held)])

    async def _begun(
        self, known: Sequence[tuple[Job, Seen]], revoked: Sequence[_Revoked]
    ) -> Mapping[str, Inner | None]:
        """See `Register.begun`. Only what comes again can have begun."""
        again = [Again(job.inner, _is_welcome(job)) for job, seen in known if seen is Seen.REDELIVERED]
        before = await self._register.read_before([one.inner for one in revoked])
        held = await self._holding.waiting([inner.state for inner in before])
        before = [inner for inner in before if run_key(inner.state) not in held]
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

    async def _not_held(self, known: Sequence[tuple[Job, Seen]]) -> Sequence[tuple[Job, Seen]]:
        """Without those that were held for review when they were read before: they have records of their own,
        also once they are approved and begun.
        """
        again = [job.state for job, seen in known if seen is Seen.REDELIVERED]
        held = await self._holding.waiting(again)
        if not held:
            return known
        return [
            (job, seen)
            for job, seen in known
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
            elif (judgement := _for_review(job)) is not None:
                to_hold.append(held(job.inner, judgement))
            else:
                onward.append(job.inner)
        return onward, ended, to_hold

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


def _for_review(job: Job) -> Judgement | None:
    """By which it is held for review."""
    judgement = job.judgement
    return judgement if judgement is not None and judgement.decision.effect == "review" else None


def _is_welcome(job: Job) -> bool:
    return job.refused is None and _for_review(job) is None


def _name(job: Job, seen: Seen) -> str:
    if seen in (Seen.CONFLICT, Seen.REPEAT, Seen.CANCELLED):
        return str(seen.value)
    if job.refused is not None:
        return str(job.refused.reason.value)
    return "passed" if _for_review(job) is None else "held_for_review"
