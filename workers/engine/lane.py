"""A lane's queue: what is fetched of its partitions and not handed on yet. Pure but for the events.

Batches are made across the partitions of a lane, so that at a low rate what came in on several goes in one.
Who is next, `tenants` decides: under a sharing the tenant that each record claims; else partitions take turns
of one batch, each in its order. A lane that shares keeps the order inside a tenant alone.

Tenants share what is read ahead. A partition is a queue, whose reader stands still at `Limits.span_max`
records or `Limits.waiting_bytes_max` waiting bytes of it. So a record is seen, and waits from then on for its
tenant's turns only, as soon as less than both lies before it in its own partition. Behind a longer flood it
waits until all but so much of the flood has gone, whatever the weights. The stage before keeps floods short,
by how much of one tenant it passes on.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Generic, NamedTuple

from workers.engine.offsets import Tracker
from workers.engine.source import Partition, R, Source, Unreadable
from workers.engine.tenants import Sharing, Tenant, Tenants


@dataclass(eq=False)
class Flow(Generic[R]):
    """One partition during one assignment."""

    partition: Partition
    lane: "Lane[R]"
    tracker: Tracker = field(default_factory=Tracker)
    waiting_bytes: int = 0
    """Of what is fetched and registered, and not handed on yet."""
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
        self.lane.drop(self)
        self.waiting_bytes = 0


class Piece(NamedTuple, Generic[R]):
    """A record, and the assignment that it came with."""

    flow: Flow[R]
    record: R | Unreadable


class Lane(Generic[R]):
    """`batch_max` records in a batch, `under_way_max` batches at the same time."""

    def __init__(
        self,
        name: str,
        source: Source[R],
        batch_max: int,
        under_way_max: int,
        sharing: Sharing[R] | None = None,
    ) -> None:
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
        self._classify = None if sharing is None else sharing.classify
        self._waiting: Tenants[Piece[R]] = (
            Tenants(batch_max, 1)
            if sharing is None
            else Tenants(sharing.quantum, sharing.cost_max, sharing.weight)
        )

    def add(self, flow: Flow[R], records: list[R | Unreadable]) -> None:
        """What cannot be decoded names no tenant: its partition stands for one."""
        classify, unnamed = self._classify, Tenant(flow.partition, 1)
        for record in records:
            tenant = unnamed if classify is None or isinstance(record, Unreadable) else classify(record)
            self._waiting.push(tenant, Piece(flow, record))
            flow.waiting_bytes += size(record)
        self._look()

    def drop(self, flow: Flow[R]) -> None:
        """Hand on nothing more of the flow."""
        self._waiting.drop(lambda piece: piece.flow is flow)
        self._look()

    def next(self) -> list[Piece[R]]:
        """The next batch; what cannot be decoded goes by itself. Empty where nothing waits."""
        batch: list[Piece[R]] = []
        while self._waiting and len(batch) < self._batch_max:
            alone = isinstance(self._waiting.head().record, Unreadable)
            if alone and batch:
                break
            piece = self._waiting.take()
            piece.flow.waiting_bytes -= size(piece.record)
            batch.append(piece)
            if alone:
                break
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
        if self._waiting and self._under_way < self._under_way_max:
            self.ready.set()
        else:
            self.ready.clear()


def size(record: object) -> int:
    """Bytes of its value."""
    return len(getattr(record, "value", None) or b"")
