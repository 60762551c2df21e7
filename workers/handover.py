"""From ADMIT on: to RESERVE of the same process, and by it to DISPATCH; else by RESERVE's topic.

RESERVE's own topic is where jobs wait while the gate is away, so that refusals and cancellations that come
behind them do not.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from broker.errors import GateClosed, RedisUnavailable
from broker.records import Incoming, Inner, Outgoing
from schemas import topics
from workers.tools import Tools

_GATE_AWAY_MS = 5_000
"""For so long after it was away nothing is handed over: at a Redis that is frozen each try takes seconds,
for which everything behind would wait.
"""

Begin = Callable[[Inner], bool]
"""Have DISPATCH of the same process begin a job that a hold was taken for, now or never: whether it does."""
Hold = Callable[[Sequence[Inner], Sequence[Outgoing], Begin], Awaitable[None]]
"""RESERVE's: take the jobs' holds, and publish what follows and is not begun, and the records beside."""


class Handover:
    def __init__(self, tools: Tools) -> None:
        self.hold: Hold | None = None
        """Where this process runs RESERVE too."""
        self.begin: Callable[[Incoming, Inner], bool] = lambda *_: False
        """Where it runs both RESERVE and DISPATCH: have DISPATCH begin the job of a record, and answer for
        the record.
        """
        self._hold_from_ms = 0
        """Not before, where the gate was away."""
        self._producer = tools.producer
        self._outlets = tools.outlets
        self._clock = tools.clock
        self._metrics = tools.metrics

    async def pass_on(
        self, admitted: Sequence[Inner], beside: Sequence[Outgoing], records: Mapping[str, Incoming]
    ) -> None:
        """Have the jobs go on, and the records `beside` published with what follows from them. `records`:
        those that ADMIT read, by their origins. Raises Unavailable.
        """
        if admitted and self.hold is not None and self._may_hold():
            try:
                await self.hold(
                    admitted, beside, lambda inner: self.begin(records[inner.state.origin], inner)
                )
            except (RedisUnavailable, GateClosed) as error:
                self._hold_from_ms = self._clock() + _GATE_AWAY_MS
                self._metrics.trouble("reserve", error)
            else:
                self._hold_from_ms = 0
                return
        sealed = [
            self._outlets.onward(topics.admitted(inner.state.lane), inner, inner.state) for inner in admitted
        ]
        await self._producer.send_all([*beside, *sealed])

    def _may_hold(self) -> bool:
        """One batch at a time tries whether a gate that was away is there again."""
        now_ms = self._clock()
        if now_ms < self._hold_from_ms:
            return False
        if self._hold_from_ms:
            self._hold_from_ms = now_ms + _GATE_AWAY_MS
        return True
