"""The checks of Redis: there, new enough, never evicting, the clock kept."""

import time
from collections.abc import Sequence
from importlib.util import find_spec

from redis.asyncio import Redis

from broker.errors import HeadworksError, RedisUnavailable, RedisUnfit, SettingsInvalid
from broker.ops.checks import Check, compare_clocks
from broker.quota.redis_gate import RedisGate
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
    timeout_s = settings.timeout_ms / 1000
    try:
        with translated():
            client = Redis.from_url(
                settings.url.get_secret_value(), socket_timeout=timeout_s, socket_connect_timeout=timeout_s
            )
            async with client:
                return [Check.passed("redis", await _fitness(client)), await _clock(client)]
    except HeadworksError as error:
        fix = _START if isinstance(error, RedisUnavailable) else _MEND
        return [Check.failed("redis", error, fix)]


def _embedded() -> Check:
    if find_spec("fakeredis") is None:
        error = SettingsInvalid(f"redis.url is {EMBEDDED_REDIS}, and the embedded parts are not installed")
        return Check.failed("redis", error, "pip install 'headworks[embedded]', or name a Redis in redis.url")
    return Check.passed("redis", "the embedded gate: right for one worker process alone, and nothing is kept")


async def _fitness(client: Redis) -> str:
    version = str((await client.info("server"))["redis_version"])
    if tuple(map(int, version.split(".")[:2])) < _VERSION_MIN:
        raise RedisUnfit(f"Redis {version} is too old")
    await RedisGate(client, prefix="").check()
    return f"Redis {version}, without eviction"


async def _clock(client: Redis) -> Check:
    sent_ms = time.time_ns() // 1_000_000
    seconds, microseconds = await client.time()
    received_ms = time.time_ns() // 1_000_000
    return compare_clocks("redis clock", sent_ms, seconds * 1000 + microseconds // 1000, received_ms)
