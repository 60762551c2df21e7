"""Redis away, and Redis unfit."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
import uvloop
from fakeredis import FakeAsyncRedis, FakeServer
from pydantic import SecretStr
from redis.asyncio import Redis

from broker.errors import GateClosed, RedisUnavailable, RedisUnfit
from broker.quota.redis_gate import RedisGate
from broker.settings import RedisSettings
from tests.contracts.quota.harness import ORGANIZATION, MemoryLedger, rebuilt, request
from tests.services.proxy import Proxy
from tests.stack.waiting import until

PASSWORD = "hush-hush"


def settings_of(url: str, timeout_ms: int = 2_000) -> RedisSettings:
    return RedisSettings(url=SecretStr(url), timeout_ms=timeout_ms)


@asynccontextmanager
async def silent_server() -> AsyncIterator[str]:
    """Takes connections and never answers."""
    writers = []

    async def hold(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    try:
        yield f"redis://:{PASSWORD}@127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    finally:
        for writer in writers:
            writer.close()
        server.close()
        await server.wait_closed()


async def test_a_fit_server_opens(redis_server: Any) -> None:
    gate = await RedisGate.open(settings_of(redis_server.url))
    assert gate.closed == frozenset()
    await gate.close()


async def test_no_server_is_unavailable() -> None:
    async with silent_server() as url:
        pass
    with pytest.raises(RedisUnavailable) as caught:
        await RedisGate.open(settings_of(url))
    assert PASSWORD not in str(caught.value)


async def test_a_silent_server_is_unavailable_within_the_timeout() -> None:
    async with silent_server() as url, asyncio.timeout(10):
        with pytest.raises(RedisUnavailable):
            await RedisGate.open(settings_of(url, timeout_ms=50))


async def test_a_cut_connection_is_made_again(redis_server: Any) -> None:
    gate = await RedisGate.open(settings_of(redis_server.url))
    async with Redis.from_url(redis_server.url) as admin:
        own = await admin.client_id()
        for client in await admin.client_list():
            if int(client["id"]) != own:
                await admin.client_kill_filter(_id=client["id"])
    await gate.check()
    await gate.close()


async def test_the_embedded_server_can_be_away_too() -> None:
    server = FakeServer()
    gate = RedisGate.embedded(FakeAsyncRedis(server=server))
    server.connected = False
    with pytest.raises(RedisUnavailable):
        await gate.reserve([request("a")])
    server.connected = True
    with pytest.raises(GateClosed):
        await gate.reserve([request("a")])


async def test_a_server_that_evicts_is_unfit(redis_server: Any) -> None:
    async with Redis.from_url(redis_server.url) as admin:
        await admin.config_set("maxmemory-policy", "allkeys-lru")
        try:
            with pytest.raises(RedisUnfit, match="noeviction"):
                await RedisGate.open(settings_of(redis_server.url))
        finally:
            await admin.config_set("maxmemory-policy", "noeviction")


async def test_a_gate_is_not_rebuilt_on_a_server_that_evicts(redis_server: Any) -> None:
    ledger = MemoryLedger()
    async with Redis.from_url(redis_server.url) as admin:
        gate = RedisGate(admin, f"test-{uuid4().hex}")
        with pytest.raises(GateClosed):
            await gate.reserve([request("a")])
        await admin.config_set("maxmemory-policy", "volatile-ttl")
        try:
            with pytest.raises(RedisUnfit):
                await gate.rebuild(ledger)
        finally:
            await admin.config_set("maxmemory-policy", "noeviction")
    assert ledger.rebuilds == 0


@pytest.mark.parametrize("commands", [["+info"], ["+@all", "-hmget"]], ids=["scripts", "what is in them"])
async def test_a_user_who_may_not_run_scripts_is_unfit(redis_server: Any, commands: list[str]) -> None:
    async with Redis.from_url(redis_server.url) as admin:
        name = f"test-{uuid4().hex}"
        await admin.acl_setuser(name, enabled=True, passwords=[f"+{PASSWORD}"], commands=commands, keys=["*"])
        try:
            url = redis_server.url.replace("redis://", f"redis://{name}:{PASSWORD}@")
            gate = await RedisGate.open(settings_of(url))
            with pytest.raises(RedisUnfit) as caught:
                await gate.reserve([request("a")])
            await gate.close()
        finally:
            await admin.acl_deluser(name)
    assert PASSWORD not in str(caught.value)


async def test_a_full_server_takes_nothing_and_is_away(redis_server: Any) -> None:
    prefix = f"test-{uuid4().hex}"
    async with Redis.from_url(redis_server.url) as admin:
        gate = RedisGate(admin, prefix)
        await rebuilt(gate, MemoryLedger())
        (before,) = await gate.reserve([request("a")])
        await admin.config_set("maxmemory", 1)
        try:
            with pytest.raises(RedisUnavailable):
                await gate.reserve([request("b")])
        finally:
            await admin.config_set("maxmemory", 0)
        node = await admin.hgetall(f"{prefix}:{{o{ORGANIZATION}}}:node:p1")
        assert sorted(node.values()) == [b"0 100 0 33", b"0 100 0 33", b"1", b"1 33"]
        assert await gate.reserve([request("a")]) == [before]
        await admin.delete(*[key async for key in admin.scan_iter(f"{prefix}:*")])


async def ask_after_a_reset(port: int) -> None:
    with Proxy(port) as proxy:
        gate = await RedisGate.open(settings_of(f"redis://127.0.0.1:{proxy.port}/0"))
        client = gate._client
        assert isinstance(client, Redis)
        (pooled,) = client.connection_pool._available_connections

        async def noticed() -> bool:
            return pooled._writer is not None and pooled._writer.transport.is_closing()

        proxy.cut()
        await until(noticed, "the connection to be found closed")
        await gate.check()
        await gate.close()


def test_a_connection_that_was_reset_is_made_again_on_uvloop_too(redis_server: Any) -> None:
    uvloop.run(ask_after_a_reset(redis_server.port))
