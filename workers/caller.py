"""The call of an attempt that is on record: what comes back is judged, and leaves by the completer."""

import random
from collections.abc import Callable

from broker.identity.directory import Directory
from broker.policy import tokens
from broker.policy.decide import AnswerPolicy
from broker.providers.provider import Answer, Failed, Rejected, Result
from broker.records import Incoming, Inner
from broker.settings import RetrySettings
from broker.store.keys import AttemptKey
from schemas.reasons import Failure
from schemas.state import AnswerDecision, State
from workers.attempts import AttemptBook, attempt_key
from workers.call import Prepared
from workers.completer import Completer
from workers.insistence import insist
from workers.judging import comparison
from workers.latency import RecentLatency
from workers.lease import Lease
from workers.targets import Targets
from workers.tools import Tools
from workers.verdict import backoff_ms


class Caller:
    def __init__(
        self,
        retry: RetrySettings,
        tools: Tools,
        directory: Directory,
        attempts: AttemptBook,
        lease: Lease,
        targets: Targets,
        policy: AnswerPolicy,
        completer: Completer,
    ) -> None:
        self.show: Callable[[State, bytes], None] | None = None
        """To detectors that look at answers beside their way, where one is plugged in."""
        self.latency = RecentLatency()
        self._retry = retry
        self._directory = directory
        self._attempts = attempts
        self._lease = lease
        self._targets = targets
        self._policy = policy
        self._completer = completer
        self._clock = tools.clock
        self._metrics = tools.metrics
        self._tombstones = tools.tombstones

    async def call(self, record: Incoming, inner: Inner, prepared: Prepared, incarnation: str) -> None:
        """`incarnation`: of the worker that has begun the attempt. Where another may have ended it meanwhile,
        and has, nothing follows.
        """
        state = inner.state
        result = await self._result(state, prepared)
        if not self._lease.held_since(incarnation) and await self._taken_over(attempt_key(state)):
            return
        match result:
            case Answer():
                self.latency.note(prepared.target, result.latency_ms, self._clock())
                await self._answered(inner, prepared, result)
            case Rejected():
                await self._completer.rejected(state, prepared, result)
            case Failed():
                await self._completer.failed(
                    record,
                    inner,
                    prepared,
                    result.failure,
                    unknown=result.sent,
                    wait_ms=self._wait_ms(state, prepared, result),
                    latency_ms=result.latency_ms,
                )

    async def _answered(self, inner: Inner, prepared: Prepared, answer: Answer) -> None:
        """Judged as it came, so that what is put back is not taken for what the provider said."""
        decision, body = None, answer.body
        if prepared.judging is not None:
            judgement = await prepared.judging.judged(inner, answer, prepared.kept)
            decision, body = judgement.decision, judgement.body
            self._metrics.answer(decision)
        if decision is not None and decision.effect == "deny":
            await self._completer.withheld(inner.state, prepared, answer, decision)
        else:
            await self._pass_on(inner.state, prepared, answer, body, decision)
        await self._compare(inner, prepared, answer, decision)

    async def _pass_on(
        self, state: State, prepared: Prepared, answer: Answer, body: bytes, decision: AnswerDecision | None
    ) -> None:
        whole = tokens.put_back(body, prepared.kept)
        await self._completer.answered(state, prepared, answer, whole, decision)
        if self.show is not None:
            self.show(state, body)

    async def _compare(
        self, inner: Inner, prepared: Prepared, answer: Answer, decision: AnswerDecision | None
    ) -> None:
        """With a candidate in the shadow, when the answer is on its way: nothing comes of it but counts."""
        try:
            found = await comparison(self._policy, self._directory, inner, answer, prepared.kept, decision)
        except Exception as error:  # noqa: BLE001  # the job is done with
            self._metrics.trouble("dispatch", error)
        else:
            if found is not None:
                self._metrics.compared_answer(found)

    async def _result(self, state: State, prepared: Prepared) -> Result:
        """A call that is cut off, because its job is called off, may have been served."""
        began_ms = self._clock()
        call = self._targets.call(prepared.target, prepared.call)
        result = await self._tombstones.unless_cancelled(state, call)
        if result is None:
            return Failed(Failure.CANCELLED, sent=True, latency_ms=self._clock() - began_ms)
        return result

    async def _taken_over(self, key: AttemptKey) -> bool:
        facts = await insist(lambda: self._attempts.facts(key), self._metrics, "dispatch")
        return facts.is_over or facts.verdict is not None

    def _wait_ms(self, state: State, prepared: Prepared, failed: Failed) -> int | None:
        """Until the next attempt. None where one that starts then is not expected to end in time."""
        retry = self._retry
        wait_ms = backoff_ms(
            state.attempt, retry.base_ms, retry.max_ms, failed.retry_after_ms, random.random()
        )
        now_ms = self._clock()
        left_ms = state.deadline_ms - now_ms - wait_ms
        too_slow = left_ms > 0 and self.latency.is_too_slow(prepared.target, left_ms, now_ms)
        return None if too_slow else wait_ms
