from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from fakeredis import FakeAsyncRedis, FakeServer
from redis.asyncio import Redis

from broker.quota.redis_gate import RedisGate
from tests.contracts.quota.harness import Bench, Clock, MemoryLedger

GATES = 3


@pytest.fixture(params=["embedded", "redis"])
async def closed_bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """Three gates on an empty server: closed, as they are at first."""
    clients = _clients(request)
    prefix, clock = f"test-{uuid4().hex}", Clock()
    make = RedisGate.embedded if request.param == "embedded" else RedisGate
    gates = [make(client, prefix, clock=clock) for client in clients[1:]]
    bench = Bench(request.param, clients[0], prefix, clock, MemoryLedger(), gates)
    yield bench
    await bench.forget_all()
    for client in clients:
        await client.aclose()


@pytest.fixture
async def bench(closed_bench: Bench) -> Bench:
    await closed_bench.open()
    return closed_bench


def _clients(request: pytest.FixtureRequest) -> list[Redis]:
    if request.param == "embedded":
        server = FakeServer()
        return [FakeAsyncRedis(server=server) for _ in range(GATES + 1)]
    url = request.getfixturevalue("redis_server").url
    return [Redis.from_url(url) for _ in range(GATES + 1)]
