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
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from time import monotonic
from typing import NamedTuple

from broker.admission import DEADLINE_DEFAULT_MS, Admitted, Bounds, Sender, judge, read_reply_to
from broker.errors import AppendTimeRequired, GateClosed, JobRefused, NotBelieved, RedisUnavailable
from broker.identity.authenticate import Authentic, Freshness, authenticate
from broker.identity.directory import Directory
from broker.policy import tokens
from broker.policy.decide import Judgement, Policy, PolicyDenied
from broker.policy.dlp.errors import TokenMapTooLarge
from broker.pricing.project_books import ProjectBooks
from broker.providers.routes import Routes
from broker.records import Incoming, Inner, Outgoing
from broker.settings import Settings
from broker.store.cancels import CancelRow, Cancels
from broker.store.jobs import JobRow, Jobs, Seen
from schemas import headers, topics
from schemas.envelope import TTL_S_MAX
from schemas.outcomes import Cancelling, Conflict, Repeat
from schemas.reasons import Refusal
from schemas.state import State
from schemas.topics import ReplyTo
from workers.outlets import coordinate
from workers.review import Held, Holding, held, run_key
from workers.sampling import Sampler
from workers.tools import Tools

_YIELD_AFTER_S = 0.004
"""Policy may take tens of milliseconds for a long prompt, and less than one for others."""
_LOG_APPEND_TIME = 1

Hold = Callable[[Sequence[Inner], Sequence[Outgoing]], Awaitable[None]]
"""RESERVE's: take the jobs' holds, and publish what follows and the records beside."""


class _Cancel(NamedTuple):
    """An authentic word that a job is called off. `state`: the job's, as far as this record tells."""

    state: State


class _Job(NamedTuple):
    """An authentic job, judged."""

    record: Incoming
    authentic: Authentic
    state: State
    refused: JobRefused | None
    judgement: Judgement | None
    """None where no policy is active, or it was refused before."""
    rewritten: bytes | None = None
    """The value without what policy took out, where it took something."""
    tokens: bytes | None = None

    @property
    def inner(self) -> Inner:
        """As it goes on."""
        if self.rewritten is not None:
            digest = hashlib.sha256(self.rewritten).digest()
            return Inner(self.state, self.rewritten, digest, self.tokens)
        return Inner(self.state, self.record.value or b"", self.authentic.sha256)


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
        self._directory = directory
        self._books = books
        self._routes = Routes(settings.providers)
        self._policy = policy
        self._jobs = jobs
        self._cancels = cancels
        self._holding = holding
        self._producer = tools.producer
        self._sealer = tools.sealer
        self._clock = tools.clock
        self._metrics = tools.metrics
        self._outlets = tools.outlets
        self._tombstones = tools.tombstones
        self._bounds = Bounds(admit.request_bytes_max, admit.depth_max)
        self._freshness = Freshness(admit.stale_after_s * 1000, admit.future_within_s * 1000)
        self._cancels_max = admit.cancels_max
        self._by_receipt = settings.kafka.append_time == "receipt"
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

    async def _going(self, jobs: Iterable[tuple[_Job, Seen]]) -> list[tuple[_Job, Seen]]:
        """Without those that were held for review when they were read before."""
        every = list(jobs)
        again = [job.state for job, seen in every if seen is Seen.REDELIVERED]
        held = await self._holding.waiting(again)
        return [
            (job, seen)
            for job, seen in every
            if seen is not Seen.REDELIVERED or run_key(job.state) not in held
        ]

    def _sorted(self, jobs: Iterable[tuple[_Job, Seen]]) -> tuple[list[Inner], list[Outgoing], list[Held]]:
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
        if self.hold is not None:
            try:
                return await self.hold(admitted, beside)
            except (RedisUnavailable, GateClosed) as error:
                self._metrics.trouble("reserve", error)
        sealed = [
            self._outlets.onward(topics.admitted(inner.state.lane), inner, inner.state) for inner in admitted
        ]
        await self._producer.send_all([*beside, *sealed])
        return None

    def identify(self, record: Incoming) -> Inner | None:
        """The job of a record that ADMIT could not handle, so that it can be ended. None: nobody's."""
        try:
            appended_ms = self._appended_ms(record)
            authentic = authenticate(record, appended_ms, self._directory.key, self._freshness)
            reply_to = read_reply_to(authentic.reply_to, authentic.key.application)
        except (NotBelieved, JobRefused):
            return None
        if authentic.content_type == headers.CANCEL:
            return None
        state = _state(record, appended_ms, authentic, reply_to, None)
        return Inner(state, record.value or b"", authentic.sha256)

    async def _examine(self, records: Sequence[Incoming]) -> tuple[list[_Job], list[_Cancel], list[Outgoing]]:
        jobs: list[_Job] = []
        cancels: list[_Cancel] = []
        strangers: list[Outgoing] = []
        yielded_at = monotonic()
        for record in records:
            try:
                judged = await self._judge(record)
            except NotBelieved as error:
                strangers += self._turn_away(record, error)
            else:
                cancels.append(judged) if isinstance(judged, _Cancel) else jobs.append(judged)
            if monotonic() - yielded_at >= _YIELD_AFTER_S:
                await asyncio.sleep(0)
                yielded_at = monotonic()
        return jobs, cancels, strangers

    async def _judge(self, record: Incoming) -> _Job | _Cancel:
        appended_ms = self._appended_ms(record)
        authentic = authenticate(record, appended_ms, self._directory.key, self._freshness)
        refused: JobRefused | None = None
        reply_to: ReplyTo | None = None
        admitted: Admitted | None = None
        is_cancel = authentic.content_type == headers.CANCEL
        try:
            reply_to = await self._reply_to(authentic)
            if not is_cancel:
                admitted = self._admitted(record, authentic)
        except JobRefused as error:
            refused = error
        state = _state(record, appended_ms, authentic, reply_to, admitted)
        if is_cancel:
            return _Cancel(state)
        judgement = _judgement(admitted, refused)
        if judgement is not None:
            self._metrics.policy(judgement)
        job = _Job(record, authentic, _decided(state, refused), refused, judgement)
        return self._sealed(job, admitted)

    def _admitted(self, record: Incoming, authentic: Authentic) -> Admitted:
        """Raises JobRefused; DirectoryBehind."""
        project = self._directory.project(authentic.key.project_id)
        sender = Sender(
            organization=self._directory.organizations[project.organization_id].name,
            project=project,
            budget=self._directory.budget(authentic.key.id),
            application=authentic.key.application,
            lane=authentic.lane.value,
            value_sha256=authentic.sha256.hex(),
        )
        return judge(
            record.value or b"", sender, self._books.of(project), self._policy, self._bounds, self._routes
        )

    def _sealed(self, job: _Job, admitted: Admitted | None) -> _Job:
        """With what policy took out, and the tokens for the way back."""
        if admitted is None or admitted.rewritten is None:
            return job
        job = job._replace(rewritten=admitted.rewritten)
        if not admitted.tokens:
            return job
        try:
            sealed = tokens.seal(self._sealer.token_key, job.state, admitted.tokens)
        except TokenMapTooLarge as error:
            return job._replace(refused=JobRefused(Refusal.POLICY_TOKENS_TOO_LARGE, str(error)))
        named = job.state.model_copy(update={"tokens_sha256": hashlib.sha256(sealed).hexdigest()})
        return job._replace(state=named, tokens=sealed)

    def _allowed(self, cancels: Sequence[_Cancel]) -> list[_Cancel]:
        """Beyond so many of an application in force the newest are not carried out: every process has them in
        memory. Whoever sent one hears how the job ends all the same, and may send it again.
        """
        allowed: list[_Cancel] = []
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

    async def _call_off(self, cancels: Sequence[_Cancel]) -> None:
        """On record before the jobs of the same batch, and before anyone is told."""
        if cancels:
            await self._cancels.enter([_cancel_row(cancel.state) for cancel in cancels])
            await self._tombstones.refresh()
            for _ in cancels:
                self._metrics.job("admit", "cancelling")

    def _appended_ms(self, record: Incoming) -> int:
        if self._by_receipt:
            return self._clock()
        if record.timestamp_type != _LOG_APPEND_TIME:
            raise AppendTimeRequired(
                f"topic {record.topic} does not stamp LogAppendTime; `headworks topics apply` mends it"
            )
        return record.timestamp

    async def _reply_to(self, authentic: Authentic) -> ReplyTo | None:
        reply_to = read_reply_to(authentic.reply_to, authentic.key.application)
        if reply_to is None:
            return None
        wanted = (reply_to.partition or 0) + 1
        partitions = await self._producer.partitions(reply_to.topic, wanted)
        if partitions is None or partitions < wanted:
            raise JobRefused(
                Refusal.REPLY_UNDELIVERABLE, "there is no such reply topic or partition", "reply_to"
            )
        return reply_to

    def _turn_away(self, record: Incoming, error: NotBelieved) -> list[Outgoing]:
        self._metrics.unauthentic(error.reason)
        if not self._sampler.take(self._clock()):
            return []
        self._metrics.dead_letter("admit", error.reason)
        return [self._outlets.dead_record(record, "admit", error.reason.value)]

    def _end(self, job: _Job, seen: Seen) -> Outgoing | None:
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


def _name(job: _Job, seen: Seen) -> str:
    if seen in (Seen.CONFLICT, Seen.REPEAT, Seen.CANCELLED):
        return str(seen.value)
    if job.refused is not None:
        return str(job.refused.reason.value)
    is_held = job.judgement is not None and job.judgement.decision.effect == "review"
    return "held_for_review" if is_held else "passed"


def _judgement(admitted: Admitted | None, refused: JobRefused | None) -> Judgement | None:
    if isinstance(refused, PolicyDenied):
        return refused.judgement
    return None if admitted is None else admitted.judgement


def _state(
    record: Incoming,
    appended_ms: int,
    authentic: Authentic,
    reply_to: ReplyTo | None,
    admitted: Admitted | None,
) -> State:
    key = authentic.key
    ttl_ms = DEADLINE_DEFAULT_MS if admitted is None else admitted.ttl_s * 1000
    state = State(
        application=key.application,
        application_id=key.application_id,
        organization_id=key.organization_id,
        project_id=key.project_id,
        key_id=key.id,
        job_id=authentic.job_id,
        lane=authentic.lane,
        origin=str(coordinate(record)),
        value_sha256=authentic.sha256.hex(),
        appended_ms=appended_ms,
        deadline_ms=appended_ms + ttl_ms,
        reply_to=None if reply_to is None else str(reply_to),
        traceparent=authentic.traceparent,
    )
    return state if admitted is None else state.model_copy(update=_content(admitted))


def _decided(state: State, refused: JobRefused | None) -> State:
    """With the decision by which policy refused it, which is to be on record too."""
    if not isinstance(refused, PolicyDenied):
        return state
    return state.model_copy(update={"decision": refused.judgement.decision})


def _content(admitted: Admitted) -> dict[str, object]:
    envelope = admitted.envelope
    return {
        "endpoint": envelope.endpoint,
        "model": admitted.model,
        "tags": envelope.tags,
        "retry": envelope.retry,
        "overrides": admitted.overrides,
        "estimate": admitted.estimate,
        "decision": admitted.decision,
    }


def _row(job: _Job) -> JobRow:
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
