"""The pump: feeds a stage from its lanes and commits what is finished.

Each assigned partition has a reader (see `assignments`), which takes records as they come, and each lane a
feeder, which hands them on in batches: what gathers while batches are under way goes into the next. What
becomes of a batch that fails, `trying` and `doing` say.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Any, Generic

from workers.engine.assignments import Assignments, settle_down
from workers.engine.committing import commit
from workers.engine.doing import Doing, Handle, Poison
from workers.engine.lane import Flow, Lane, Piece, size
from workers.engine.limits import Limits
from workers.engine.rehoming import Rehome, Rehoming
from workers.engine.slots import Slots
from workers.engine.source import Partition, R, Source
from workers.engine.tenants import Sharing
from workers.engine.trying import Trying

_REVIEW_EVERY_S = 0.1
_REVIEW_MAX = 1_000
"""Records of a lane at a time that wait for a place, which takes a few milliseconds."""


class Pump(Generic[R]):
    """Runs `handle` over the records of several lanes; see the module.

    `handle(records)` returns None when everything that follows from the records is acknowledged; or something
    to be awaited, without slots, before it is called with the same records again.

    Under a `sharing` the tenants of a lane are served in turn, by cost and weight (see `tenants`), and a
    record that takes a place at a resource is handed on with one, which it holds for as long as its slot;
    what waits for a place holds up nothing else (see `lines`). Without one each partition is first in, first
    out.
    """

    def __init__(
        self,
        name: str,
        lanes: Mapping[str, Source[R]],
        handle: Handle[R],
        poison: Poison[R],
        slots: Slots,
        limits: Limits,
        on_trouble: Callable[[BaseException], None] = lambda _: None,
        sharing: Sharing[R] | None = None,
    ) -> None:
        self.name = name
        self.slots = slots
        self._lanes = {
            lane: Lane(lane, source, limits.batch_max, limits.under_way_max, sharing)
            for lane, source in lanes.items()
        }
        self._trying = Trying(on_trouble)
        self._doing = Doing(handle, poison, self._trying, on_trouble)
        self._limits = limits
        self._on_trouble = on_trouble
        self._assignments: Assignments[R] = Assignments(name, limits, self._trying, on_trouble, self._crash)
        self._tasks: set[asyncio.Task[None]] = set()
        self._sharing = sharing
        self._rehoming: Rehoming[R] = Rehoming(None, on_trouble, limits.rehome_after_s)
        self._committer: asyncio.Task[None] | None = None
        self._reviewer: asyncio.Task[None] | None = None
        self._rehomer: asyncio.Task[None] | None = None
        self._crashed: BaseException | None = None
        self._is_ending = False

    def rehome_by(self, rehome: Rehome[R]) -> None:
        """Before the start: what is to keep a record whose work lasts from holding up its partition. Raises
        ValueError where records are handed on several at once.
        """
        if self._limits.batch_max > 1:
            raise ValueError("of a batch no one record can be let go")
        self._rehoming = Rehoming(rehome, self._on_trouble, self._limits.rehome_after_s)

    async def start(self) -> None:
        for lane in self._lanes.values():
            lane.fetched_at = time.monotonic()
            lane.feeder = asyncio.create_task(self._feed(lane), name=f"{self.name}-feed-{lane.name}")
        await asyncio.gather(
            *(lane.source.start(self._assignments.of(lane)) for lane in self._lanes.values())
        )
        self._committer = asyncio.create_task(self._assignments.commit_always(), name=f"{self.name}-commit")
        if self._sharing is not None and self._sharing.places is not None:
            self._reviewer = asyncio.create_task(self._review_always(), name=f"{self.name}-review")
        self._rehomer = asyncio.create_task(self._rehome_always(), name=f"{self.name}-rehome")

    async def stop(self, drain_s: float) -> bool:
        """Stop fetching, commit, leave the groups, then let work under way end. True when all of it did. What
        waits without slots is left to others at once.

        Where Kafka is away the commit and the leaving are given up: what is not committed comes again.
        """
        self._is_ending = True
        deadline = time.monotonic() + drain_s
        for lane in self._lanes.values():
            _cancel(lane.feeder)
        _cancel(self._reviewer)
        _cancel(self._rehomer)
        for flow in self._assignments:
            flow.end()
        self._doing.stop_waiting()
        flows = list(self._assignments)
        await settle_down(min(self._limits.revoke_wait_s, drain_s), flows, self._tasks)
        _cancel(self._committer)
        await self._within(self._limits.leave_s, commit(flows, self._on_trouble))
        stops = [lane.source.stop() for lane in self._lanes.values()]
        await asyncio.gather(*(self._within(self._limits.leave_s, stop) for stop in stops))
        await settle_down(max(0.0, deadline - time.monotonic()), flows, self._tasks)
        left = list(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        return not left

    async def _within(self, seconds: float, act: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(seconds):
                await act
        except TimeoutError:
            self._on_trouble(TimeoutError(f"a group was not left in {seconds:g} s"))

    def stalled(self, after_s: float) -> str | None:
        """Why this pump is not consuming, or None."""
        now = time.monotonic()
        if self._crashed is not None:
            return f"reader crashed: {type(self._crashed).__name__}"
        if self._trying.for_s(now) > min(5.0, after_s):
            return "a part that the stage needs is away"
        late = [
            lane.name
            for lane in self._lanes.values()
            if now - lane.fetched_at > after_s and self._should_read(lane)
        ]
        return f"no fetch came back for {after_s:g} s in {', '.join(late)}" if late else None

    def partitions(self) -> list[Partition]:
        """What is assigned to this process now."""
        return [flow.partition for flow in self._assignments]

    @property
    def backlog(self) -> int:
        return sum(flow.tracker.span for flow in self._assignments)

    def lag(self, lane: str) -> int:
        """Records of the lane's assigned partitions that are published and not finished."""
        ends = [
            (flow.tracker, flow.lane.source.end(flow.partition))
            for flow in self._assignments
            if flow.lane.name == lane
        ]
        return sum(tracker.unfinished(end) for tracker, end in ends if end is not None)

    def waiting(self, lane: str, resource: Hashable) -> int:
        """How many of the lane's records wait for a place there."""
        return self._lanes[lane].waiting(resource)

    def _should_read(self, lane: Lane[R]) -> bool:
        flows = [flow for flow in self._assignments if flow.lane is lane]
        return not flows or any(flow.room.is_set() for flow in flows)

    # between pumps

    def lend(self, record: R, take: Callable[[Flow[R]], bool]) -> bool:
        """Let another pump have a record that this one handles: it is finished when both have done with it.

        `take` is told with which assignment it came, and says whether the other has it. False too where that
        assignment is over, though the partition may have come back since, or so much is unfinished of it that
        its reader may soon stand still.
        """
        flow = self._assignments.get(Partition(record.topic, record.partition))
        if flow is None or flow.ended or not flow.tracker.is_unfinished(record.offset):
            return False
        if flow.tracker.span > flow.span_max // 2 or not take(flow):
            return False
        flow.tracker.lend(record.offset)
        return True

    def borrow(self, lane: str, flow: Flow[R], record: R) -> bool:
        """Do a record of another pump's assignment, if it is begun at once; False where it would wait."""
        mine = self._lanes[lane]
        piece = None if self._is_ending else mine.enter(flow, record)
        if piece is None:
            return False
        cost = self.slots.cost(lane, self._weigh([piece]))
        if not self.slots.take(lane, cost):
            mine.leave([piece])
            return False
        self._begin(mine, [piece], cost)
        return True

    # handing on

    async def _feed(self, lane: Lane[R]) -> None:
        try:
            while True:
                await lane.ready.wait()
                if batch := lane.next():
                    await self._spawn(lane, batch)
        except Exception as error:
            self._crash(error)

    async def _review_always(self) -> None:
        """Each record that waits for a place is looked at again: of up to 10,000 once a second at least."""
        try:
            while True:
                await asyncio.sleep(_REVIEW_EVERY_S)
                for lane in self._lanes.values():
                    lane.review(_REVIEW_MAX)
        except Exception as error:
            self._crash(error)

    async def _rehome_always(self) -> None:
        try:
            await self._rehoming.look_always()
        except Exception as error:
            self._crash(error)

    async def _spawn(self, lane: Lane[R], taken: Sequence[Piece[R]]) -> None:
        cost = self.slots.cost(lane.name, self._weigh(taken))
        for flow in {piece.flow for piece in taken}:
            flow.look()
        if not self.slots.take(lane.name, cost):
            await self._wait_for_slots(lane, taken, cost)
        batch: list[Piece[R]] = []
        for piece in taken:
            if piece.flow.ended or not self._rehoming.goes_on(piece):
                lane.leave([piece])
            else:
                batch.append(piece)
        self._begin(lane, batch, cost)

    def _begin(self, lane: Lane[R], batch: Sequence[Piece[R]], cost: int) -> None:
        lane.begin()
        for piece in batch:
            self._rehoming.begin(piece)
        task = asyncio.create_task(self._work(lane, batch, cost))
        for tasks in (self._tasks, *(flow.tasks for flow in {piece.flow for piece in batch})):
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def _wait_for_slots(self, lane: Lane[R], taken: Sequence[Piece[R]], cost: int) -> None:
        lane.hold_up()
        try:
            await self.slots.acquire(lane.name, cost)
        except asyncio.CancelledError:
            lane.leave(taken)
            raise
        finally:
            lane.is_held_up = False

    def _weigh(self, batch: Sequence[Piece[R]]) -> int:
        slot_bytes = self._limits.slot_bytes
        if not slot_bytes:
            return len(batch)
        return sum(1 + size(piece.record) // slot_bytes for piece in batch)

    def _crash(self, error: Exception) -> None:
        self._crashed = error
        self._on_trouble(error)

    # working

    async def _work(self, lane: Lane[R], batch: Sequence[Piece[R]], cost: int) -> None:
        """What is to wait goes back into its line afterwards, before what came later."""
        later: Awaitable[None] | None = None
        try:
            try:
                if batch:
                    later = await self._doing.do([piece.record for piece in batch])
            finally:
                self.slots.release(lane.name, cost)
                lane.leave(batch)
            if later is None:
                for piece in batch:
                    if self._rehoming.end(piece):
                        piece.flow.tracker.finish(piece.record.offset)
            else:
                await self._rehoming.wait(batch[0], self._doing.wait(later))
                lane.put_back([piece for piece in batch if self._rehoming.goes_on(piece)])
        except Exception as error:
            self._crash(error)
        finally:
            for flow in {piece.flow for piece in batch}:
                flow.look()
            lane.end()


def _cancel(task: asyncio.Task[Any] | None) -> None:
    if task is not None:
        task.cancel()
