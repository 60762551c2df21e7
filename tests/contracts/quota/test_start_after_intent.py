"""DISPATCH puts the intent on record, then starts the hold, under no lock. Wherever a loss and a rebuild of
the counters fall between the two or around them, what a call may cost is held once the call may begin.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from enum import IntEnum

import pytest

from broker.errors import GateClosed
from broker.quota.calendar import DAY_MS, MINUTE_MS, OpenWindows
from broker.quota.gate import Granted, StartRequest
from broker.quota.limits import Limits
from broker.quota.rebuild import Unsettled
from schemas.state import Hold
from tests.contracts.quota.harness import (
    KEY,
    NOON_MS,
    PROJECT,
    Bench,
    MemoryLedger,
    budget_of,
    granted,
    rebuilt,
    request,
)

COST = 100
CAP = Limits(nanodollars_per_day=COST)
"""One call and no more."""


class At(IntEnum):
    """When, beside the loss of the counters and their rebuild."""

    BEFORE_THE_LOSS = 0
    AFTER_THE_LOSS = 1
    BEFORE_INTENTS_ARE_READ = 2
    AFTER_INTENTS_ARE_READ = 3
    AFTER_THE_REBUILD = 4


class Dispatching:
    """Makes its two steps, each when its time has come; one that the closed gate turns away waits for it."""

    def __init__(self, bench: Bench, hold: Hold, intent: At, start: At) -> None:
        self.bench = bench
        self.hold = hold
        self.answer: object = None
        self._steps: list[tuple[At, Callable[[], Awaitable[None]]]] = [
            (intent, self._intend),
            (start, self._start),
        ]

    async def reached(self, at: At) -> None:
        while self._steps and self._steps[0][0] <= at:
            try:
                await self._steps[0][1]()
            except GateClosed:
                return
            self._steps.pop(0)

    async def _intend(self) -> None:
        self.bench.ledger.intents.append(Unsettled(PROJECT, KEY, self.hold))

    async def _start(self) -> None:
        start = StartRequest(self.hold, budget_of(CAP))
        (self.answer,) = await self.bench.gates[1].start([start])


class WatchedLedger(MemoryLedger):
    """Lets `dispatching` go on around the moment at which intents are read."""

    dispatching: Dispatching

    @asynccontextmanager
    async def exclusive(self, organization_id: int) -> AsyncIterator["WatchedLedger"]:
        yield self

    async def unsettled(self, organization_id: int, windows: OpenWindows) -> Sequence[Unsettled]:
        await self.dispatching.reached(At.BEFORE_INTENTS_ARE_READ)
        found = list(await super().unsettled(organization_id, windows))
        await self.dispatching.reached(At.AFTER_INTENTS_ARE_READ)
        return found


@pytest.mark.parametrize(
    ("intent", "start"), [(intent, start) for intent in At for start in At if intent <= start]
)
async def test_a_call_that_may_begin_is_held_for(bench: Bench, intent: At, start: At) -> None:
    hold = granted((await bench.gate.reserve([request("h", COST, CAP)]))[0])
    bench.ledger = ledger = WatchedLedger()
    ledger.dispatching = dispatching = Dispatching(bench, hold, intent, start)
    await dispatching.reached(At.BEFORE_THE_LOSS)
    await bench.forget_all()
    await dispatching.reached(At.AFTER_THE_LOSS)
    await rebuilt(bench.gate, ledger)
    await dispatching.reached(At.AFTER_THE_REBUILD)
    assert dispatching.answer == Granted(hold, started=True)
    assert await bench.counters() == {
        f"d:{NOON_MS // DAY_MS}:held": COST,
        f"i:{NOON_MS // MINUTE_MS}:requests": 1,
    }
    (other,) = await bench.gate.reserve([request("other", COST, CAP)])
    assert not isinstance(other, Granted)


async def test_a_hold_that_others_took_meanwhile_is_not_called_under(bench: Bench) -> None:
    """No intent was on record at the rebuild, so the budget went to somebody else: RESERVE is asked again."""
    hold = granted((await bench.gate.reserve([request("h", COST, CAP)]))[0])
    await bench.forget_all()
    await rebuilt(bench.gate, bench.ledger)
    granted((await bench.gate.reserve([request("other", COST, CAP)]))[0])
    (answer,) = await bench.gate.start([StartRequest(hold, budget_of(CAP))])
    assert not isinstance(answer, Granted)
