"""Slots for work under way, shared by lanes according to weight.

Stride scheduling (Waldspurger and Weihl, 1995): each lane has a pass that grows by cost/weight with every
grant; the waiting lane with the smallest pass is served next. A lane that was idle rejoins at the present
pass, so it can save nothing up.
"""

import asyncio
from collections import deque
from collections.abc import Mapping


class Slots:
    """`capacity` slots. `reserved` slots of a lane are never given to another."""

    def __init__(
        self, capacity: int, weights: Mapping[str, int], reserved: Mapping[str, int] | None = None
    ) -> None:
        self._reserved = dict(reserved or {})
        if capacity <= sum(self._reserved.values()):
            raise ValueError("the reserved slots leave none to share")
        self._free = capacity
        self._capacity = capacity
        self._weights = dict(weights)
        self._used = dict.fromkeys(weights, 0)
        self._pass = dict.fromkeys(weights, 0.0)
        self._now = 0.0
        self._waiting: dict[str, deque[tuple[int, asyncio.Future[None]]]] = {
            lane: deque() for lane in weights
        }

    @property
    def in_use(self) -> int:
        return self._capacity - self._free

    def cost(self, lane: str, wanted: int) -> int:
        """What a unit of work is charged: never more than the lane could ever have."""
        others = sum(count for other, count in self._reserved.items() if other != lane)
        return max(1, min(wanted, self._capacity - others))

    async def acquire(self, lane: str, cost: int) -> None:
        """Wait for `cost` slots (as `cost()` gave it)."""
        queue = self._waiting[lane]
        if not queue and self._fits(lane, cost):
            self._grant(lane, cost)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append((cost, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release(lane, cost)
            else:
                queue.remove((cost, turn))
                self._serve()
            raise

    def release(self, lane: str, cost: int) -> None:
        self._free += cost
        self._used[lane] -= cost
        self._serve()

    def _fits(self, lane: str, cost: int) -> bool:
        kept = sum(
            max(0, count - self._used[other]) for other, count in self._reserved.items() if other != lane
        )
        return cost <= self._free - kept

    def _grant(self, lane: str, cost: int) -> None:
        self._free -= cost
        self._used[lane] += cost
        start = max(self._pass[lane], self._now)
        self._pass[lane] = start + cost / self._weights[lane]
        self._now = start

    def _serve(self) -> None:
        while True:
            ready = [lane for lane, queue in self._waiting.items() if queue and self._fits(lane, queue[0][0])]
            if not ready:
                return
            lane = min(ready, key=lambda name: max(self._pass[name], self._now))
            cost, turn = self._waiting[lane].popleft()
            if not turn.done():
                self._grant(lane, cost)
                turn.set_result(None)
