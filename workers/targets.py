"""Places at provider targets: who may call now, and which lanes stand in line for it.

The pump hands a job on with a place at its target, so what waits for one is in the pump's lines, and nothing
of it is on record. The health of the target (broker.health) says which lane is next.
"""

import asyncio
import math
import time
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import Final, TypeVar, cast

import structlog

from broker.health.target import Change, Rules, TargetHealth
from broker.providers.provider import Call, Result
from broker.providers.registry import Providers
from broker.providers.routes import Target
from broker.settings import Settings
from broker.telemetry.events import Event
from broker.telemetry.metrics import TROUBLE_QUIET_S, Metrics
from workers.loop_lag import LoopLag

BEAT_S: Final = 0.1
"""How often it is measured how late the event loop is."""
LAGS: Final = 20
"""A call passes the event loop so often that its latency is our own doing, where it is no longer than this
many times what the loop is late. A process at the end of its CPU must not take that for its target's.
"""
LOOK_S: Final = 0.05
"""How often it is looked whether a limit has risen, while somebody waits."""
N = TypeVar("N", int, float)
_log = structlog.stdlib.get_logger(__name__)


class _Target:
    __slots__ = ("health", "in_line", "name", "said", "timer", "trouble")

    def __init__(self, name: str, health: TargetHealth) -> None:
        self.name = name
        self.health = health
        self.in_line: dict[str, Callable[[], bool]] = {}
        """Lanes that have jobs for it and no place, and how they are told of one."""
        self.timer: asyncio.TimerHandle | None = None
        self.said: dict[Event, float] = {}
        self.trouble = False
        """Whether it was said that it is limited or closed, and not yet that it is well again."""


class Targets:
    """All targets of the settings. `weights` of the lanes; `clock` gives seconds, monotonic."""

    def __init__(
        self,
        settings: Settings,
        providers: Providers,
        weights: Mapping[str, int],
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.health = {
            name: TargetHealth(rules_of(settings, target.connections_max), weights)
            for name, target in settings.providers.items()
        }
        self.on_news: Callable[[], None] = lambda: None
        """Called when other processes ought to know of something at once."""
        self._targets = {name: _Target(name, health) for name, health in self.health.items()}
        self._lanes = tuple(weights)
        self.routes = providers.routes
        self._providers = providers
        self._metrics = metrics
        self._clock = clock
        self.lag = LoopLag(clock, self._is_busy, BEAT_S)

    def enter(self, name: Hashable, lane: str, granted: Callable[[], bool]) -> bool:
        """A place at the target; see `Places`. Raises KeyError where there is no such target."""
        target = self._targets[cast(str, name)]
        self.lag.watch()
        if not target.in_line and target.health.enter(lane, self._clock()):
            return True
        target.health.begin_to_wait(lane)
        target.in_line[lane] = granted
        return self._serve(target, lane)

    def withdraw(self, name: Hashable, lane: str) -> None:
        self._targets[cast(str, name)].in_line.pop(lane, None)

    def leave(self, name: Hashable, lane: str) -> None:
        target = self._targets[cast(str, name)]
        target.health.leave(lane)
        if target.in_line:
            self._serve(target)

    async def call(self, target: Target, call: Call) -> Result:
        """Of an attempt that has a place. Never raises for what a server does; cancelled, it closes the
        connection.
        """
        began = self._clock()
        with self._metrics.calling(target.name):
            result = await self._providers.call(target, call)
        self._metrics.provider_call(target.name, result)
        self.ended(target.name, result, began)
        return result

    def ended(self, name: str, result: Result, began: float) -> None:
        """A call, begun at `began` by the clock, has come to this. Its place is not given back yet."""
        target, now = self._targets[name], self._clock()
        is_timed = now - began > LAGS * self.lag.seconds
        change = target.health.ended(result, began, now, is_timed=is_timed)
        if change.cut is not None or change.closed:
            self._changed(target, change, now)
            self.on_news()
        elif target.trouble:
            self._look_whether_well(target, now)

    def watch(self, waiting: Callable[[str, str], int]) -> None:
        """Show each target in the metrics; `waiting(lane, target)`: jobs that wait for a place."""
        for name, health in self.health.items():
            self._metrics.watch_target(
                name,
                partial(self._ask, health.limit),
                partial(self._ask, health.closed_for),
                {lane: partial(waiting, lane, name) for lane in self._lanes},
            )

    def changed(self, name: str, change: Change) -> None:
        """By what other processes say."""
        self._changed(self._targets[name], change, self._clock())

    def _ask(self, question: Callable[[float], N]) -> N:
        return question(self._clock())

    def _is_busy(self) -> bool:
        return any(health.places for health in self.health.values())

    def _serve(self, target: _Target, asking: str | None = None) -> bool:
        """Places for the lanes in line as it is their turn, up to one for the lane that asks: whether."""
        now = self._clock()
        while target.in_line:
            lane = target.health.admit(target.in_line, now)
            if lane is None:
                self._come_back(target, now)
                return False
            if lane == asking:
                del target.in_line[lane]
                return True
            if not target.in_line[lane]():
                target.in_line.pop(lane, None)
        return False

    def _come_back(self, target: _Target, now: float) -> None:
        """Limits rise and closures end with time."""
        if target.timer is None:
            wait_s = max(LOOK_S, min(target.health.closed_for(now), 1.0))
            target.timer = asyncio.get_running_loop().call_later(wait_s, self._look, target)

    def _look(self, target: _Target) -> None:
        target.timer = None
        self._serve(target)

    # what is said of them

    def _changed(self, target: _Target, change: Change, now: float) -> None:
        target.trouble = True
        if change.cut is not None:
            self._metrics.target_cut(target.name, change.cut.cause)
            if self._may_say(target, Event.TARGET_LIMITED, now):
                limit = target.health.limit(now)
                _log.info(Event.TARGET_LIMITED, target=target.name, limit=limit, cause=change.cut.cause)
        if change.closed:
            seconds = math.ceil(target.health.closed_for(now))
            self._metrics.target_closed(target.name)
            if self._may_say(target, Event.TARGET_CLOSED, now):
                _log.info(Event.TARGET_CLOSED, target=target.name, seconds=seconds)

    def _look_whether_well(self, target: _Target, now: float) -> None:
        if not target.health.is_lowered(now) and not target.health.closed_for(now):
            target.trouble = False
            if self._may_say(target, Event.TARGET_RECOVERED, now):
                _log.info(Event.TARGET_RECOVERED, target=target.name)

    def _may_say(self, target: _Target, event: Event, now: float) -> bool:
        """Each at most so often."""
        if now - target.said.get(event, -math.inf) < TROUBLE_QUIET_S:
            return False
        target.said[event] = now
        return True


def rules_of(settings: Settings, connections_max: int) -> Rules:
    """A process has no more calls under way than it has slots, so a higher limit would say nothing."""
    concurrency = settings.concurrency
    most = min(connections_max, settings.dispatch.slots)
    return Rules(
        least=min(concurrency.calls_min, most),
        most=most,
        tolerance=concurrency.latency_tolerance,
        window_s=concurrency.window_ms / 1000,
        retry_after_s_max=concurrency.retry_after_max_s,
    )
