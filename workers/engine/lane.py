"""A lane's queue: what is fetched of its partitions and not handed on yet. Pure but for the events.

Batches are made across the partitions of a lane, so that at a low rate what came in on several goes in one.
Who is next, `lines` and `tenants` decide: under a sharing by the resource and the tenant that each record
claims; else partitions take turns of one batch, each in its order. A lane that shares keeps the order inside
a tenant's line alone.

Lines and tenants share what is read ahead. A partition is a queue, whose reader stands still at
`Limits.span_max` records or `Limits.waiting_bytes_max` waiting bytes of it. So a record is seen, and waits
from then on for its tenant's turns in its line only, as soon as less than both lies before it in its own
partition. Behind a longer flood, or behind more that waits for a resource without places, it waits until all
but so much of that has gone, whatever the weights. The stage before keeps floods short, by how much of one
tenant it passes on.
"""

import asyncio
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, NamedTuple

from workers.engine.lines import Lines
from workers.engine.offsets import Tracker
from workers.engine.places import Places
from workers.engine.source import Partition, R, Source, Unreadable
from workers.engine.tenants import Claim, Sharing, Tenant, Tenants


@dataclass(eq=False)
class Flow(Generic[R]):
    """One partition during one assignment."""

    partition: Partition
    lane: "Lane[R]"
    span_max: int
    waiting_bytes_max: int
    tracker: Tracker = field(default_factory=Tracker)
    waiting_bytes: int = 0
    """Of what is fetched and registered, and not handed on yet."""
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    """Those that do its records, of whichever pump."""
    ended: bool = False
    """The assignment is over or ending: nothing more is handed on."""
    committed: int | None = None
    room: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while the reader may go on."""
    reader: asyncio.Task[None] | None = None

    def look(self) -> None:
        """Whether the reader may go on."""
        if self.tracker.span < self.span_max and self.waiting_bytes < self.waiting_bytes_max:
            self.room.set()
        else:
            self.room.clear()

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
    resource: Hashable = None
    """At which it has a place as soon as it is handed on; None: at none."""


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
        self.is_held_up = False
        """While a batch waits for slots."""
        self._batch_max = batch_max
        self._under_way_max = under_way_max
        self._under_way = 0
        self._classify = None if sharing is None else sharing.classify
        self._places: Places | None = None if sharing is None else sharing.places
        tenants = (
            partial(Tenants[Piece[R]], batch_max, 1)
            if sharing is None
            else partial(Tenants[Piece[R]], sharing.quantum, sharing.cost_max, sharing.weight)
        )
        self._lines: Lines[Piece[R]] = Lines(name, tenants, self._places, self._look, self._may_hand_on)
        self._to_review: list[Piece[R]] = []

    def add(self, flow: Flow[R], records: list[R | Unreadable]) -> None:
        for record in records:
            claim = self._claim(flow, record)
            self._lines.push(claim, Piece(flow, record, claim.resource))
            flow.waiting_bytes += size(record)
        self._look()

    def put_back(self, pieces: Sequence[Piece[R]]) -> None:
        """What was handed on and is to be again, before all that waits of the same tenants; without those
        whose assignment is over.
        """
        for flow, record, _ in reversed(pieces):
            if not flow.ended:
                claim = self._claim(flow, record)
                self._lines.put_back(claim, Piece(flow, record, claim.resource))
                flow.waiting_bytes += size(record)
        self._look()

    def drop(self, flow: Flow[R]) -> None:
        """Hand on nothing more of the flow."""
        self._lines.drop(lambda piece: piece.flow is flow)
        self._look()

    def next(self) -> list[Piece[R]]:
        """The next batch, with its places; what cannot be decoded goes by itself. Empty where nothing can be
        handed on.
        """
        batch: list[Piece[R]] = []
        while len(batch) < self._batch_max and (head := self._lines.head()) is not None:
            alone = isinstance(head.record, Unreadable)
            if alone and batch:
                break
            piece = self._lines.take()
            piece.flow.waiting_bytes -= size(piece.record)
            batch.append(piece)
            if alone:
                break
        self._look()
        return batch

    def enter(self, flow: Flow[R], record: R) -> Piece[R] | None:
        """A record that waits for nothing, with its place. None where it would wait, or pass others by."""
        claim = self._claim(flow, record)
        if self._may_hand_on() and self._lines.enter(claim.resource):
            return Piece(flow, record, claim.resource)
        return None

    def leave(self, pieces: Iterable[Piece[R]]) -> None:
        """They hold their places no more."""
        if self._places is not None:
            for piece in pieces:
                if piece.resource is not None:
                    self._places.leave(piece.resource, self.name)

    def review(self, pieces_max: int) -> None:
        """Look again at so much of what waits for a place, going on from the last time: what claims none any
        more, goes on without.
        """
        if self._classify is None:
            return
        if not self._to_review:
            self._to_review = list(self._lines.still())
        some, self._to_review = self._to_review[:pieces_max], self._to_review[pieces_max:]
        changed = {id(piece) for piece in some if self._claim(*piece[:2]).resource != piece.resource}
        if changed:
            for flow, record, _ in self._lines.drop(lambda piece: id(piece) in changed):
                claim = self._claim(flow, record)
                self._lines.push(claim, Piece(flow, record, claim.resource))
            self._look()

    def waiting(self, resource: Hashable) -> int:
        """How many records wait for a place there."""
        return self._lines.waiting(resource)

    def hold_up(self) -> None:
        """A batch begins to wait for slots: places for what waits behind it would stand empty."""
        self.is_held_up = True
        self._lines.give_back()

    def begin(self) -> None:
        """A batch is under way."""
        self._under_way += 1
        if not self._may_hand_on():
            self._lines.give_back()
        self._look()

    def end(self) -> None:
        """A batch is no longer under way."""
        self._under_way -= 1
        self._look()

    def _may_hand_on(self) -> bool:
        return not self.is_held_up and self._under_way < self._under_way_max

    def _claim(self, flow: Flow[R], record: R | Unreadable) -> Claim:
        """What cannot be decoded names no tenant: its partition stands for one."""
        if self._classify is None or isinstance(record, Unreadable):
            return Claim(Tenant(flow.partition, 1))
        claim = self._classify(record)
        return claim if self._places is not None else Claim(claim.tenant)

    def _look(self) -> None:
        if self._under_way < self._under_way_max and self._lines:
            self.ready.set()
        else:
            self.ready.clear()


def size(record: object) -> int:
    """Bytes of its value."""
    return len(getattr(record, "value", None) or b"")
