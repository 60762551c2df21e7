"""Cancellations at ADMIT: which are carried out, and how they come to be on record."""

from collections import Counter
from collections.abc import Sequence

from broker.store.cancels import CancelRow, Cancels
from schemas.envelope import TTL_S_MAX
from schemas.state import State
from workers.tools import Tools


class CallingOff:
    """`cancels_max`: in force at a time, of each application."""

    def __init__(self, cancels: Cancels, tools: Tools, cancels_max: int) -> None:
        self._cancels = cancels
        self._tombstones = tools.tombstones
        self._metrics = tools.metrics
        self._cancels_max = cancels_max

    async def carry_out(self, asked: Sequence[State]) -> None:
        """Put on record that these jobs are called off, and know it here. Raises DatabaseUnavailable.

        Before anyone is told, and before the jobs of the same batch are looked at.
        """
        allowed = self._allowed(asked)
        if allowed:
            await self._cancels.enter([_row(state) for state in allowed])
            await self._tombstones.refresh()
            for _ in allowed:
                self._metrics.job("admit", "cancelling")

    def _allowed(self, asked: Sequence[State]) -> list[State]:
        """Beyond so many of an application in force the newest are not carried out: every process has them in
        memory. Whoever sent one hears how the job ends all the same, and may send it again.
        """
        allowed: list[State] = []
        more: Counter[int] = Counter()
        for state in asked:
            whose = state.application_id
            if self._tombstones.covers(state):
                allowed.append(state)
            elif self._tombstones.in_force(whose) + more[whose] < self._cancels_max:
                more[whose] += 1
                allowed.append(state)
            else:
                self._metrics.job("admit", "too_many_cancels")
        return allowed


def _row(state: State) -> CancelRow:
    """Until the longest deadline of a job that came at the same time. A later one ends at ADMIT."""
    return CancelRow(
        application_id=state.application_id,
        job_id=state.job_id,
        key_id=state.key_id,
        origin=state.origin,
        at_ms=state.appended_ms,
        until_ms=state.appended_ms + TTL_S_MAX * 1000,
    )
