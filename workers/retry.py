"""RETRY: hold back what may be tried later. Always by way of RESERVE.

retry.<delay>   each record waits until it is due   → admitted.<lane>
                called off, or past its deadline    → outcomes

What is parked it wakes too: see `waker`.
"""

import asyncio
from collections.abc import Awaitable, Sequence

from broker.errors import NotBelieved
from broker.quota.lines import waits_for_room
from broker.records import Incoming, Inner, Outgoing
from schemas import topics
from schemas.state import Hold
from workers.outlets import Outlets
from workers.tools import Tools

WAITING_MAX = 1_000
"""Records of one delay that a process holds back at a time. Those behind them are read when the first are
due, and none passes later than its delay's longest wait after it was appended: all before it are due by then.
"""


class Retry:
    """One record at a time, without a slot while it waits."""

    def __init__(self, tools: Tools) -> None:
        self._producer = tools.producer
        self._sealer = tools.sealer
        self._clock = tools.clock
        self._metrics = tools.metrics
        self._outlets = tools.outlets
        self._tombstones = tools.tombstones

    async def handle(self, records: Sequence[Incoming]) -> Awaitable[None] | None:
        (record,) = records
        try:
            inner = self._sealer.open(record)
        except NotBelieved as error:
            self._metrics.dead_letter("retry", error.reason)
            await self._producer.send(self._outlets.dead_record(record, "retry", error.reason.value))
            return None
        wait_ms = (inner.state.due_ms or 0) - self._clock()
        is_off = self._tombstones.covers(inner.state)
        if wait_ms > 0 and not is_off:
            return self._tombstones.unless_cancelled(inner.state, asyncio.sleep(wait_ms / 1000))
        await self._producer.send(back(inner, self._outlets, self._clock(), is_off=is_off))
        return None


def back(inner: Inner, outlets: Outlets, now_ms: int, *, is_off: bool) -> Outgoing:
    """To RESERVE, or out."""
    return ended(inner, outlets, now_ms, is_off=is_off) or onward(inner, outlets)


def ended(inner: Inner, outlets: Outlets, now_ms: int, *, is_off: bool) -> Outgoing | None:
    """The end of a job that is called off or too late; None of another."""
    if is_off:
        return outlets.cancelled(inner.state, "retry")
    return outlets.expired(inner.state, "retry") if now_ms >= inner.state.deadline_ms else None


def onward(inner: Inner, outlets: Outlets, hold: Hold | None = None) -> Outgoing:
    """To RESERVE, which finds `hold` at the gate. Who waited for room keeps the place in line."""
    in_line = inner.state.parked_for if waits_for_room(inner.state.parked_for) else None
    update = {"due_ms": None, "parked_for": in_line, "hold": hold}
    state = inner.state.model_copy(update=update)
    return outlets.onward(topics.admitted(state.lane), inner, state)
