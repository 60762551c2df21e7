"""Ledger and gate as DISPATCH sees them: one attempt at a time, written in groups."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from broker.errors import GateClosed
from broker.quota.gate import Granted, Settlement, StartRequest
from broker.quota.self_opening import SelfOpeningGate
from broker.store.attempts import AttemptFacts, AttemptRow, Attempts, VerdictRow, begin_on
from broker.store.database import Database
from broker.store.grouped import Grouped
from broker.store.keys import AttemptKey
from broker.store.locks import gate_lock_shared
from schemas.state import Hold

_GROUP_MAX = 500


class Start(NamedTuple):
    """What a call needs before it is made. The row's hold becomes the one that the gate answers with."""

    request: StartRequest
    intent: AttemptRow


class Started(NamedTuple):
    hold: Hold | None
    """None: the hold lapsed and does not fit any more, or it is settled."""
    is_begun: bool
    """The intent is on record by this very call: the provider may be called."""


class AttemptBook:
    """What gathers while one commit runs goes into the next."""

    def __init__(self, database: Database, gate: SelfOpeningGate) -> None:
        attempts = Attempts(database)
        self._database = database
        self._gate = gate
        self._start = Grouped(self._start_all, _GROUP_MAX)
        self._decide = Grouped(attempts.record_verdicts, _GROUP_MAX)
        self._facts = Grouped(attempts.facts, _GROUP_MAX)
        self._settle = Grouped(self._settle_all, _GROUP_MAX)

    async def start(self, start: Start) -> Started:
        """Start the hold and put the intent on record, so that no rebuild of the gate falls between the two.

        Raises Unavailable; the intent may stand nevertheless.
        """
        return (await self._start.submit([start]))[0]

    async def decide(self, row: VerdictRow) -> bool:
        """Say how the attempt ended. False where somebody did before."""
        return (await self._decide.submit([row]))[0]

    async def facts(self, key: AttemptKey) -> AttemptFacts:
        return (await self._facts.submit([key]))[0]

    async def settle(self, settlement: Settlement) -> None:
        await self._settle.submit([settlement])

    async def close(self) -> None:
        for group in (self._start, self._decide, self._facts, self._settle):
            await group.close()

    async def _start_all(self, starts: Sequence[Start]) -> list[Started]:
        try:
            return await self._start_once(starts)
        except GateClosed:
            await self._gate.reopen()
            return await self._start_once(starts)

    async def _start_once(self, starts: Sequence[Start]) -> list[Started]:
        async with self._database.begin() as connection:
            await gate_lock_shared(connection)
            verdicts = await self._gate.start_only([start.request for start in starts])
            holds = [verdict.hold if isinstance(verdict, Granted) else None for verdict in verdicts]
            rows = [
                replace(start.intent, hold=hold)
                for start, hold in zip(starts, holds, strict=True)
                if hold is not None
            ]
            begun = iter(await begin_on(connection, rows))
        return [Started(hold, hold is not None and next(begun)) for hold in holds]

    async def _settle_all(self, settlements: Sequence[Settlement]) -> list[None]:
        await self._gate.settle(settlements)
        return [None] * len(settlements)
