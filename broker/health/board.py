"""Where processes tell each other, through Redis, how they find their targets.

A hash a target, `<prefix>:health:<target>`, with a field a process: [written, limit, lowered, closed until,
own cut at, factor], times in milliseconds of Redis's clock. Each process writes its own field and reads the
others', in the background; nobody waits for it. Without Redis each goes by what it finds itself. Nothing
is lost with the hash: it is written again while there is something to say.
"""

import asyncio
import math
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Final, NamedTuple

import orjson
from redis.asyncio import Redis, RedisCluster

from broker import tasks
from broker.health.target import Change, Signal, TargetHealth
from broker.quota.translation import translated

HEARTBEAT_S: Final = 5.0
"""How often a signal that does not change is written again, while there is something to say."""
VALID_MS: Final = 15_000
"""A field older than this is of a process that is gone."""
KEY_TTL_MS: Final = 60_000


class _Told(NamedTuple):
    signal: Signal
    at: float


class HealthBoard:
    """`on_change(target, change)` is called for what others' signals change here."""

    def __init__(
        self,
        client: Redis | RedisCluster,
        prefix: str,
        targets: Mapping[str, TargetHealth],
        every_s: float,
        on_change: Callable[[str, Change], None],
        on_trouble: Callable[[BaseException], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._keys = {name: f"{prefix}:health:{name}" for name in targets}
        self._targets = targets
        self._every_s = every_s
        self._on_change = on_change
        self._on_trouble = on_trouble
        self._clock = clock
        self._me = secrets.token_hex(8).encode()
        self._heeded: dict[tuple[str, bytes], float] = {}
        self._told: dict[str, _Told] = {}
        self._news = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._stopping = False
        """Not by cancelling alone: a Redis client may swallow that in the middle of a command."""

    def start(self) -> None:
        self._running = asyncio.create_task(self._run(), name="health-board")

    async def stop(self) -> None:
        self._stopping = True
        await tasks.end(self._running)
        await self._client.aclose()

    def hurry(self) -> None:
        """There is something that others ought to know now."""
        self._news.set()

    async def exchange(self) -> None:
        """Read what the others say and heed it, then say what is to be said. Raises RedisUnavailable."""
        with translated():
            async with self._client.pipeline(transaction=False) as pipeline:
                # The command itself is not for pipelines of a cluster.
                pipeline.eval("return redis.call('TIME')", 1, next(iter(self._keys.values())))
                for key in self._keys.values():
                    pipeline.hgetall(key)
                (seconds, microseconds), *fields = await pipeline.execute()
            now = self._clock()
            offset_ms = int(seconds) * 1000 + int(microseconds) // 1000 - now * 1000
            gone = {
                name: list(self._heed(name, said, now, offset_ms))
                for name, said in zip(self._keys, fields, strict=True)
            }
            await self._tell(now, offset_ms, gone)

    async def _run(self) -> None:
        """Whatever an exchange comes to, another follows: nobody else tells this process anything."""
        while not self._stopping:
            try:
                await self.exchange()
            except Exception as error:  # noqa: BLE001 - counted and logged
                self._on_trouble(error)
            if not self._stopping:
                await self._until_the_next()

    async def _until_the_next(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._every_s):
                await self._news.wait()
        self._news.clear()

    def _heed(self, name: str, said: Mapping[bytes, bytes], now: float, offset_ms: float) -> Iterator[bytes]:
        """Yields the fields that nobody writes any more: of processes long gone, or of another version."""
        for process, text in said.items():
            if process == self._me:
                continue
            found = _unpack(text, offset_ms)
            if found is None or (now - found[0]) * 1000 > KEY_TTL_MS:
                self._heeded.pop((name, process), None)
                yield process
            elif (now - found[0]) * 1000 <= VALID_MS:
                self._follow(name, process, found[1], now)

    def _follow(self, name: str, process: bytes, signal: Signal, now: float) -> None:
        """A process that is met for the first time may know of trouble that it did not meet by itself."""
        heeded = self._heeded.get((name, process))
        self._heeded[name, process] = signal.cut_at
        is_news = heeded is None or signal.cut_at > heeded
        change = self._targets[name].follow(signal, now, is_news=is_news)
        if change.cut is not None or change.closed:
            self._on_change(name, change)

    async def _tell(self, now: float, offset_ms: float, gone: Mapping[str, list[bytes]]) -> None:
        telling: dict[str, _Told] = {}
        async with self._client.pipeline(transaction=False) as pipeline:
            for name, key in self._keys.items():
                signal, told = self._targets[name].signal(now), self._told.get(name)
                if gone[name]:
                    pipeline.hdel(key, *gone[name])
                if _is_due(signal, told, now):
                    pipeline.hset(key, self._me, _pack(signal, now, offset_ms))
                    pipeline.pexpire(key, KEY_TTL_MS)
                    telling[name] = _Told(signal, now)
            if len(pipeline):
                await pipeline.execute()
        self._told |= telling


def _is_due(signal: Signal, told: _Told | None, now: float) -> bool:
    """A healthy target is mentioned once after it was not, and then no more."""
    has_something = signal.lowered or signal.closed_until > now
    if told is None or signal == told.signal:
        return has_something and (told is None or now - told.at >= HEARTBEAT_S)
    return has_something or told.signal.lowered or told.signal.closed_until > told.at


def _pack(signal: Signal, now: float, offset_ms: float) -> bytes:
    times = (
        None if math.isinf(at) else round(at * 1000 + offset_ms)
        for at in (now, signal.closed_until, signal.cut_at)
    )
    written, closed_until, cut_at = times
    return orjson.dumps([written, signal.limit, signal.lowered, closed_until, cut_at, signal.factor])


def _unpack(text: bytes, offset_ms: float) -> tuple[float, Signal] | None:
    """When it was written, and what; times in seconds of this process's clock. None: it cannot be read."""
    try:
        written, limit, lowered, closed_until, cut_at, factor = orjson.loads(text)
        at, until, cut = (
            -math.inf if ms is None else (ms - offset_ms) / 1000 for ms in (written, closed_until, cut_at)
        )
        signal = Signal(int(limit), bool(lowered), until, cut, float(factor))
    except (TypeError, ValueError):
        return None
    return (at, signal) if signal.limit >= 1 and 0 < signal.factor <= 1 else None
