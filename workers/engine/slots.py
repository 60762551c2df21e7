"""Slots for work under way, shared by lanes according to weight.

Stride scheduling (Waldspurger and Weihl, 1995): each lane has a pass that grows by cost/weight with every
grant; the waiting lane with the smallest pass is served next. A lane that was idle rejoins at the present
pass, so it can save nothing up. Where there are too few free slots for the lane whose turn it is, the others
wait with it: small work of theirs would else keep its large work from ever finding enough.
"""

import asyncio
from collections import deque
from collections.abc import Mapping

_Waiter = tuple[int, asyncio.Future[None]]
"""Cost, and what to set when it is granted."""


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
        self._waiting: dict[str, deque[_Waiter]] = {lane: deque() for lane in weights}

    @property
    def in_use(self) -> int:
        return self._capacity - self._free

    def cost(self, lane: str, wanted: int) -> int:
        """What a unit of work is charged: never more than the lane could ever have."""
        others = sum(count for other, count in self._reserved.items() if other != lane)
        return max(1, min(wanted, self._capacity - others))

    def take(self, lane: str, cost: int) -> bool:
        """Take `cost` slots (as `cost()` gave it), if nobody waits and so many are free to the lane."""
        if any(self._waiting.values()) or not self._fits(lane, cost):
            return False
        self._pass[lane] = max(self._pass[lane], self._now)
        self._grant(lane, cost)
        return True

    async def acquire(self, lane: str, cost: int) -> None:
        """Wait for `cost` slots."""
        if self.take(lane, cost):
            return
        queue = self._waiting[lane]
        if not queue:
            self._pass[lane] = max(self._pass[lane], self._now)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append((cost, turn))
        self._serve()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release(lane, cost)
            else:
                self._withdraw(lane, (cost, turn))
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
        self._now = max(self._now, self._pass[lane])
        self._pass[lane] += cost / self._weights[lane]

    def _withdraw(self, lane: str, waiter: _Waiter) -> None:
        """Its turn may have come, and been passed over, since it was cancelled."""
        if waiter in self._waiting[lane]:
            self._waiting[lane].remove(waiter)
        self._serve()

    def _serve(self) -> None:
        while (lane := self._next()) is not None:
            cost, turn = self._waiting[lane].popleft()
            if not turn.done():
                self._grant(lane, cost)
                turn.set_result(None)

    def _next(self) -> str | None:
        """The waiting lane whose turn it is; behind one that must wait for more slots, one that can do with
        what is reserved for it.
        """
        waiting = sorted((lane for lane, queue in self._waiting.items() if queue), key=self._pass.__getitem__)
        for place, lane in enumerate(waiting):
            cost, _ = self._waiting[lane][0]
            if self._fits(lane, cost) and (place == 0 or self._is_reserved(lane, cost)):
                return lane
        return None

    def _is_reserved(self, lane: str, cost: int) -> bool:
        return self._used[lane] + cost <= self._reserved.get(lane, 0)
