"""One of three Kafka brokers is killed under load: nothing is lost, and the stream goes on without it."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from schemas import topics
from schemas.topics import Lane
from tests.forked import Forked
from tests.services import PostgresServer, RedisServer
from tests.services.kafka.cluster import NODES, KafkaCluster
from tests.stack import Account, Load, RealStack, until
from tests.stack.fixtures import HEARTBEAT_INTERVAL_MS, QUICK, SESSION_TIMEOUT_MS
from tests.stack.jobs import chats
from workers.pools import POOLS

OPEN_MAX = 20
SOME = 60
STEADY = {"latency": {"kind": "uniform", "min_ms": 20, "max_ms": 100}}
STREAM = topics.outcomes(Lane.STANDARD)


@pytest_asyncio.fixture(loop_scope="session")
async def cluster() -> AsyncIterator[KafkaCluster]:
    with KafkaCluster() as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def replicated(
    cluster: KafkaCluster,
    postgres: PostgresServer,
    redis_server: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[RealStack]:
    async with postgres.fresh_database() as database_url:
        stack = RealStack(
            cluster.bootstrap_servers,
            database_url,
            redis_server.url,
            tmp_path_factory.mktemp("brokers"),
            Forked,
            session_timeout_ms=SESSION_TIMEOUT_MS,
            heartbeat_interval_ms=HEARTBEAT_INTERVAL_MS,
            replication_factor=len(NODES),
            partitions=3,
            reply_partitions=1,
        )
        try:
            await stack.prepare()
            yield stack
        finally:
            stack.close()


async def test_a_broker_that_leads_may_be_killed(
    replicated: RealStack, cluster: KafkaCluster, name: str
) -> None:
    provider = replicated.simulator()
    provider.behave(STEADY)
    worker = replicated.worker(*POOLS, extra=QUICK)
    credential = await replicated.application(name)

    async def all_are_in_sync() -> bool:
        return cluster.in_sync(STREAM, 0) == len(NODES)

    async with replicated.client(credential) as client, Load(client, chats(), OPEN_MAX) as load:
        await load.reached(SOME)
        leader = cluster.leader(STREAM, 0)
        leader.kill()
        await load.reached(len(load.results) + SOME)
        assert cluster.leader(STREAM, 0) is not leader
        await asyncio.to_thread(leader.start)
        await until(all_are_in_sync, "the broker to have caught up")
        await load.reached(len(load.results) + SOME)
        load.enough()
    account = await Account.of(replicated, provider, name, load.job_ids)
    assert len(account.calls) == len(load.job_ids)
    await account.holds_good(load.job_ids, load.results)
    assert worker.terminate() == 0, worker.tail()
