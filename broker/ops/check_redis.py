"""The checks of Redis: there, new enough, never evicting, the clock kept."""

import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

from redis.asyncio import Redis

from broker.errors import HeadworksError, RedisUnavailable, RedisUnfit, SettingsInvalid
from broker.ops.checks import Check, compare_clocks
from broker.quota.redis_gate import Client, RedisGate, connect
from broker.quota.translation import translated
from broker.settings import RedisSettings
from broker.settings_faults import EMBEDDED_REDIS

_VERSION_MIN = (7, 0)
_START = "start Redis, or mend redis.url"
_MEND = "redis-cli CONFIG SET maxmemory-policy noeviction, and in redis.conf; Redis 7 or later"


async def check_redis(settings: RedisSettings) -> Sequence[Check]:
    """The rest is left out where Redis does not answer, and where it is the embedded one."""
    if settings.url.get_secret_value() == EMBEDDED_REDIS:
        return [_embedded()]
    try:
        with translated():
            async with connect(settings) as client:
                return [Check.passed("redis", await _fitness(client)), *await _clocks(client)]
    except HeadworksError as error:
        fix = _START if isinstance(error, RedisUnavailable) else _MEND
        return [Check.failed("redis", error, fix)]


def _embedded() -> Check:
    if find_spec("fakeredis") is None:
        error = SettingsInvalid(f"redis.url is {EMBEDDED_REDIS}, and the embedded parts are not installed")
        return Check.failed("redis", error, "pip install 'headworks[embedded]', or name a Redis in redis.url")
    return Check.passed("redis", "the embedded gate: right for one worker process alone, and nothing is kept")


async def _fitness(client: Client) -> str:
    gate = RedisGate(client, prefix="")
    with translated():
        versions = {str(facts["redis_version"]) for facts in await gate.facts()}
    for version in versions:
        if tuple(map(int, version.split(".")[:2])) < _VERSION_MIN:
            raise RedisUnfit(f"Redis {version} is too old")
    await gate.check()
    return f"Redis {', '.join(sorted(versions))}, without eviction"


async def _clocks(client: Client) -> list[Check]:
    """Of each node of a cluster."""
    if isinstance(client, Redis):
        return [await _clock(client.time)]
    return [await _clock(partial(client.time, target_nodes=node)) for node in client.get_primaries()]


async def _clock(ask: Callable[[], Awaitable[Any]]) -> Check:
    sent_ms = time.time_ns() // 1_000_000
    seconds, microseconds = await ask()
    received_ms = time.time_ns() // 1_000_000
    return compare_clocks("redis clock", sent_ms, seconds * 1000 + microseconds // 1000, received_ms)
