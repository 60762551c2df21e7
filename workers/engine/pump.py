"""The pump: feeds a stage from its lanes and commits what is finished.

Each assigned partition has a reader, which takes records as they come, and a feeder, which hands them on in
batches: what gathers while one batch is under way goes into the next. The reader must not let fetched records
lie in the client, which fetches nothing for any other partition meanwhile.

A batch whose stage says `retryable` is tried again until it passes: jobs wait, they are not lost. One that
fails otherwise is taken apart, and the record that fails by itself goes to `poison`.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from workers.engine.backoff import delays
from workers.engine.offsets import Tracker
from workers.engine.slots import Slots
from workers.engine.source import Fetched, Partition, R, Source, Unreadable

T = TypeVar("T")
_FETCH_MAX = 500


@dataclass(frozen=True)
class Limits:
    batch_max: int
    """Records handed to the stage at once."""
    under_way_max: int
    """Batches of one partition under way; 1 keeps the partition's order."""
    span_max: int
    """Unfinished records of one partition."""
    commit_interval_s: float = 0.5
    fetch_wait_ms: int = 1_000
    revoke_wait_s: float = 2.0
    waiting_bytes_max: int = 16 * 1024 * 1024
    """Of one partition's records that are fetched and not handed on: beyond it the reader pauses."""
    slot_bytes: int = 0
    """A record takes one slot more for each so many bytes; 0: one slot a record."""


@dataclass
class _Flow(Generic[R]):
    """One partition during one assignment."""

    partition: Partition
    lane: str
    tracker: Tracker = field(default_factory=Tracker)
    waiting: deque[R | Unreadable] = field(default_factory=deque)
    """Fetched and registered, not handed on yet."""
    waiting_bytes: int = 0
    under_way: int = 0
    committed: int | None = None
    room: asyncio.Event = field(default_factory=asyncio.Event)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: tuple[asyncio.Task[None], ...] = ()

    def stop(self) -> None:
        for task in self.tasks:
            task.cancel()


class Pump(Generic[R]):
    """Runs `handle` over the records of several lanes; see the module.

    `handle(records)` returns None when everything that follows from the records is acknowledged; or something
    to be awaited, without slots, before it is called with the same records again.
    """

    def __init__(
        self,
        name: str,
        lanes: Mapping[str, Source[R]],
        handle: Callable[[Sequence[R]], Awaitable[Awaitable[None] | None]],
        poison: Callable[[R | Unreadable, BaseException | None], Awaitable[None]],
        slots: Slots,
        limits: Limits,
        on_trouble: Callable[[BaseException], None] = lambda _: None,
    ) -> None:
        self.name = name
        self.slots = slots
        self._lanes = dict(lanes)
        self._handle = handle
        self._poison = poison
        self._limits = limits
        self._on_trouble = on_trouble
        self._flows: dict[Partition, _Flow[R]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._committer: asyncio.Task[None] | None = None
        self._stopping = False
        self._crashed: BaseException | None = None
        self._troubled_since: dict[object, float] = {}
        self._rounds: dict[str, float] = {}

    async def start(self) -> None:
        self._rounds = dict.fromkeys(self._lanes, time.monotonic())
        starts = [source.start(_LaneAssignment(self, lane)) for lane, source in self._lanes.items()]
        await asyncio.gather(*starts)
        self._committer = asyncio.create_task(self._commit_always(), name=f"{self.name}-commit")

    async def stop(self, drain_s: float) -> bool:
        """Stop fetching, commit, leave the groups, then let work under way end. True when all of it did."""
        self._stopping = True
        deadline = time.monotonic() + drain_s
        for flow in self._flows.values():
            flow.stop()
        await self._settle_down(min(self._limits.revoke_wait_s, drain_s))
        _cancel(self._committer)
        await self._commit(list(self._flows.values()))
        await asyncio.gather(*(source.stop() for source in self._lanes.values()))
        await self._settle_down(max(0.0, deadline - time.monotonic()))
        left = list(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        return not left

    def stalled(self, after_s: float) -> str | None:
        """Why this pump is not consuming, or None."""
        now = time.monotonic()
        if self._crashed is not None:
            return f"reader crashed: {type(self._crashed).__name__}"
        if any(now - since > min(5.0, after_s) for since in self._troubled_since.values()):
            return "a part that the stage needs is away"
        late = [lane for lane, at in self._rounds.items() if now - at > after_s and self._should_read(lane)]
        return f"no fetch came back for {after_s:g} s in {', '.join(late)}" if late else None

    def partitions(self) -> list[Partition]:
        """What is assigned to this process now."""
        return list(self._flows)

    @property
    def backlog(self) -> int:
        return sum(flow.tracker.span for flow in self._flows.values())

    def lag(self, lane: str) -> int:
        """Records of the lane's assigned partitions that are published and not finished."""
        total = 0
        for flow in self._flows.values():
            if flow.lane == lane:
                end, point = self._lanes[lane].end(flow.partition), flow.tracker.commit_point
                total += max(0, end - point) if end is not None and point is not None else 0
        return total

    def _should_read(self, lane: str) -> bool:
        flows = [flow for flow in self._flows.values() if flow.lane == lane]
        return not flows or any(flow.room.is_set() for flow in flows)

    # assignment

    async def assign(self, lane: str, partitions: Collection[Partition]) -> None:
        for partition in partitions:
            flow: _Flow[R] = _Flow(partition, lane)
            flow.room.set()
            self._flows[partition] = flow
            flow.tasks = (
                asyncio.create_task(self._read(flow), name=f"{self.name}-read-{partition}"),
                asyncio.create_task(self._feed(flow), name=f"{self.name}-feed-{partition}"),
            )
        self._rounds[lane] = time.monotonic()

    async def revoke(self, partitions: Collection[Partition]) -> None:
        flows = [flow for partition in partitions if (flow := self._flows.get(partition)) is not None]
        for flow in flows:
            flow.stop()
        await self._settle_down(self._limits.revoke_wait_s, flows)
        await self._commit(flows)
        for flow in flows:
            flow.tracker.close()
            self._flows.pop(flow.partition, None)

    async def _settle_down(self, within_s: float, flows: Sequence[_Flow[R]] | None = None) -> None:
        deadline = time.monotonic() + within_s
        while (left := deadline - time.monotonic()) > 0 and self._tasks:
            if flows is not None and not any(flow.under_way for flow in flows):
                return
            await asyncio.wait(self._tasks, timeout=left, return_when=asyncio.FIRST_COMPLETED)

    # reading

    async def _read(self, flow: _Flow[R]) -> None:
        try:
            while not flow.tracker.is_closed():
                await flow.room.wait()
                fetched = await self._insist(lambda: self._fetch(flow))
                self._rounds[flow.lane] = time.monotonic()
                if flow.tracker.is_closed():
                    return
                self._take(flow, fetched)
        except Exception as error:
            self._crash(error)

    def _fetch(self, flow: _Flow[R]) -> Awaitable[Fetched[R]]:
        limits = self._limits
        room = max(1, min(_FETCH_MAX, limits.span_max - flow.tracker.span))
        return self._lanes[flow.lane].fetch(flow.partition, room, limits.fetch_wait_ms)

    def _take(self, flow: _Flow[R], fetched: Fetched[R]) -> None:
        taken: list[R | Unreadable] = [*fetched.records]
        if fetched.unreadable is not None:
            taken.append(fetched.unreadable)
        for record in taken:
            flow.tracker.register(record.offset)
            flow.waiting_bytes += _size(record)
        flow.waiting.extend(taken)
        self._note(flow)

    async def _feed(self, flow: _Flow[R]) -> None:
        try:
            while True:
                await flow.ready.wait()
                await self._spawn(flow, self._next(flow))
        except Exception as error:
            self._crash(error)

    def _next(self, flow: _Flow[R]) -> Sequence[R] | Unreadable:
        """The next batch; what cannot be decoded goes by itself."""
        batch: list[R] = []
        while flow.waiting and len(batch) < self._limits.batch_max:
            record = flow.waiting[0]
            if isinstance(record, Unreadable) and batch:
                break
            flow.waiting.popleft()
            flow.waiting_bytes -= _size(record)
            if isinstance(record, Unreadable):
                return record
            batch.append(record)
        return batch

    async def _spawn(self, flow: _Flow[R], work: Sequence[R] | Unreadable) -> None:
        cost = self.slots.cost(flow.lane, self._weigh(work))
        flow.under_way += 1
        self._note(flow)
        try:
            await self.slots.acquire(flow.lane, cost)
        except asyncio.CancelledError:
            flow.under_way -= 1
            raise
        task = asyncio.create_task(self._work(flow, work, cost))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _weigh(self, work: Sequence[R] | Unreadable) -> int:
        if isinstance(work, Unreadable):
            return 1
        if not self._limits.slot_bytes:
            return len(work)
        return sum(
            1 + len(getattr(record, "value", None) or b"") // self._limits.slot_bytes for record in work
        )

    def _note(self, flow: _Flow[R]) -> None:
        """Whether the reader and the feeder may go on."""
        limits = self._limits
        has_room = flow.tracker.span < limits.span_max and flow.waiting_bytes < limits.waiting_bytes_max
        _turn(flow.room, on=has_room)
        _turn(flow.ready, on=bool(flow.waiting) and flow.under_way < limits.under_way_max)

    def _crash(self, error: Exception) -> None:
        self._crashed = error
        self._on_trouble(error)

    # working

    async def _work(self, flow: _Flow[R], work: Sequence[R] | Unreadable, cost: int) -> None:
        held = True
        try:
            while (later := await self._do(work)) is not None:
                self.slots.release(flow.lane, cost)
                held = False
                await later
                await self.slots.acquire(flow.lane, cost)
                held = True
            self._finish(flow, work)
        except Exception as error:
            self._crash(error)
        finally:
            flow.under_way -= 1
            if held:
                self.slots.release(flow.lane, cost)
            self._note(flow)

    def _finish(self, flow: _Flow[R], work: Sequence[R] | Unreadable) -> None:
        for record in [work] if isinstance(work, Unreadable) else work:
            flow.tracker.finish(record.offset)

    async def _do(self, work: Sequence[R] | Unreadable) -> Awaitable[None] | None:
        if isinstance(work, Unreadable):
            await self._insist(lambda: self._poison(work, None))
            return None
        return await self._process(work)

    async def _process(self, records: Sequence[R]) -> Awaitable[None] | None:
        try:
            return await self._insist(lambda: self._handle(records))
        except Exception as error:
            self._on_trouble(error)
            if len(records) == 1:
                await self._give_up(records[0], error)
                return None
            for record in records:
                await self._alone(record)
            return None

    async def _give_up(self, record: R, error: Exception) -> None:
        await self._insist(lambda: self._poison(record, error))

    async def _alone(self, record: R) -> None:
        while (later := await self._process([record])) is not None:
            await later

    async def _insist(self, act: Callable[[], Awaitable[T]]) -> T:
        """Each act has a trouble of its own: that one partition can be fetched says nothing of a database."""
        trouble = object()
        try:
            for delay in delays():
                try:
                    return await act()
                except Exception as error:
                    if not getattr(error, "retryable", False):
                        raise
                    self._on_trouble(error)
                    self._troubled_since.setdefault(trouble, time.monotonic())
                    await asyncio.sleep(delay)
        finally:
            self._troubled_since.pop(trouble, None)
        raise AssertionError("delays() has no end")

    # committing

    async def _commit_always(self) -> None:
        while True:
            await asyncio.sleep(self._limits.commit_interval_s)
            await self._commit(list(self._flows.values()))

    async def _commit(self, flows: Sequence[_Flow[R]]) -> None:
        """A commit that fails is no loss: what is not committed comes again."""
        by_lane: dict[str, dict[Partition, int]] = {}
        for flow in flows:
            point = flow.tracker.commit_point
            if not flow.tracker.is_closed() and point is not None and point != flow.committed:
                by_lane.setdefault(flow.lane, {})[flow.partition] = point
        for lane, offsets in by_lane.items():
            try:
                await self._lanes[lane].commit(offsets)
            except Exception as error:
                self._on_trouble(error)
                continue
            for partition, point in offsets.items():
                if (flow_now := self._flows.get(partition)) is not None:
                    flow_now.committed = point


@dataclass
class _LaneAssignment(Generic[R]):
    pump: Pump[R]
    lane: str

    async def assigned(self, partitions: Collection[Partition]) -> None:
        await self.pump.assign(self.lane, partitions)

    async def revoked(self, partitions: Collection[Partition]) -> None:
        await self.pump.revoke(partitions)


def _size(record: object) -> int:
    return len(getattr(record, "value", None) or b"")


def _turn(event: asyncio.Event, *, on: bool) -> None:
    if on:
        event.set()
    else:
        event.clear()


def _cancel(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
