"""What follows an attempt: its answer or its verdict, then the next step of its job.

After a call it is insisted upon for as long as the process lives, since the answer is nowhere else.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from broker.providers.provider import Answer, Rejected
from broker.quota.gate import Settlement
from broker.records import Incoming, Inner
from broker.store.attempts import VerdictRow
from schemas import topics
from schemas.outcomes import Answered, Dead, Refused, Unknown
from schemas.reasons import Failure, Notice, Refusal
from schemas.state import AnswerDecision, Charge, Hold, State
from schemas.topics import RetryDelay
from workers.attempts import AttemptBook, attempt_key
from workers.call import Prepared, answered_charge, failed_charge, held, rejected_charge
from workers.insistence import insist
from workers.outlets import coordinate
from workers.tools import Tools
from workers.verdict import Again, CalledOff, GiveUp, Late, Step, TooSlow, Unresolved, after_failure

T = TypeVar("T")


class Completer:
    def __init__(self, tools: Tools, attempts: AttemptBook) -> None:
        self._attempts = attempts
        self._producer = tools.producer
        self._clock = tools.clock
        self._metrics = tools.metrics
        self._outlets = tools.outlets

    async def answered(
        self, state: State, prepared: Prepared, answer: Answer, body: bytes, decision: AnswerDecision | None
    ) -> None:
        """`body`: what the owner gets of the answer. `decision`: policy's, where rules are about it."""
        ended = self._paid(state, prepared, answer, decision)
        outcome = Answered(
            model=prepared.target.model,
            request_sha256=prepared.request_sha256,
            response_sha256=answer.response_sha256,
        )
        record = self._outlets.answered(ended, outcome, body, answer.status)
        self._metrics.job("dispatch", "answered")
        await self._insist(lambda: self._producer.send(record))

    async def withheld(
        self, state: State, prepared: Prepared, answer: Answer, decision: AnswerDecision
    ) -> None:
        """An answer that policy lets nobody have: it was given, and costs what it costs."""
        ended = self._paid(state, prepared, answer, decision)
        is_error = decision.reason == "policy_error"
        outcome = Refused(
            reason=Refusal.POLICY_ERROR if is_error else Refusal.ANSWER_REFUSED,
            stage="dispatch",
            request_sha256=prepared.request_sha256,
            response_sha256=answer.response_sha256,
        )
        record = self._outlets.withheld(ended, outcome, f"decision {decision.id}, rule {decision.rule}")
        self._metrics.job("dispatch", outcome.reason.value)
        await self._insist(lambda: self._producer.send(record))

    async def rejected(self, state: State, prepared: Prepared, rejected: Rejected) -> None:
        ended = _charged(state, rejected_charge(state, prepared, rejected))
        record = self._outlets.refused(
            ended, "dispatch", rejected.refusal, rejected.code, status_code=rejected.status
        )
        self._metrics.job("dispatch", rejected.refusal.value)
        await self._insist(lambda: self._producer.send(record))

    async def failed(
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
        """The verdict first; then what follows from it, if it was ours to give.

        `unknown`: the provider may have done the work. `wait_ms`: until the next attempt may start; None
        where one that starts then is not expected to end in time.
        """
        state = inner.state
        charge = failed_charge(
            state, held(state), prepared.target.name, failure, unknown=unknown, latency_ms=latency_ms
        )
        due_ms = None if wait_ms is None else self._clock() + wait_ms
        row = self._verdict(state, charge, failure, due_ms)
        self._metrics.job("dispatch", failure.value)
        if await self._insist(lambda: self._is_decided_by(row)):
            await self.follow(record, inner, row)

    async def _is_decided_by(self, row: VerdictRow) -> bool:
        """Whether this verdict is the one on record; also where it was written by a try whose answer was
        lost, for then nobody else goes on from it. Raises Unavailable.
        """
        return await self._attempts.decide(row) or (await self._attempts.facts(row.key)).verdict == row

    async def lost(self, state: State, hold: Hold, target: str) -> None:
        """Put on record that a worker died with the attempt, unless it has a verdict. Raises Unavailable."""
        charge = failed_charge(state, hold, target, Failure.WORKER_LOST, unknown=True, latency_ms=0)
        row = self._verdict(state, charge, Failure.WORKER_LOST, self._clock())
        if await self._attempts.decide(row):
            self._metrics.takeover()

    async def follow(self, record: Incoming, inner: Inner, row: VerdictRow) -> None:
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

    async def broken_off(self, inner: Inner) -> Step:
        """The end of a job over whose attempt DISPATCH failed in an unforeseen way; for others to publish.

        An attempt that was begun may have been served: it is put on record as unknown, and charged so. What
        stands on record already is left as it is. Raises Unavailable.
        """
        state, key = inner.state, attempt_key(inner.state)
        facts = await self._attempts.facts(key)
        if facts.intent is not None and facts.verdict is None and not facts.is_over:
            hold, target = facts.intent.hold, facts.intent.target
            charge = failed_charge(state, hold, target, Failure.INTERNAL_ERROR, unknown=True, latency_ms=0)
            await self._attempts.decide(self._verdict(state, charge, Failure.INTERNAL_ERROR, None))
            facts = await self._attempts.facts(key)
        if facts.verdict is None:
            return GiveUp(state, Failure.INTERNAL_ERROR)
        charge = facts.verdict.charge
        unknown = charge.verdict == "unknown"
        return after_failure(
            state, charge, Failure.INTERNAL_ERROR, unknown=unknown, due_ms=None, now_ms=self._clock()
        )

    async def uncalled(self, state: State, bar: Failure | Refusal) -> None:
        """End a job of which no call was begun. Raises Unavailable."""
        if isinstance(bar, Refusal):
            await self._refuse(state, bar)
        elif bar is Failure.CANCELLED:
            await self._cancel(state)
        else:
            await self._expire(state)

    def _verdict(self, state: State, charge: Charge, failure: Failure, due_ms: int | None) -> VerdictRow:
        return VerdictRow(
            *attempt_key(state),
            kind="unknown" if charge.verdict == "unknown" else "failed",
            reason=failure.value,
            charge=charge,
            due_ms=due_ms,
            at_ms=self._clock(),
        )

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
                await self._leave_unknown(state, reason)

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

    async def _leave_unknown(self, state: State, reason: Failure) -> None:
        outcome = Unknown(reason=reason)
        code = Notice.OUTCOME_UNKNOWN.value
        await self._producer.send(self._outlets.failed(state, outcome, "unknown", code, None))

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
        settlement = Settlement.of(state, charge)
        await self._insist(lambda: self._attempts.settle(settlement))

    def _paid(
        self, state: State, prepared: Prepared, answer: Answer, decision: AnswerDecision | None
    ) -> State:
        charge = answered_charge(state, prepared, answer)
        if charge.reason is not None:
            self._metrics.estimated(charge.target, charge.reason)
        return _charged(state, charge, answer=decision)

    async def _insist(self, act: Callable[[], Awaitable[T]]) -> T:
        return await insist(act, self._metrics, "dispatch")


def _charged(state: State, charge: Charge, **changes: AnswerDecision | None) -> State:
    return state.model_copy(update={"charges": (*state.charges, charge), **changes})
