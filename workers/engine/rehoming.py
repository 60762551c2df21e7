"""What holds a partition up: a record whose work lasts, while what came behind it is finished.

None of that can be committed, and at `Limits.span_max` the reader stands still. So the record gets a
successor at the end of a topic, and is finished here, while its work goes on. Only the oldest get one: where
one before it must stay, a successor would free nothing, and soon have one itself.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, cast

from workers.engine.lane import Flow, Piece
from workers.engine.source import R, Unreadable

_AT_ONCE_MAX = 100

Rehome = Callable[[R], Awaitable[None]]
"""Publishes a successor of a record that is under way, which stands for it from then on: whoever reads it
finds that its work is under way, or done.
"""


@dataclass(slots=True, eq=False)
class _Work(Generic[R]):
    record: R
    begun: float
    """By the clock."""
    has_successor: bool = False
    waits: asyncio.Task[Any] | None = None
    """To be done again: in this task."""


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
        self._relieved: set[Flow[R]] = set()
        """Those whose successors are being published."""

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
        work = self._work(piece)
        return work is None or not work.has_successor or self.end(piece)

    async def wait(self, piece: Piece[R], later: Awaitable[None]) -> None:
        """What comes before its work is done again. Cancelled where a successor does that: else each of its
        successors would wait too, and be under way, for as long as the work lasts.
        """
        work, task = self._work(piece), cast(asyncio.Task[Any], asyncio.current_task())
        if work is None:
            await later
            return
        work.waits = task
        if work.has_successor:
            task.cancel()
        try:
            await later
        except asyncio.CancelledError:
            self.end(piece)
            raise
        finally:
            work.waits = None

    async def look_always(self) -> None:
        if (rehome := self._rehome) is None:
            return
        async with asyncio.TaskGroup() as tasks:
            while True:
                await asyncio.sleep(self._after_s / 10)
                for flow in self._held_up():
                    self._relieved.add(flow)
                    tasks.create_task(self._relieve(flow, rehome))

    def _held_up(self) -> list[Flow[R]]:
        for flow in [flow for flow in self._under_way if flow.tracker.is_closed()]:
            del self._under_way[flow]
        return [flow for flow in self._under_way if flow not in self._relieved and _is_held_up(flow)]

    async def _relieve(self, flow: Flow[R], rehome: Rehome[R]) -> None:
        """By itself: a successor whose partition is away may keep it for as long."""
        oldest = list(islice(self._oldest(flow), _AT_ONCE_MAX))
        try:
            await asyncio.gather(*(self._succeed(flow, work, rehome) for work in oldest))
        finally:
            self._relieved.discard(flow)

    def _oldest(self, flow: Flow[R]) -> Iterator[_Work[R]]:
        """What lasts, up to the first that may not have a successor, or not yet."""
        latest = self._clock() - self._after_s
        lasting: dict[int, list[_Work[R]]] = {}
        for work in self._under_way.get(flow, {}).values():
            if work.begun <= latest and not work.has_successor:
                lasting.setdefault(work.record.offset, []).append(work)
        for offset in flow.tracker.oldest():
            if offset not in lasting:
                return
            yield from lasting[offset]

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
            if work.waits is not None:
                work.waits.cancel()

    def _work(self, piece: Piece[R]) -> _Work[R] | None:
        return self._under_way.get(piece.flow, {}).get(id(piece.record))


def _is_held_up(flow: Flow[R]) -> bool:
    return not flow.ended and flow.tracker.held_up > flow.span_max // 10
