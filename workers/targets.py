"""Places at provider targets: who may call now, and who waits for it, without a slot of the pump.

An attempt enters before anything of it is on record and leaves when its call has ended. Where its target has
no place for it, it waits in its lane's queue, first in, first out; the health of the target (broker.health)
says which lane is next. A place is kept for whoever was let in until it comes for it.
"""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final

import structlog

from broker.health.target import Change, Rules, TargetHealth
from broker.providers.provider import Call, Result
from broker.providers.registry import Providers
from broker.providers.routes import Target
from broker.settings import Settings
from broker.store.keys import AttemptKey
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
_log = structlog.stdlib.get_logger(__name__)


class _Claim:
    """On a place at a target: waiting for one, or with one."""

    __slots__ = ("has_place", "lane", "ready", "target")

    def __init__(self, target: "_Target", lane: str) -> None:
        self.target = target
        self.lane = lane
        self.has_place = False
        self.ready: asyncio.Future[None] | None = None

    def wake(self) -> None:
        """Whoever waits for it."""
        if self.ready is not None and not self.ready.done():
            self.ready.set_result(None)


class _Target:
    __slots__ = ("health", "name", "said", "timer", "trouble", "waiting")

    def __init__(self, name: str, health: TargetHealth, lanes: Mapping[str, int]) -> None:
        self.name = name
        self.health = health
        self.waiting: Mapping[str, OrderedDict[AttemptKey, _Claim]] = {lane: OrderedDict() for lane in lanes}
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
        self._targets = {name: _Target(name, health, weights) for name, health in self.health.items()}
        self._claims: dict[AttemptKey, _Claim] = {}
        self.routes = providers.routes
        self._providers = providers
        self._metrics = metrics
        self._clock = clock
        self.lag = LoopLag(clock, lambda: bool(self._claims), BEAT_S)
        for target in self._targets.values():
            self._watch(target)

    def enter(self, key: AttemptKey, name: str, lane: str, within_s: float) -> Awaitable[None] | None:
        """None: the attempt has a place at the target, until it leaves. Else what to wait for, `within_s` at
        most, before it is asked again.
        """
        claim = self._claims.get(key)
        if claim is None:
            claim = self._claims[key] = self._claim(key, self._targets[name], lane)
        self.lag.watch()
        if claim.has_place:
            return None
        if claim.ready is None:
            claim.ready = asyncio.get_running_loop().create_future()
        return _wait(claim.ready, within_s)

    def leave(self, key: AttemptKey) -> None:
        """Give up the attempt's place, or its wait for one. Does nothing where it has neither."""
        claim = self._claims.pop(key, None)
        if claim is None:
            return
        target = claim.target
        if claim.has_place:
            target.health.leave(claim.lane)
        else:
            target.waiting[claim.lane].pop(key, None)
            claim.wake()
        if any(target.waiting.values()):
            self._serve(target)

    def is_waiting(self, key: AttemptKey) -> bool:
        claim = self._claims.get(key)
        return claim is not None and not claim.has_place

    async def call(self, key: AttemptKey, target: Target, call: Call) -> Result:
        """For an attempt that has a place, which it leaves with the call's end. Never raises for what a
        server does; cancelled, it closes the connection, and the place is still to be left.
        """
        began = self._clock()
        with self._metrics.calling(target.name):
            result = await self._providers.call(target, call)
        self._metrics.provider_call(target.name, result)
        self.ended(key, result, began)
        return result

    def ended(self, key: AttemptKey, result: Result, began: float) -> None:
        """The attempt's call, begun at `began` by the clock, has come to this. It leaves its place."""
        claim = self._claims.get(key)
        if claim is not None:
            target, now = claim.target, self._clock()
            is_timed = now - began > LAGS * self.lag.seconds
            change = target.health.ended(result, began, now, is_timed=is_timed)
            if change.cut is not None or change.closed:
                self._changed(target, change, now)
                self.on_news()
            elif target.trouble:
                self._look_whether_well(target, now)
        self.leave(key)

    def changed(self, name: str, change: Change) -> None:
        """By what other processes say."""
        self._changed(self._targets[name], change, self._clock())

    def _claim(self, key: AttemptKey, target: _Target, lane: str) -> _Claim:
        claim = _Claim(target, lane)
        queue, now = target.waiting[lane], self._clock()
        if not queue and target.health.enter(lane, now):
            claim.has_place = True
        else:
            if not queue:
                target.health.begin_to_wait(lane)
            queue[key] = claim
            self._come_back(target, now)
        return claim

    def _serve(self, target: _Target) -> None:
        now = self._clock()
        while waiting := [lane for lane, queue in target.waiting.items() if queue]:
            lane = target.health.admit(waiting, now)
            if lane is None:
                self._come_back(target, now)
                return
            _, claim = target.waiting[lane].popitem(last=False)
            claim.has_place = True
            claim.wake()

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

    def _watch(self, target: _Target) -> None:
        waiting = {lane: partial(len, queue) for lane, queue in target.waiting.items()}
        self._metrics.watch_target(
            target.name,
            lambda: target.health.limit(self._clock()),
            lambda: target.health.closed_for(self._clock()),
            waiting,
        )


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


async def _wait(ready: asyncio.Future[None], within_s: float) -> None:
    """Several may wait for the same: none of them takes it away from the others."""
    await asyncio.wait({ready}, timeout=max(0.0, within_s))
