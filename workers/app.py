"""A worker process: what it opens, starts and stops, in which order, and whether it is ready.

FastStream carries the process: its broker connects the consumers, its application starts and stops them in
order and serves health and metrics.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import AsyncExitStack
from functools import partial

import structlog
from faststream.asgi import AsgiFastStream
from faststream.kafka import KafkaBroker

from broker.kafka.consuming import GroupSource, Place, stream_broker
from broker.ops.webhooks import secret_of
from broker.plugins.contract import Phase
from broker.records import Incoming
from broker.settings import Settings
from broker.telemetry.http import asgi_routes
from broker.telemetry.metrics import Metrics
from broker.webhooks import Webhooks
from workers.crowds import Crowds, Room
from workers.detecting import Detecting
from workers.engine.pump import Pump
from workers.engine.source import Source
from workers.notifier import Notifier
from workers.parked_share import SHARED_BY
from workers.parts import Parts
from workers.pools import POOLS, Pool, Pools
from workers.reserve import Reserve
from workers.review import Rulings
from workers.review_notices import ReviewNotices
from workers.standings import Standings
from workers.stream import Stream
from workers.waker import Waker
from workers.watch import Watch

_HOLDING: frozenset[Pool] = frozenset({"reserve", "dispatch", "settle", "retry"})
"""Pools that speak to the gate."""
_SEEN_AT: Mapping[Phase, Pool] = {"request": "admit", "answer": "dispatch"}
_WATCH_EVERY_S = 1.0
_AWAY_AFTER_S = 5.0


class Worker:
    """One process's pools. `open`, `start`, `stop` in this order."""

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
        parts = self._opened()
        pools = Pools(parts, self._source, self._reserving, self._detecting)
        pumps = {pool: pools.pump(pool) for pool in self.pools}
        if "retry" in pumps:
            self._waker = asyncio.create_task(self._make_waker(parts, pumps["retry"]).run(), name="waker")
        self._pumps = list(pumps.values())
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
        notifier.also(parts.recount)
        return notifier

    def _source(self, group: str, *names: str, pattern: str | None = None) -> Source[Incoming]:
        source = GroupSource(
            self.broker, self.settings.kafka, group, *names, pattern=pattern, on_alarm=self._alarm
        )
        return Stream(source)

    def _alarm(self, code: str, place: Place) -> None:
        self.metrics.alarm(code)
        self._log.error("alarm", code=code, topic=place.topic, partition=place.partition)


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
