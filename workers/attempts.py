"""Ledger and gate as DISPATCH sees them: one attempt at a time, written in groups."""

from collections.abc import Sequence

from broker.quota.gate import Gate, Granted, Over, Release, Settled, Settlement, StartRequest
from broker.store.attempts import AttemptFacts, AttemptRow, Attempts, VerdictRow
from broker.store.grouped import Grouped
from broker.store.keys import AttemptKey
from schemas.state import State

_GROUP_MAX = 500


class AttemptBook:
    """What gathers while one commit or round trip runs goes into the next."""

    def __init__(self, attempts: Attempts, gate: Gate) -> None:
        self._gate = gate
        self._begin = Grouped(attempts.begin, _GROUP_MAX)
        self._start = Grouped(gate.start, _GROUP_MAX)
        self._decide = Grouped(attempts.record_verdicts, _GROUP_MAX)
        self._facts = Grouped(attempts.facts, _GROUP_MAX)
        self._settle = Grouped(self._settle_all, _GROUP_MAX)

    async def begin(self, row: AttemptRow) -> bool:
        """Put the intent on record. False where it stands already, or the run has ended.

        Raises Unavailable; the intent may stand nevertheless.
        """
        return (await self._begin.submit([row]))[0]

    async def start(self, request: StartRequest) -> Granted | Over | Settled:
        """Start the hold. After `begin`: a gate rebuilt in between finds the intent and holds for it."""
        return (await self._start.submit([request]))[0]

    async def decide(self, row: VerdictRow) -> bool:
        """Say how the attempt ended. False where somebody did before."""
        return (await self._decide.submit([row]))[0]

    async def facts(self, key: AttemptKey) -> AttemptFacts:
        return (await self._facts.submit([key]))[0]

    async def settle(self, settlement: Settlement) -> None:
        await self._settle.submit([settlement])

    async def release(self, release: Release) -> None:
        """Give back a hold that was not started."""
        await self._gate.release([release])

    async def close(self) -> None:
        for group in (self._begin, self._start, self._decide, self._facts, self._settle):
            await group.close()

    async def _settle_all(self, settlements: Sequence[Settlement]) -> list[None]:
        await self._gate.settle(settlements)
        return [None] * len(settlements)


def attempt_key(state: State) -> AttemptKey:
    return AttemptKey(state.application_id, state.job_id, state.run, state.attempt)
