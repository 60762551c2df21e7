"""What `headworks doctor` says of a `redis.url` that names no server."""

import pytest
from pydantic import SecretStr

from broker.ops import check_redis
from broker.settings import RedisSettings

EMBEDDED = RedisSettings(url=SecretStr("memory://"))


async def test_the_embedded_gate_is_well() -> None:
    [check] = await check_redis.check_redis(EMBEDDED)
    assert check.ok
    assert "one worker process alone" in check.detail


async def test_the_embedded_gate_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_redis, "find_spec", lambda _: None)
    [check] = await check_redis.check_redis(EMBEDDED)
    assert (check.ok, check.code) == (False, "settings_invalid")
    assert "pip install 'headworks[embedded]'" in str(check.fix)
