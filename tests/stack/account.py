"""What was promised of an application's jobs, held against the ledger, the gate and the provider's log."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from headworks.client.results import Result
from schemas.reasons import Failure
from tests.stack.ledger import Ledger, Rows
from tests.stack.processes import SimulatorProcess
from tests.stack.stack import RealStack
from tests.stack.waiting import until

AttemptId = tuple[UUID, int]
"""Job and attempt."""


@dataclass(frozen=True)
class Balance:
    """Charges on record, and the gate's counters beside them. True when they agree and nothing is held."""

    charged: int
    spent: int
    held: int
    holds: dict[str, str]

    def __bool__(self) -> bool:
        return self.spent == self.charged and self.held == 0 and not self.holds


@dataclass(frozen=True)
class Account:
    """All that is on record of an application whose jobs have ended."""

    application: str
    ledger: Ledger
    terminals: Rows
    charges: Rows
    attempts: Rows
    verdicts: Rows
    calls: Sequence[AttemptId]
    """By the provider's log."""
    failed: Collection[AttemptId]
    """Those that the provider answered with an error."""
    pids: dict[str, int]
    """Of the processes that owned attempts, by incarnation."""

    @classmethod
    async def of(
        cls, stack: RealStack, provider: SimulatorProcess, application: str, job_ids: Collection[UUID]
    ) -> "Account":
        ledger = stack.ledger
        calls = [call for call in await logged(provider) if UUID(call["job_id"]) in job_ids]
        return cls(
            application,
            ledger,
            await ledger.terminals(application),
            await ledger.charges(application),
            await ledger.attempts(application),
            await ledger.verdicts(application),
            [_id(call) for call in calls],
            {_id(call) for call in calls if call["status"] != 200},
            {row.incarnation: row.pid for row in await ledger.workers()},
        )

    async def holds_good(
        self, job_ids: Collection[UUID], results: Sequence[Result], died: Collection[int] = ()
    ) -> None:
        """Raises AssertionError where a promise was broken. `died`: processes that were killed or cut off."""
        self.each_ended_once(job_ids, results)
        self.each_attempt_is_charged_once(results)
        self.each_call_is_explained(died)
        await self.nothing_is_held()
        assert await self.ledger.broken_chains() == []

    def each_ended_once(self, job_ids: Collection[UUID], results: Sequence[Result]) -> None:
        assert Counter(row.job_id for row in self.terminals) == Counter(job_ids)
        assert Counter(result.job_id for result in results) == Counter(job_ids)
        ends = {row.job_id: (row.kind, row.attempts) for row in self.terminals}
        told = {result.job_id: (type(result).__name__.lower(), result.attempts) for result in results}
        assert ends == told

    def each_attempt_is_charged_once(self, results: Sequence[Result]) -> None:
        assert Counter(map(_attempt, self.charges)) == Counter(map(_attempt, self.attempts))
        costs = Counter({row.job_id: 0 for row in self.terminals})
        for row in self.charges:
            costs[row.job_id] += row.nanodollars
        assert costs == {row.job_id: row.nanodollars for row in self.terminals}
        assert costs == {result.job_id: result.cost_nanodollars for result in results}

    def each_call_is_intended(self) -> None:
        """One call an attempt at most, under its intent; another attempt only after a verdict on this one."""
        assert set(Counter(self.calls).values()) <= {1}
        intended = {_attempt(row) for row in self.attempts}
        assert set(self.calls) <= intended
        ended = {_attempt(row) for row in self.verdicts}
        assert {(job_id, number - 1) for job_id, number in intended if number > 1} <= ended

    def each_call_is_explained(self, died: Collection[int]) -> None:
        """Another attempt only where the provider's log shows this one failed, or its worker was lost; none
        after one that was called off.
        """
        self.each_call_is_intended()
        owners = {_attempt(row): row.owner for row in self.attempts}
        causes = {_attempt(row): row.reason for row in self.verdicts}
        off = {
            (job_id, number + 1) for (job_id, number), reason in causes.items() if reason == Failure.CANCELLED
        }
        assert not off.intersection(owners)
        for attempt, reason in causes.items():
            if reason == Failure.WORKER_LOST:
                assert self.pids[owners[attempt]] in died
            elif reason != Failure.CANCELLED:
                assert (attempt in self.failed) == (reason != Failure.HOLD_LAPSED), reason

    def lost(self) -> set[AttemptId]:
        """Attempts whose worker was lost."""
        return {_attempt(row) for row in self.verdicts if row.reason == Failure.WORKER_LOST}

    async def nothing_is_held(self) -> None:
        """The gate counts what the ledger has charged, and no hold besides."""
        charged = sum(row.nanodollars for row in self.charges)

        async def balance() -> Balance:
            counters = await self.ledger.counters(self.application)
            holds = await self.ledger.holds(self.application)
            return Balance(charged, _sum(counters, ":spent"), _sum(counters, ":held"), holds)

        await until(balance, "the gate to count what was charged, and to hold nothing")


async def logged(provider: SimulatorProcess) -> list[dict[str, Any]]:
    """Its log, once it has every call that came in up to now."""
    number = int(provider.counts()["total"])

    async def complete() -> list[dict[str, Any]] | None:
        calls = provider.calls()
        return calls if len(calls) >= number else None

    return await until(complete, f"{number} calls in the provider's log") or []


def _id(call: dict[str, Any]) -> AttemptId:
    return UUID(call["job_id"]), int(call["attempt"])


def _attempt(row: Any) -> AttemptId:
    return row.job_id, row.attempt


def _sum(counters: dict[str, int], ending: str) -> int:
    return sum(amount for name, amount in counters.items() if name.endswith(ending))
