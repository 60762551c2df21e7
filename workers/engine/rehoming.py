"""What holds a partition up: a record whose work lasts, while what came behind it is finished.

None of that can be committed, and at `Limits.span_max` the reader stands still. So the record gets a
successor at the end of a topic, and is finished here, while its work goes on.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic

from workers.engine.lane import Flow, Piece
from workers.engine.source import R, Unreadable

_AT_ONCE_MAX = 100

Rehome = Callable[[R], Awaitable[None]]
"""Publishes a successor of a record that is under way, which stands for it from then on: whoever reads it
finds that its work is under way, or done.
"""


@dataclass(slots=True)
class _Work(Generic[R]):
    record: R
    begun: float
    """By the clock."""
    has_successor: bool = False


class Rehoming(Generic[R]):
    """`clock` gives seconds, monotonic. What has been under way for less than `after_s` is left alone, and
    without `rehome` everything is.
    """

    def __init__(
        self,
        rehome: Rehome[R] | None,
        on_trouble: Callable[[BaseException], None],
        after_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rehome = rehome
        self._on_trouble = on_trouble
        self._after_s = after_s
        self._clock = clock
        self._under_way: dict[Flow[R], dict[int, _Work[R]]] = {}
        """By the identity of the record: one that was lent twice is under way twice."""

    def begin(self, piece: Piece[R]) -> None:
        """It is handed on, for the first time or again."""
        flow, record, _ = piece
        if self._rehome is None or isinstance(record, Unreadable):
            return
        works = self._under_way.setdefault(flow, {})
        if id(record) not in works:
            works[id(record)] = _Work(record, self._clock())

    def end(self, piece: Piece[R]) -> bool:
        """Its work is done. Whether it is still to be finished: not, where it has a successor."""
        work = self._under_way.get(piece.flow, {}).pop(id(piece.record), None)
        return work is None or not work.has_successor

    def goes_on(self, piece: Piece[R]) -> bool:
        """Its work is to be done again. Whether by this record: not, where it has a successor."""
        work = self._under_way.get(piece.flow, {}).get(id(piece.record))
        return work is None or not work.has_successor or self.end(piece)

    async def look_always(self) -> None:
        while self._rehome is not None:
            await asyncio.sleep(self._after_s / 10)
            await self.look(self._rehome)

    async def look(self, rehome: Rehome[R]) -> None:
        """Give successors to what holds a partition up, the oldest first."""
        for flow in [flow for flow in self._under_way if flow.tracker.is_closed()]:
            del self._under_way[flow]
        for flow in [flow for flow in self._under_way if _is_held_up(flow)]:
            latest = self._clock() - self._after_s
            works = self._under_way[flow].values()
            lasting = [work for work in works if work.begun <= latest and not work.has_successor]
            await asyncio.gather(*(self._succeed(flow, work, rehome) for work in lasting[:_AT_ONCE_MAX]))

    async def _succeed(self, flow: Flow[R], work: _Work[R], rehome: Rehome[R]) -> None:
        """A record whose successor cannot be published is looked at again; one that ends meanwhile has one
        for nothing.
        """
        try:
            await rehome(work.record)
        except Exception as error:  # noqa: BLE001  # what goes wrong here must not end the looking
            self._on_trouble(error)
            return
        if self._under_way.get(flow, {}).get(id(work.record)) is work:
            work.has_successor = True
            flow.tracker.finish(work.record.offset)
            flow.look()


def _is_held_up(flow: Flow[R]) -> bool:
    return not flow.ended and flow.tracker.held_up > flow.span_max // 10
