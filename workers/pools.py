"""The pools: which stage each runs, on which topics, and how much of it at a time."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal, Protocol

from broker.plugins.contract import Phase
from broker.records import Handed, Incoming, Inner
from schemas import topics
from schemas.outcomes import StageName
from schemas.state import State
from schemas.topics import Lane, RetryDelay
from workers.admit import Admit
from workers.completer import Completer
from workers.detecting import Detecting
from workers.dispatch import Dispatch
from workers.engine.limits import Limits
from workers.engine.pump import Pump
from workers.engine.slots import Slots
from workers.engine.source import Source
from workers.engine.tenants import Sharing
from workers.lanes import LANE_WEIGHTS
from workers.parts import Parts
from workers.poison import Poison
from workers.register import Register
from workers.reserve import Reserve
from workers.retry import WAITING_MAX, Retry
from workers.review import Holding
from workers.settle import Settle
from workers.succession import Succession
from workers.tenancy import Claims, by_application

Pool = Literal["admit", "reserve", "dispatch", "settle", "retry"]
POOLS: tuple[Pool, ...] = ("admit", "reserve", "dispatch", "settle", "retry")
_SLOT_BYTES = 256 * 1024
_READ_AHEAD = 10_000
"""Records of a partition that DISPATCH has at hand, so that it can choose whose turn it is, and pass by what
waits for a target: as many as RESERVE passes on of one project.
"""


class Sources(Protocol):
    """Makes what the pumps fetch from: a consumer group on topics, named or by a pattern."""

    def __call__(self, group: str, *names: str, pattern: str | None = None) -> Source[Incoming]: ...


class Pools:
    """Makes the pumps of one process, in which ADMIT's lends to DISPATCH's. `reserving`: where it runs
    RESERVE; `detecting`: where detectors may be plugged in.
    """

    def __init__(
        self, parts: Parts, source: Sources, reserving: Reserve | None, detecting: Detecting | None
    ) -> None:
        self._parts = parts
        self._tools = parts.tools
        self._source = source
        self._reserving = reserving
        self._detecting = detecting
        self._dispatching: Pump[Incoming] | None = None

    def pump(self, pool: Pool) -> Pump[Incoming]:
        """A new one, not started."""
        make: Mapping[Pool, Callable[[], Pump[Incoming]]] = {
            "admit": self._admit,
            "reserve": self._reserve,
            "dispatch": self._dispatch,
            "settle": self._settle,
            "retry": self._retry,
        }
        return make[pool]()

    def _admit(self) -> Pump[Incoming]:
        parts = self._parts
        stage = Admit(
            parts.settings,
            self._tools,
            parts.directory,
            parts.books,
            parts.policy,
            Register(parts.jobs, parts.attempts),
            parts.cancels,
            Holding(self._tools, parts.reviews, parts.parking),
        )
        stage.show = self._shower("request")
        if self._reserving is not None:
            stage.handover.hold = self._tools.metrics.timed("reserve", self._reserving.hold)
        sources = {
            lane.value: self._source(f"headworks.admit.{lane.value}", pattern=topics.jobs_pattern(lane))
            for lane in Lane
        }
        limits = self._limits(batch_max=200, under_way_max=1, span_max=_READ_AHEAD)
        slots = Slots(3_000, LANE_WEIGHTS)
        end = Completer(self._tools, parts.attempts).broken_off
        poison = Poison("admit", self._tools, stage.examiner.identify, break_off=end)
        pump = self._pump("admit", sources, stage.handle, slots, limits, poison)
        stage.handover.begin = partial(self._begin, pump)
        return pump

    def _begin(self, admit: Pump[Incoming], record: Incoming, inner: Inner) -> bool:
        """DISPATCH of this process, where there is one, gets the job of a record of ADMIT's."""
        dispatch, lane = self._dispatching, inner.state.lane.value
        if dispatch is None:
            return False
        return admit.lend(
            record,
            lambda flow: dispatch.borrow(lane, flow, Handed(record, inner, lambda: not flow.ended)),
        )

    def _reserve(self) -> Pump[Incoming]:
        if self._reserving is None:
            raise ValueError("a process with this pool has its stage")
        limits = self._limits(batch_max=200, under_way_max=1, span_max=2_000)
        sources = self._by_lane("reserve", topics.admitted)
        return self._pump("reserve", sources, self._reserving.handle, Slots(3_000, LANE_WEIGHTS), limits)

    def _dispatch(self) -> Pump[Incoming]:
        parts = self._parts
        settings = parts.settings.dispatch
        succession = Succession(
            self._tools.producer, parts.reader, parts.settlements, settings.takeover_check_ms / 1000
        )
        stage = Dispatch(
            parts.settings,
            self._tools,
            parts.directory,
            parts.attempts,
            succession,
            parts.lease,
            parts.targets,
            parts.policy,
        )
        stage.caller.show = self._shower("answer")
        span_max = max(_READ_AHEAD, 2 * settings.slots)
        # calls are bounded by slots: more is under way, without one, where it waits for another's call
        limits = replace(
            self._limits(batch_max=1, under_way_max=span_max, span_max=span_max),
            slot_bytes=max(_SLOT_BYTES, settings.bytes_in_flight_max // settings.slots),
        )
        reserved = {"interactive": min(settings.slots_interactive, settings.slots - 1)}
        slots = Slots(settings.slots, LANE_WEIGHTS, reserved)
        sources = self._by_lane("dispatch", topics.reserved)
        end = Completer(self._tools, parts.attempts).broken_off
        poison = Poison("dispatch", self._tools, break_off=end)
        claims = Claims(parts.targets.routes, self._tools.tombstones, self._tools.clock)
        sharing = by_application(claims, parts.targets)
        pump = self._pump("dispatch", sources, stage.handle, slots, limits, poison, sharing)
        pump.rehome_by(stage.rehome)
        stage.assigned = pump.partitions
        parts.targets.watch(pump.waiting)
        self._dispatching = pump
        return pump

    def _settle(self) -> Pump[Incoming]:
        parts = self._parts
        stage = Settle(self._tools, parts.settlement_book, parts.gate, parts.reader)
        limits = self._limits(batch_max=300, under_way_max=1, span_max=1_000)
        sources = self._by_lane("settle", topics.outcomes)
        slots = Slots(6_000, LANE_WEIGHTS)
        poison = Poison("settle", self._tools, pass_over=stage.pass_over)
        return self._pump("settle", sources, stage.handle, slots, limits, poison)

    def _retry(self) -> Pump[Incoming]:
        """A lane a delay, so that what waits long holds up nothing that waits briefly."""
        stage = Retry(self._tools)
        sources = {
            delay.value: self._source(f"headworks.retry.{delay.value}", topics.retry(delay))
            for delay in RetryDelay
        }
        limits = self._limits(batch_max=1, under_way_max=WAITING_MAX, span_max=5 * WAITING_MAX)
        return self._pump("retry", sources, stage.handle, Slots(1_000, dict.fromkeys(sources, 1)), limits)

    # what they share

    def _shower(self, phase: Phase) -> Callable[[State, bytes], None] | None:
        return None if self._detecting is None else self._detecting.shower(phase)

    def _limits(self, batch_max: int, under_way_max: int, span_max: int) -> Limits:
        commit_interval_s = self._parts.settings.kafka.commit_interval_ms / 1000
        return Limits(batch_max, under_way_max, span_max, commit_interval_s)

    def _by_lane(self, stage: str, topic: Callable[[Lane], str]) -> dict[str, Source[Incoming]]:
        return {lane.value: self._source(f"headworks.{stage}.{lane.value}", topic(lane)) for lane in Lane}

    def _pump(
        self,
        name: StageName,
        sources: Mapping[str, Source[Incoming]],
        handle: Callable[[Sequence[Incoming]], Awaitable[Awaitable[None] | None]],
        slots: Slots,
        limits: Limits,
        poison: Poison | None = None,
        sharing: Sharing[Incoming] | None = None,
    ) -> Pump[Incoming]:
        tools = self._tools
        pump: Pump[Incoming] = Pump(
            name,
            sources,
            tools.metrics.timed(name, handle),
            poison or Poison(name, tools),
            slots,
            limits,
            lambda error: tools.metrics.trouble(name, error),
            sharing,
        )
        lags = {lane: partial(pump.lag, lane) for lane in sources}
        tools.metrics.watch(name, lambda: slots.in_use, lambda: pump.backlog, lags)
        return pump
