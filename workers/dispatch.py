"""DISPATCH: call the provider, once an attempt, with the intent on record before and the outcome after.

    reserved.<lane>
      answered, refused      → outcomes
      failed                 → a verdict, then retry.<delay> or admitted.<lane> for the next attempt
      attempts used up       → dead, then outcomes
      called off, too late   → outcomes

A record that comes again is never simply called again: what the ledger says of its attempt decides.
What follows a call is insisted upon for as long as the process lives, since the answer is nowhere else.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from broker.errors import NotBelieved, Unavailable
from broker.identity.directory import Directory
from broker.pricing.project_books import ProjectBooks
from broker.providers.provider import Answer, Failed, Rejected, Result
from broker.quota.gate import Granted, Release, Settlement, StartRequest
from broker.quota.limits import Limits
from broker.records import Incoming, Inner
from broker.settings import Settings
from broker.store.attempts import AttemptFacts, AttemptRow, VerdictRow
from broker.store.keys import AttemptKey
from schemas import topics
from schemas.outcomes import Answered, Dead, Unknown
from schemas.reasons import Failure, Refusal
from schemas.state import Charge, Hold, State
from schemas.topics import RetryDelay
from workers.attempts import AttemptBook
from workers.call import Prepared, answered_charge, failed_charge, prepare
from workers.engine.backoff import delays
from workers.latency import RecentLatency
from workers.lease import Lease
from workers.outlets import coordinate
from workers.succession import Succession
from workers.targets import Targets
from workers.tools import Tools
from workers.verdict import (
    Again,
    CalledOff,
    GiveUp,
    Late,
    Step,
    TooSlow,
    Unresolved,
    after_failure,
    backoff_ms,
)

T = TypeVar("T")


class Dispatch:
    def __init__(
        self,
        settings: Settings,
        tools: Tools,
        directory: Directory,
        books: ProjectBooks,
        attempts: AttemptBook,
        succession: Succession,
        lease: Lease,
        targets: Targets,
    ) -> None:
        self._retry = settings.retry
        self._directory = directory
        self._books = books
        self._attempts = attempts
        self._succession = succession
        self._lease = lease
        self._targets = targets
        self._producer = tools.producer
        self._sealer = tools.sealer
        self._clock = tools.clock
        self._metrics = tools.metrics
        self._outlets = tools.outlets
        self._tombstones = tools.tombstones
        self._running: dict[AttemptKey, asyncio.Future[None]] = {}
        self._latency = RecentLatency()
        self._tried: dict[AttemptKey, AttemptRow] = {}
        """Intents that were sent, until their hold is started: one that is on record just as it was sent here
        is ours, and nothing was called under it. A later try of an attempt that was called differs in time.
        """

    async def handle(self, records: Sequence[Incoming]) -> Awaitable[None] | None:
        """One record. Returns what to wait for, without a slot, before it is to be handled again."""
        (record,) = records
        try:
            inner = self._sealer.open(record)
        except NotBelieved as error:
            self._metrics.dead_letter("dispatch", error.reason)
            await self._producer.send(self._outlets.dead_record(record, "dispatch", error.reason.value))
            return None
        key = attempt_key(inner.state)
        if (running := self._running.get(key)) is not None:
            return asyncio.shield(running)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._running[key] = done
        later: Awaitable[None] | None = None
        try:
            later = await self._attempt(record, inner, key)
            return later
        finally:
            if later is None or not self._targets.is_waiting(key):
                self._targets.leave(key)
            del self._running[key]
            done.set_result(None)

    async def _attempt(self, record: Incoming, inner: Inner, key: AttemptKey) -> Awaitable[None] | None:
        state = inner.state
        prepared = await self._prepare(inner)
        if isinstance(prepared, Refusal):
            return await self._end_uncalled(record, inner, key, prepared, prepared)
        if (bar := self._bar(state, prepared)) is not None:
            return await self._end_uncalled(record, inner, key, prepared, bar)
        left_s = (state.deadline_ms - self._clock()) / 1000
        if (turn := self._targets.enter(key, prepared.target.name, state.lane.value, left_s)) is not None:
            return self._tombstones.unless_cancelled(state, turn)
        incarnation = self._lease.incarnation
        row = self._tried.get(key)
        if row is None or row.owner != incarnation:
            row = self._tried[key] = self._row(state, prepared, incarnation)
        if await self._attempts.begin(row):
            await self._start_and_call(record, inner, key, prepared, incarnation)
            return None
        return await self._resume(record, inner, key, prepared)

    def _bar(self, state: State, prepared: Prepared) -> Failure | Refusal | None:
        """Why the provider is not to be called: for certain, or by what can be expected."""
        now_ms = self._clock()
        left_ms = state.deadline_ms - now_ms
        certain = self._certain_bar(state)
        if certain is None and self._latency.is_too_slow(prepared.target, left_ms, now_ms):
            return Refusal.DEADLINE_UNREACHABLE
        return certain

    def _certain_bar(self, state: State) -> Failure | None:
        if self._tombstones.covers(state):
            return Failure.CANCELLED
        return Failure.DEADLINE_PASSED if self._clock() >= state.deadline_ms else None

    async def _prepare(self, inner: Inner) -> Prepared | Refusal:
        """A model that has no price here may have got one a moment ago, which ADMIT knew: look again."""
        prepared = self._prepared(inner)
        if prepared is Refusal.UNKNOWN_MODEL:
            await self._directory.refresh()
            prepared = self._prepared(inner)
        return prepared

    def _prepared(self, inner: Inner) -> Prepared | Refusal:
        project = self._directory.project(inner.state.project_id)
        return prepare(inner, self._targets.routes, self._books.of(project))

    async def _start_and_call(
        self, record: Incoming, inner: Inner, key: AttemptKey, prepared: Prepared, incarnation: str
    ) -> None:
        """With the intent on record. Under a hold that lapsed nothing is called: RESERVE takes another.

        To write the intent and start the hold may have taken long, so what bars a call is looked at again.
        """
        state = inner.state
        settings = self._directory.project(state.project_id).settings
        limits = Limits(settings.nanodollars_per_day, settings.requests_per_minute)
        request = StartRequest(_held(state), state.organization_id, state.project_id, limits)
        verdict = await self._attempts.start(request)
        self._tried.pop(key, None)
        bar = self._certain_bar(state)
        if not isinstance(verdict, Granted) or verdict.hold != state.hold:
            await self._end_attempt(record, inner, prepared, Failure.HOLD_LAPSED)
        elif bar is not None:
            await self._end_attempt(record, inner, prepared, bar)
        else:
            await self._call(record, inner, key, prepared, incarnation)

    async def _end_uncalled(
        self,
        record: Incoming,
        inner: Inner,
        key: AttemptKey,
        prepared: Prepared | Refusal,
        bar: Failure | Refusal,
    ) -> Awaitable[None] | None:
        """An end without a call is only right where no call was begun."""
        facts = await self._attempts.facts(key)
        if over(facts) or facts.intent is not None:
            return await self._resume(record, inner, key, prepared)
        self._tried.pop(key, None)
        if isinstance(bar, Refusal):
            await self._refuse(inner.state, bar)
        elif bar is Failure.CANCELLED:
            await self._cancel(inner.state)
        else:
            await self._expire(inner.state)
        return None

    # a record that comes again

    async def _resume(
        self, record: Incoming, inner: Inner, key: AttemptKey, prepared: Prepared | Refusal
    ) -> Awaitable[None] | None:
        facts = await self._attempts.facts(key)
        if facts.intent != self._tried.get(key) or over(facts) or facts.verdict is not None:
            self._tried.pop(key, None)
        if over(facts):
            if facts.intent is None:
                await self._attempts.release(Release(_held(inner.state).id, inner.state.organization_id))
            return None
        if facts.verdict is not None:
            await self._follow(record, inner, facts.verdict)
            return None
        if facts.intent is None:
            return self._succession.wait()
        return await self._inherit(record, inner, key, facts.intent, facts.owner_alive, prepared)

    async def _inherit(
        self,
        record: Incoming,
        inner: Inner,
        key: AttemptKey,
        intent: AttemptRow,
        owner_alive: bool,
        prepared: Prepared | Refusal,
    ) -> Awaitable[None] | None:
        """An intent without an end on record: begun without our knowing, or another's, or soon settled."""
        state = inner.state
        is_ours = key in self._tried and intent.owner == self._lease.incarnation
        if is_ours and isinstance(prepared, Prepared):
            await self._start_and_call(record, inner, key, prepared, intent.owner)
            return None
        if owner_alive or not await self._succession.settled_up_to_now(state):
            return self._succession.wait()
        row = self._lost(state, intent.hold, intent.target)
        if await self._attempts.decide(row):
            self._metrics.takeover()
        return await self._resume(record, inner, key, prepared)

    def _lost(self, state: State, hold: Hold, target: str) -> VerdictRow:
        charge = failed_charge(state, hold, target, Failure.WORKER_LOST, unknown=True, latency_ms=0)
        return self._verdict(state, charge, Failure.WORKER_LOST, self._clock())

    async def _follow(self, record: Incoming, inner: Inner, row: VerdictRow) -> None:
        """Go on from a verdict on record; again, if a worker died between writing it and publishing."""
        step = after_failure(
            inner.state,
            row.charge,
            Failure(row.reason),
            unknown=row.kind == "unknown",
            due_ms=row.due_ms,
            now_ms=self._clock(),
        )
        await self._insist(lambda: self._take_step(record, inner, step))
        await self._settle_hold(inner.state, row.charge)

    # the call and what follows

    async def _call(
        self, record: Incoming, inner: Inner, key: AttemptKey, prepared: Prepared, incarnation: str
    ) -> None:
        state = inner.state
        result = await self._result(state, key, prepared)
        if not self._lease.held_since(incarnation) and await self._insist(lambda: self._taken_over(state)):
            return
        match result:
            case Answer():
                self._latency.note(prepared.target, result.latency_ms, self._clock())
                await self._answered(state, prepared, result)
            case Rejected():
                await self._rejected(state, prepared, result)
            case Failed():
                await self._failed(record, inner, prepared, result)

    async def _result(self, state: State, key: AttemptKey, prepared: Prepared) -> Result:
        """A call that is cut off, because its job is called off, may have been served."""
        began_ms = self._clock()
        call = self._targets.call(key, prepared.target, prepared.call)
        result = await self._tombstones.unless_cancelled(state, call)
        if result is None:
            return Failed(Failure.CANCELLED, sent=True, latency_ms=self._clock() - began_ms)
        return result

    async def _taken_over(self, state: State) -> bool:
        facts = await self._attempts.facts(attempt_key(state))
        return over(facts) or facts.verdict is not None

    async def _answered(self, state: State, prepared: Prepared, answer: Answer) -> None:
        charge = answered_charge(state, prepared, answer)
        ended = state.model_copy(update={"charges": (*state.charges, charge)})
        outcome = Answered(
            model=prepared.target.model,
            request_sha256=prepared.request_sha256,
            response_sha256=answer.response_sha256,
        )
        record = self._outlets.answered(ended, outcome, answer.body, answer.status)
        self._metrics.job("dispatch", "answered")
        await self._insist(lambda: self._producer.send(record))

    async def _rejected(self, state: State, prepared: Prepared, rejected: Rejected) -> None:
        charge = Charge(
            attempt=state.attempt,
            verdict="refused",
            hold=_held(state),
            nanodollars=0,
            price_version=prepared.price_version,
            target=prepared.target.name,
            reason=rejected.refusal.value,
        )
        ended = state.model_copy(update={"charges": (*state.charges, charge)})
        record = self._outlets.refused(
            ended, "dispatch", rejected.refusal, rejected.code, status_code=rejected.status
        )
        self._metrics.job("dispatch", rejected.refusal.value)
        await self._insist(lambda: self._producer.send(record))

    async def _failed(self, record: Incoming, inner: Inner, prepared: Prepared, failed: Failed) -> None:
        await self._end_attempt(
            record,
            inner,
            prepared,
            failed.failure,
            unknown=failed.sent,
            wait_ms=self._wait_ms(inner.state, prepared, failed),
            latency_ms=failed.latency_ms,
        )

    def _wait_ms(self, state: State, prepared: Prepared, failed: Failed) -> int | None:
        """Until the next attempt. None where one that starts then is not expected to end in time."""
        retry = self._retry
        wait_ms = backoff_ms(
            state.attempt, retry.base_ms, retry.max_ms, failed.retry_after_ms, random.random()
        )
        now_ms = self._clock()
        left_ms = state.deadline_ms - now_ms - wait_ms
        too_slow = left_ms > 0 and self._latency.is_too_slow(prepared.target, left_ms, now_ms)
        return None if too_slow else wait_ms

    async def _end_attempt(
        self,
        record: Incoming,
        inner: Inner,
        prepared: Prepared,
        failure: Failure,
        *,
        unknown: bool = False,
        wait_ms: int | None = 0,
        latency_ms: int = 0,
    ) -> None:
        """The verdict first; then what follows from it, if it was ours to give."""
        state = inner.state
        charge = failed_charge(
            state, _held(state), prepared.target.name, failure, unknown=unknown, latency_ms=latency_ms
        )
        due_ms = None if wait_ms is None else self._clock() + wait_ms
        row = self._verdict(state, charge, failure, due_ms)
        self._metrics.job("dispatch", failure.value)
        if await self._insist(lambda: self._attempts.decide(row)):
            await self._follow(record, inner, row)

    async def _take_step(self, record: Incoming, inner: Inner, step: Step) -> None:
        match step:
            case Again(state, delay):
                await self._try_again(inner, state, delay)
            case GiveUp(state, reason):
                await self._bury(record, inner, state, reason)
            case Late(state):
                await self._expire(state)
            case CalledOff(state):
                await self._cancel(state)
            case TooSlow(state):
                await self._refuse(state, Refusal.DEADLINE_UNREACHABLE)
            case Unresolved(state, reason):
                outcome = Unknown(reason=reason)
                await self._producer.send(
                    self._outlets.failed(state, outcome, "unknown", "outcome_unknown", None)
                )

    async def _try_again(self, inner: Inner, state: State, delay: RetryDelay | None) -> None:
        if delay is None:
            topic = topics.admitted(state.lane)
        else:
            self._metrics.retry(delay)
            topic = topics.retry(delay)
        await self._producer.send(self._outlets.onward(topic, inner, state))

    async def _bury(self, record: Incoming, inner: Inner, state: State, reason: Failure) -> None:
        self._metrics.dead_letter("dispatch", reason)
        letter = self._outlets.dead_job(
            inner._replace(state=state), "dispatch", reason.value, coordinate(record)
        )
        place = str(await self._producer.send(letter))
        outcome = Dead(reason=reason, dead_letter=place)
        await self._producer.send(self._outlets.failed(state, outcome, "dead", reason.value, place))

    async def _refuse(self, state: State, reason: Refusal) -> None:
        self._metrics.job("dispatch", reason.value)
        await self._producer.send(self._outlets.refused(state, "dispatch", reason))

    async def _expire(self, state: State) -> None:
        self._metrics.job("dispatch", "expired")
        await self._producer.send(self._outlets.expired(state, "dispatch"))

    async def _cancel(self, state: State) -> None:
        self._metrics.job("dispatch", "cancelled")
        await self._producer.send(self._outlets.cancelled(state, "dispatch"))

    async def _settle_hold(self, state: State, charge: Charge) -> None:
        """Free the hold, or count what it cost, before the next attempt takes its own."""
        settlement = Settlement(charge.hold, state.organization_id, state.project_id, charge.nanodollars)
        await self._insist(lambda: self._attempts.settle(settlement))

    async def _insist(self, act: Callable[[], Awaitable[T]]) -> T:
        for delay in delays():
            try:
                return await act()
            except Unavailable as error:
                self._metrics.trouble("dispatch", error)
                await asyncio.sleep(delay)
        raise AssertionError("delays() has no end")

    def _row(self, state: State, prepared: Prepared, incarnation: str) -> AttemptRow:
        return AttemptRow(
            *attempt_key(state),
            owner=incarnation,
            project_id=state.project_id,
            target=prepared.target.name,
            model=state.model or "",
            hold=_held(state),
            price_version=prepared.price_version,
            started_ms=self._clock(),
        )

    def _verdict(self, state: State, charge: Charge, failure: Failure, due_ms: int | None) -> VerdictRow:
        return VerdictRow(
            *attempt_key(state),
            kind="unknown" if charge.verdict == "unknown" else "failed",
            reason=failure.value,
            charge=charge,
            due_ms=due_ms,
            at_ms=self._clock(),
        )


def attempt_key(state: State) -> AttemptKey:
    return AttemptKey(state.application_id, state.job_id, state.run, state.attempt)


def over(facts: AttemptFacts) -> bool:
    """Whether nothing is left to do for the attempt: its job has ended, or SETTLE has charged it."""
    return facts.charged or facts.terminal is not None


def _held(state: State) -> Hold:
    if state.hold is None:
        raise ValueError("an attempt has a hold")
    return state.hold
