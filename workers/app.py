"""The composition root of a worker process: which parts there are, and which pools run on them.

FastStream carries the process: its broker connects the consumers, its application starts and stops them in
order and serves health and metrics.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Literal

import structlog
from faststream.asgi import AsgiFastStream
from faststream.kafka import KafkaBroker

from broker.kafka.consuming import GroupSource, Place, stream_broker
from broker.ops.webhooks import secret_of
from broker.plugins.contract import Phase
from broker.records import Handed, Incoming, Inner
from broker.settings import Settings
from broker.telemetry.http import asgi_routes
from broker.telemetry.metrics import Metrics
from broker.webhooks import Webhooks
from schemas import topics
from schemas.outcomes import StageName
from schemas.state import State
from schemas.topics import Lane, RetryDelay
from workers.admit import Admit
from workers.completer import Completer
from workers.crowds import Crowds, Room
from workers.detecting import Detecting
from workers.dispatch import Dispatch
from workers.engine.pump import Limits, Pump
from workers.engine.slots import Slots
from workers.engine.source import Source
from workers.engine.tenants import Sharing
from workers.lanes import LANE_WEIGHTS
from workers.notifier import Notifier
from workers.parked_share import SHARED_BY
from workers.parts import Parts
from workers.poison import Poison
from workers.register import Register
from workers.reserve import Reserve
from workers.retry import WAITING_MAX, Retry
from workers.review import Holding, Rulings
from workers.review_notices import ReviewNotices
from workers.settle import Settle
from workers.standings import Standings
from workers.stream import Stream
from workers.succession import Succession
from workers.tenancy import Claims, by_application
from workers.waker import Waker
from workers.watch import Watch

Pool = Literal["admit", "reserve", "dispatch", "settle", "retry"]
POOLS: tuple[Pool, ...] = ("admit", "reserve", "dispatch", "settle", "retry")
_SLOT_BYTES = 256 * 1024
_READ_AHEAD = 10_000
"""Records of a partition that DISPATCH has at hand, so that it can choose whose turn it is, and pass by what
waits for a target: as many as RESERVE passes on of one project.
"""
_HOLDING: frozenset[Pool] = frozenset({"reserve", "dispatch", "settle", "retry"})
"""Pools that speak to the gate."""
_SEEN_AT: Mapping[Phase, Pool] = {"request": "admit", "answer": "dispatch"}
_WATCH_EVERY_S = 1.0
_AWAY_AFTER_S = 5.0


class Worker:
    """One process's pools. `open`, `start`, `stop`, `close` in this order."""

    def __init__(self, settings: Settings, pools: Collection[Pool]) -> None:
        self.settings = settings
        self.pools = tuple(pool for pool in POOLS if pool in pools)
        self.broker: KafkaBroker = stream_broker(settings.kafka)
        self.metrics = Metrics()
        self.drained = True
        self._log = structlog.stdlib.get_logger(__name__)
        self._stack = AsyncExitStack()
        self._pumps: list[Pump[Incoming]] = []
        self._waker: asyncio.Task[None] | None = None
        self._parts: Parts | None = None
        self._reserving: Reserve | None = None
        self._dispatching: Pump[Incoming] | None = None
        self._detecting: Detecting | None = None
        self._watch: Watch | None = None

    async def open(self) -> None:
        """Connect to every part. Raises ConfigurationError or Unavailable, saying what to do."""
        self._parts = await self._stack.enter_async_context(
            Parts.open(
                self.settings,
                self.metrics,
                with_calls="dispatch" in self.pools,
                with_prices="admit" in self.pools,
            )
        )
        await self._start_detecting(self._parts)
        if "reserve" in self.pools:
            every_s = self.settings.reserve.park_recheck_ms / 1000
            crowds = Crowds(_room(self._parts), every_s, self.metrics)
            await self._stack.enter_async_context(crowds)
            self._reserving = _reserving(self._parts, crowds)
        if "settle" in self.pools:
            webhooks = Webhooks(self.settings.webhooks)
            self._stack.push_async_callback(webhooks.close)
            await self._stack.enter_async_context(self._notifier(self._parts, webhooks))
        questions: dict[str, Callable[[], Awaitable[None]]] = {"database": self._parts.directory.refresh}
        if _HOLDING.intersection(self.pools):
            questions["redis"] = self._parts.counters.check
        self._watch = await self._stack.enter_async_context(Watch(questions, _WATCH_EVERY_S))

    async def _start_detecting(self, parts: Parts) -> None:
        """What is plugged in sees what passes here. Raises DetectorUnusable."""
        phases = [phase for phase, pool in _SEEN_AT.items() if pool in self.pools]
        detecting = Detecting(self.settings.detectors, phases, parts.flags, self.metrics, parts.tools.clock)
        self._detecting = await self._stack.enter_async_context(detecting)

    async def start(self) -> None:
        self._pumps = [getattr(self, f"_{pool}")(self._opened()) for pool in self.pools]
        await asyncio.gather(*(pump.start() for pump in self._pumps))
        self._log.info("worker_started", pools=list(self.pools))

    async def stop(self) -> None:
        """Stop taking, let what is under way end within the deadline, hand over the rest."""
        if self._waker is not None:
            self._waker.cancel()
        ends = [pump.stop(self.settings.drain_s) for pump in self._pumps]
        self.drained = all(await asyncio.gather(*ends))
        self._pumps.clear()
        await self._stack.aclose()
        self._log.info("worker_stopped", drained=self.drained)

    def troubles(self) -> list[str]:
        """Why this process is not ready; empty when it is."""
        if not self._pumps:
            return ["not started"]
        after_s = self.settings.health.stall_after_s
        stalled = [(pump.name, pump.stalled(after_s)) for pump in self._pumps]
        causes = [f"{name}: {cause}" for name, cause in stalled if cause is not None]
        if self._watch is not None:
            causes += self._watch.away(min(_AWAY_AFTER_S, after_s))
        if self._waker is not None and self._waker.done():
            causes.append("retry: the waker of parked jobs has stopped")
        return causes

    def _opened(self) -> Parts:
        if self._parts is None:
            raise RuntimeError("open() comes first")
        return self._parts

    # one pool each

    def _admit(self, parts: Parts) -> Pump[Incoming]:
        stage = Admit(
            parts.settings,
            parts.tools,
            parts.directory,
            parts.books,
            parts.policy,
            Register(parts.jobs, parts.attempts),
            parts.cancels,
            Holding(parts.tools, parts.reviews, parts.parking),
        )
        stage.show = self._shower("request")
        if self._reserving is not None:
            stage.handover.hold = parts.tools.metrics.timed("reserve", self._reserving.hold)
        sources = {
            lane.value: self._source(f"headworks.admit.{lane.value}", pattern=topics.jobs_pattern(lane))
            for lane in Lane
        }
        limits = self._limits(batch_max=200, under_way_max=1, span_max=_READ_AHEAD)
        slots = Slots(3_000, LANE_WEIGHTS)
        end = Completer(parts.tools, parts.attempts).broken_off
        poison = Poison("admit", parts.tools, stage.examiner.identify, break_off=end)
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

    def _reserve(self, parts: Parts) -> Pump[Incoming]:
        if self._reserving is None:
            raise RuntimeError("open() comes first")
        limits = self._limits(batch_max=200, under_way_max=1, span_max=2_000)
        sources = self._by_lane("reserve", topics.admitted)
        return self._pump("reserve", sources, self._reserving.handle, Slots(3_000, LANE_WEIGHTS), limits)

    def _dispatch(self, parts: Parts) -> Pump[Incoming]:
        settings = parts.settings.dispatch
        succession = Succession(
            parts.tools.producer, parts.reader, parts.settlements, settings.takeover_check_ms / 1000
        )
        stage = Dispatch(
            parts.settings,
            parts.tools,
            parts.directory,
            parts.attempts,
            succession,
            parts.lease,
            parts.targets,
            parts.policy,
        )
        stage.caller.show = self._shower("answer")
        slot_bytes = max(_SLOT_BYTES, settings.bytes_in_flight_max // settings.slots)
        limits = replace(
            self._limits(
                batch_max=1, under_way_max=settings.slots, span_max=max(_READ_AHEAD, 2 * settings.slots)
            ),
            slot_bytes=slot_bytes,
        )
        reserved = {"interactive": min(settings.slots_interactive, settings.slots - 1)}
        slots = Slots(settings.slots, LANE_WEIGHTS, reserved)
        sources = self._by_lane("dispatch", topics.reserved)
        poison = Poison("dispatch", parts.tools, break_off=Completer(parts.tools, parts.attempts).broken_off)
        claims = Claims(parts.targets.routes, parts.tools.tombstones, parts.tools.clock)
        sharing = by_application(claims, parts.targets)
        pump = self._pump("dispatch", sources, stage.handle, slots, limits, poison, sharing)
        parts.targets.watch(pump.waiting)
        self._dispatching = pump
        return pump

    def _settle(self, parts: Parts) -> Pump[Incoming]:
        stage = Settle(
            parts.tools,
            parts.settlement_book,
            parts.gate,
            parts.reader,
        )
        limits = self._limits(batch_max=300, under_way_max=1, span_max=1_000)
        sources = self._by_lane("settle", topics.outcomes)
        slots = Slots(6_000, LANE_WEIGHTS)
        poison = Poison("settle", parts.tools, pass_over=stage.pass_over)
        return self._pump("settle", sources, stage.handle, slots, limits, poison)

    def _retry(self, parts: Parts) -> Pump[Incoming]:
        """A lane a delay, so that what waits long holds up nothing that waits briefly."""
        stage = Retry(parts.tools)
        sources = {
            delay.value: self._source(f"headworks.retry.{delay.value}", topics.retry(delay))
            for delay in RetryDelay
        }
        limits = self._limits(batch_max=1, under_way_max=WAITING_MAX, span_max=5 * WAITING_MAX)
        pump = self._pump("retry", sources, stage.handle, Slots(1_000, dict.fromkeys(sources, 1)), limits)
        self._waker = asyncio.create_task(self._make_waker(parts, pump).run(), name="waker")
        return pump

    def _make_waker(self, parts: Parts, pump: Pump[Incoming]) -> Waker:
        return Waker(
            parts.tools,
            parts.parking,
            parts.reader,
            _room(parts),
            Rulings(parts.tools, parts.reviews),
            parts.settings.reserve.park_recheck_ms / 1000,
            lambda: [at.partition for at in pump.partitions() if at.topic == SHARED_BY],
        )

    # what they share

    def _shower(self, phase: Phase) -> Callable[[State, bytes], None] | None:
        return None if self._detecting is None else self._detecting.shower(phase)

    def _notifier(self, parts: Parts, webhooks: Webhooks) -> Notifier:
        """Organizations are told of their budgets where their money is settled, and there of reviews too."""
        notifier = Notifier(
            Standings(parts.directory, parts.gate).read,
            parts.notices,
            parts.tools.producer,
            webhooks,
            partial(secret_of, self.settings.key_encryption_key()),
            parts.tools.clock,
            self.metrics,
            self.settings.webhooks.look_every_s,
        )
        notifier.also(ReviewNotices(parts.reviews, parts.notices).look)
        return notifier

    def _limits(self, batch_max: int, under_way_max: int, span_max: int) -> Limits:
        commit_interval_s = self.settings.kafka.commit_interval_ms / 1000
        return Limits(batch_max, under_way_max, span_max, commit_interval_s)

    def _by_lane(self, stage: str, topic: Callable[[Lane], str]) -> dict[str, Source[Incoming]]:
        return {lane.value: self._source(f"headworks.{stage}.{lane.value}", topic(lane)) for lane in Lane}

    def _source(self, group: str, *names: str, pattern: str | None = None) -> Source[Incoming]:
        source = GroupSource(
            self.broker, self.settings.kafka, group, *names, pattern=pattern, on_alarm=self._alarm
        )
        return Stream(source)

    def _alarm(self, code: str, place: Place) -> None:
        self.metrics.alarm(code)
        self._log.error("alarm", code=code, topic=place.topic, partition=place.partition)

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
        parts = self._opened()
        pump: Pump[Incoming] = Pump(
            name,
            sources,
            parts.tools.metrics.timed(name, handle),
            poison or Poison(name, parts.tools),
            slots,
            limits,
            lambda error: parts.tools.metrics.trouble(name, error),
            sharing,
        )
        lags = {lane: partial(pump.lag, lane) for lane in sources}
        parts.tools.metrics.watch(name, lambda: slots.in_use, lambda: pump.backlog, lags)
        return pump


def _reserving(parts: Parts, crowds: Crowds) -> Reserve:
    return Reserve(parts.settings, parts.tools, parts.directory, parts.gate, parts.parking, crowds)


def _room(parts: Parts) -> Room:
    return Room(parts.waiting, parts.gate, parts.directory, parts.settings.reserve)


def application(worker: Worker) -> AsgiFastStream:
    """The worker as a FastStream application with `/healthz`, `/readyz` and `/metrics`."""
    return AsgiFastStream(
        worker.broker,
        logger=None,
        after_startup=[worker.start],
        on_shutdown=[worker.stop],
        asgi_routes=asgi_routes(worker.troubles, worker.metrics),
    )
