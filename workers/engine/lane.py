"""A lane's queue: what is fetched of its partitions and not handed on yet. Pure but for the events.

Batches are made across the partitions of a lane, so that at a low rate what came in on several goes in one.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Generic, NamedTuple

from workers.engine.offsets import Tracker
from workers.engine.source import Partition, R, Source, Unreadable


@dataclass(eq=False)
class Flow(Generic[R]):
    """One partition during one assignment."""

    partition: Partition
    lane: "Lane[R]"
    tracker: Tracker = field(default_factory=Tracker)
    waiting: deque[R | Unreadable] = field(default_factory=deque)
    """Fetched and registered, not handed on yet."""
    waiting_bytes: int = 0
    under_way: int = 0
    """Records handed on and not finished."""
    ended: bool = False
    """The assignment is over or ending: nothing more is handed on."""
    committed: int | None = None
    room: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while the reader may go on."""
    reader: asyncio.Task[None] | None = None

    def end(self) -> None:
        self.ended = True
        if self.reader is not None:
            self.reader.cancel()
        self.waiting.clear()
        self.waiting_bytes = 0

    def take(self) -> R | Unreadable:
        record = self.waiting.popleft()
        self.waiting_bytes -= size(record)
        return record


class Piece(NamedTuple, Generic[R]):
    """A record, and the assignment that it came with."""

    flow: Flow[R]
    record: R | Unreadable


class Lane(Generic[R]):
    """`batch_max` records in a batch, `under_way_max` batches at the same time."""

    def __init__(self, name: str, source: Source[R], batch_max: int, under_way_max: int) -> None:
        self.name = name
        self.source = source
        self.ready = asyncio.Event()
        """Set while there is something to hand on, and it may be."""
        self.feeder: asyncio.Task[None] | None = None
        self.fetched_at = 0.0
        """When a fetch last came back, by the monotonic clock."""
        self._batch_max = batch_max
        self._under_way_max = under_way_max
        self._under_way = 0
        self._turns: deque[Flow[R]] = deque()

    def add(self, flow: Flow[R], records: list[R | Unreadable]) -> None:
        if not records:
            return
        if not flow.waiting:
            self._turns.append(flow)
        flow.waiting.extend(records)
        flow.waiting_bytes += sum(map(size, records))
        self._look()

    def next(self) -> list[Piece[R]]:
        """The next batch, in the order of each partition; what cannot be decoded goes by itself."""
        batch: list[Piece[R]] = []
        while self._turns and len(batch) < self._batch_max:
            flow = self._turns[0]
            while flow.waiting and len(batch) < self._batch_max:
                alone = isinstance(flow.waiting[0], Unreadable)
                if alone and batch:
                    return batch
                batch.append(Piece(flow, flow.take()))
                if alone:
                    break
            if flow.waiting:
                self._turns.rotate(-1)
                break
            self._turns.popleft()
        return batch

    def begin(self) -> None:
        """A batch is under way."""
        self._under_way += 1
        self._look()

    def end(self) -> None:
        """A batch is no longer under way."""
        self._under_way -= 1
        self._look()

    def _look(self) -> None:
        if self._turns and self._under_way < self._under_way_max:
            self.ready.set()
        else:
            self.ready.clear()


def size(record: object) -> int:
    """Bytes of its value."""
    return len(getattr(record, "value", None) or b"")
