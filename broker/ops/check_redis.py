"""The checks of Redis: there, new enough, never evicting, the clock kept."""

import time
from collections.abc import Sequence

from redis.asyncio import Redis

from broker.errors import HeadworksError, RedisUnavailable, RedisUnfit
from broker.ops.checks import Check, compare_clocks
from broker.quota.redis_gate import RedisGate
from broker.quota.translation import translated
from broker.settings import RedisSettings

_VERSION_MIN = (7, 0)
_START = "start Redis, or mend redis.url"
_MEND = "redis-cli CONFIG SET maxmemory-policy noeviction, and in redis.conf; Redis 7 or later"


async def check_redis(settings: RedisSettings) -> Sequence[Check]:
    """The rest is left out where Redis does not answer."""
    timeout_s = settings.timeout_ms / 1000
    try:
        with translated():
            client = Redis.from_url(
                settings.url.get_secret_value(), socket_timeout=timeout_s, socket_connect_timeout=timeout_s
            )
            async with client:
                return [Check.passed("redis", await _fitness(client)), await _clock(client)]
    except ValueError:
        error = RedisUnfit("redis.url is not a URL that begins with redis://, rediss:// or unix://")
        return [Check.failed("redis", error, "mend redis.url")]
    except HeadworksError as error:
        fix = _START if isinstance(error, RedisUnavailable) else _MEND
        return [Check.failed("redis", error, fix)]


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
