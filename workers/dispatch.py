"""DISPATCH: call the provider, once an attempt, with the intent on record before and the outcome after.

    reserved.<lane>, and what ADMIT and RESERVE of the same process hand over
      answered, refused      → outcomes
      failed                 → a verdict, then retry.<delay> or admitted.<lane> for the next attempt
      attempts used up       → dead, then outcomes
      called off, too late   → outcomes

A record that comes again is never simply called again: what the ledger says of its attempt decides.
How the provider is called is in `caller`, what follows an attempt in `completer`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from broker.errors import LeaseLost, NotBelieved
from broker.identity.directory import Directory
from broker.policy.decide import AnswerPolicy
from broker.quota.gate import Granted, Release, StartRequest
from broker.records import Handed, Incoming, Inner
from broker.settings import Settings
from broker.store.attempts import AttemptRow
from broker.store.keys import AttemptKey
from schemas import topics
from schemas.reasons import Failure, Refusal
from schemas.state import State
from workers.attempts import AttemptBook, attempt_key
from workers.call import Prepared, held, prepare
from workers.caller import Caller
from workers.completer import Completer
from workers.engine.source import Partition
from workers.judging import judging
from workers.lease import Lease
from workers.succession import Succession
from workers.successors import Successors, at_home
from workers.targets import Targets
from workers.tools import Tools


class Dispatch:
    def __init__(
        self,
        settings: Settings,
        tools: Tools,
        directory: Directory,
        attempts: AttemptBook,
        succession: Succession,
        lease: Lease,
        targets: Targets,
        policy: AnswerPolicy,
    ) -> None:
        self._directory = directory
        self._attempts = attempts
        self._succession = succession
        self._lease = lease
        self._targets = targets
        self._policy = policy
        self._producer = tools.producer
        self._sealer = tools.sealer
        self._clock = tools.clock
        self._metrics = tools.metrics
        self._outlets = tools.outlets
        self._tombstones = tools.tombstones
        self._running: dict[AttemptKey, asyncio.Future[None]] = {}
        self._successors = Successors()
        self.assigned: Callable[[], list[Partition]] = list
        """The partitions that this process reads."""
        self._completer = Completer(tools, attempts)
        self.caller = Caller(
            settings.retry, tools, directory, attempts, lease, targets, policy, self._completer
        )
        self._tried: dict[AttemptKey, AttemptRow] = {}
        """Intents that were sent, until their hold is started: one that is on record just as it was sent here
        is ours, and nothing was called under it. A later try of an attempt that was called differs in time.
        """
        self._kept: set[AttemptKey] = set()
        """Of them those that were handed over, and have a record of their own now."""

    async def handle(self, records: Sequence[Incoming]) -> Awaitable[None] | None:
        """One record, with a place at its target unless it is not to be called. Returns what to wait for,
        without slot and place, before it is to be handled again.
        """
        (record,) = records
        try:
            inner = self._sealer.open(record)
        except NotBelieved as error:
            self._metrics.dead_letter("dispatch", error.reason)
            await self._producer.send(self._outlets.dead_record(record, "dispatch", error.reason.value))
            return None
        inner.state.forget_what_was_set()  # thousands of states are kept here, each for as long as its call
        key = attempt_key(inner.state)
        if (running := self._running.get(key)) is not None:
            return asyncio.shield(running)
        if self._successors.is_through(key):
            return None
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._running[key] = done
        try:
            later = await self._attempt(record, inner, key)
            if later is None:
                self._successors.through(key)
            return later
        finally:
            del self._running[key]
            done.set_result(None)

    async def rehome(self, record: Incoming) -> None:
        """A record at the end of `reserved.<lane>` for a job that is under way: see `engine.rehoming`. Raises
        Unavailable.
        """
        inner = self._sealer.open(record)
        lane = inner.state.lane
        onward = self._outlets.onward(topics.reserved(lane), inner, inner.state)
        self._successors.begin(attempt_key(inner.state))
        await self._producer.send(at_home(onward, lane, self.assigned()))
        self._metrics.job("dispatch", "rehomed")

    async def _attempt(self, record: Incoming, inner: Inner, key: AttemptKey) -> Awaitable[None] | None:
        state = inner.state
        prepared = await self._prepared(inner)
        if self._is_anothers(record, key):
            return asyncio.sleep(0)  # left unfinished: what is finished may still be committed
        if isinstance(prepared, Refusal):
            return await self._end_uncalled(record, inner, key, prepared, prepared)
        if (bar := self._bar(state, prepared)) is not None:
            return await self._end_uncalled(record, inner, key, prepared, bar)
        incarnation = self._lease.incarnation
        if await self._attempts.begin(self._intent(state, key, prepared, incarnation)):
            await self._start_and_call(record, inner, key, prepared, incarnation)
            return None
        return await self._resume(record, inner, key, prepared)

    def _is_anothers(self, record: Incoming, key: AttemptKey) -> bool:
        """A job that was handed over, and whose partition has gone to whoever reads it next. Not once an
        intent was sent: it may be on record, and nobody else ends it while this process lives.
        """
        return isinstance(record, Handed) and not record.is_current() and key not in self._tried

    def _intent(self, state: State, key: AttemptKey, prepared: Prepared, incarnation: str) -> AttemptRow:
        row = self._tried.get(key)
        if row is None or row.owner != incarnation:
            row = self._tried[key] = self._row(state, prepared, incarnation)
        return row

    async def _prepared(self, inner: Inner) -> Prepared | Refusal:
        prepared = prepare(inner, self._targets.routes, self._sealer.token_key)
        if isinstance(prepared, Refusal):
            return prepared
        judges = await judging(self._policy, self._directory, inner.state)
        return judges if isinstance(judges, Refusal) else prepared._replace(judging=judges)

    def _bar(self, state: State, prepared: Prepared) -> Failure | Refusal | None:
        """Why the provider is not to be called: for certain, or by what can be expected."""
        now_ms = self._clock()
        left_ms = state.deadline_ms - now_ms
        certain = self._certain_bar(state)
        if certain is None and self.caller.latency.is_too_slow(prepared.target, left_ms, now_ms):
            return Refusal.DEADLINE_UNREACHABLE
        return certain

    def _certain_bar(self, state: State) -> Failure | None:
        if self._tombstones.covers(state):
            return Failure.CANCELLED
        return Failure.DEADLINE_PASSED if self._clock() >= state.deadline_ms else None

    async def _start_and_call(
        self, record: Incoming, inner: Inner, key: AttemptKey, prepared: Prepared, incarnation: str
    ) -> None:
        """With the intent on record. Under a hold that lapsed nothing is called: RESERVE takes another.

        To write the intent and start the hold may have taken long, so what bars a call is looked at again.
        Past the lease another may have taken the attempt over: then what the ledger says decides, as of any
        record that comes again. Raises LeaseLost.
        """
        await self._keep_record(record, key)
        is_held = await self._start_hold(inner.state)
        if not self._lease.held_since(incarnation):
            raise LeaseLost("the worker's lease ran out before the call")
        self._forget(key)
        bar = self._certain_bar(inner.state) if is_held else Failure.HOLD_LAPSED
        if bar is not None:
            await self._completer.failed(record, inner, prepared, bar)
        else:
            await self.caller.call(record, inner, prepared, incarnation)

    async def _keep_record(self, record: Incoming, key: AttemptKey) -> None:
        """Once, of a job that was handed over and whose partition is another's by now. Who reads it there may
        have looked before the intent was on record, and has ended nothing that has begun.
        """
        if isinstance(record, Handed) and not record.is_current() and key not in self._kept:
            await self.rehome(record)
            self._kept.add(key)

    def _forget(self, key: AttemptKey) -> None:
        self._tried.pop(key, None)
        self._kept.discard(key)

    async def _start_hold(self, state: State) -> bool:
        """Whether the attempt may go on under its hold."""
        request = StartRequest(held(state), self._directory.budget(state.key_id))
        verdict = await self._attempts.start(request)
        return isinstance(verdict, Granted) and verdict.hold == state.hold

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
        if facts.is_over or facts.intent is not None:
            return await self._resume(record, inner, key, prepared)
        self._forget(key)
        await self._completer.uncalled(inner.state, bar)
        return None

    # a record that comes again

    async def _resume(
        self, record: Incoming, inner: Inner, key: AttemptKey, prepared: Prepared | Refusal
    ) -> Awaitable[None] | None:
        facts = await self._attempts.facts(key)
        if facts.intent != self._tried.get(key) or facts.is_over or facts.verdict is not None:
            self._forget(key)
        if facts.is_over:
            if facts.intent is None:
                await self._drop(inner.state)
            return None
        if facts.verdict is not None:
            await self._completer.follow(record, inner, facts.verdict)
            return None
        if facts.intent is None:
            return self._succession.wait()
        return await self._inherit(record, inner, key, facts.intent, facts.owner_alive, prepared)

    async def _drop(self, state: State) -> None:
        """An attempt that is not begun, for its run has ended: by a worker that was taken for dead, say. What
        those before it cost, SETTLE may not have heard of.
        """
        await self._attempts.release(Release(held(state).id, state.organization_id))
        if any(charge.nanodollars for charge in state.charges):
            await self._completer.uncalled(state, Failure.DEADLINE_PASSED)

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
        if not (await self._attempts.facts(key)).is_over:  # SETTLE may have come to its end just now
            await self._completer.lost(state, intent.hold, intent.target)
        return await self._resume(record, inner, key, prepared)

    def _row(self, state: State, prepared: Prepared, incarnation: str) -> AttemptRow:
        return AttemptRow(
            *attempt_key(state),
            owner=incarnation,
            project_id=state.project_id,
            key_id=state.key_id,
            target=prepared.target.name,
            model=state.model or "",
            hold=held(state),
            price_version=prepared.price_version,
            started_ms=self._clock(),
        )
