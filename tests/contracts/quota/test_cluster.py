"""A Redis Cluster: an organization's keys are on one of its nodes, and a batch goes to all nodes at once."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from uuid import uuid4

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis
from redis.crc import key_slot

from broker.errors import GateClosed, RedisUnfit
from broker.ops.check_redis import check_redis
from broker.quota.budget import project_node
from broker.quota.counters import NodeOf
from broker.quota.gate import Granted, Over, Release, Settled, StartRequest
from broker.quota.limits import Limits
from broker.quota.redis_gate import RedisGate
from broker.settings import RedisSettings
from tests.contracts.quota.harness import MemoryLedger, budget_of, granted, request, settle_of
from tests.services import RedisClusterServer

ORGANIZATIONS = range(1, 13)
ONE_AT_A_TIME = Limits(nanodollars_per_day=100)


@pytest.fixture
async def nodes(redis_cluster: RedisClusterServer) -> AsyncIterator[list[Redis]]:
    """A client of each node, emptied."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Redis.from_url(node.url)) for node in redis_cluster.nodes]
        for client in clients:
            await client.flushall()
        yield clients


@pytest.fixture
def settings(redis_cluster: RedisClusterServer) -> RedisSettings:
    return RedisSettings(url=SecretStr(redis_cluster.url), cluster=True, prefix=f"test-{uuid4().hex}")


@pytest.fixture
async def gate(nodes: list[Redis], settings: RedisSettings) -> AsyncIterator[RedisGate]:
    """Open for all organizations."""
    opened = await RedisGate.open(settings)
    with pytest.raises(GateClosed):
        await opened.reserve([request("a", budget=budget_of(organization_id=each)) for each in ORGANIZATIONS])
    assert opened.closed == set(ORGANIZATIONS)
    await opened.rebuild(MemoryLedger())
    yield opened
    await opened.close()


async def keys_by_organization(client: Redis) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    async for key in client.scan_iter("*"):
        found.setdefault(key.split(b":")[1].decode(), []).append(key)
    return found


async def test_every_verb_goes_to_the_node_of_each_organization(gate: RedisGate, nodes: list[Redis]) -> None:
    budgets = [budget_of(ONE_AT_A_TIME, organization_id=each) for each in ORGANIZATIONS]
    answers = await gate.reserve([request(f"h{budget.organization_id}", budget=budget) for budget in budgets])
    holds = [granted(answer) for answer in answers]
    others = await gate.reserve([request(f"x{budget.organization_id}", budget=budget) for budget in budgets])
    assert all(isinstance(answer, Over) for answer in others)
    started = await gate.start(
        [StartRequest(hold, budget) for hold, budget in zip(holds, budgets, strict=True)]
    )
    assert started == [Granted(hold, started=True) for hold in holds]
    projects = [NodeOf(each, project_node(1)) for each in ORGANIZATIONS]
    assert await gate.jobs_in_flight(projects) == [1] * len(projects)
    await gate.release([Release(hold.id, each) for hold, each in zip(holds, ORGANIZATIONS, strict=True)])
    await gate.settle(
        [settle_of(hold, 40, organization_id=each) for hold, each in zip(holds, ORGANIZATIONS, strict=True)]
    )
    assert await gate.jobs_in_flight(projects) == [0] * len(projects)
    again = await gate.reserve([request(f"h{budget.organization_id}", budget=budget) for budget in budgets])
    assert again == [Settled(hold) for hold in holds]


async def test_the_keys_of_an_organization_share_a_slot_and_those_of_all_are_spread(
    gate: RedisGate, nodes: list[Redis]
) -> None:
    for each in ORGANIZATIONS:
        budget = budget_of(organization_id=each)
        first, _ = await gate.reserve([request("a", budget=budget), request("b", budget=budget)])
        await gate.settle([settle_of(granted(first), 1, organization_id=each)])
    placed = [await keys_by_organization(client) for client in nodes]
    assert all(placed)
    assert sum(map(len, placed)) == len(ORGANIZATIONS)
    for of_node in placed:
        for keys in of_node.values():
            kinds = {key.split(b":")[2] for key in keys}
            assert kinds == {b"gate", b"held", b"holds", b"node", b"settled"}
            assert len({key_slot(key) for key in keys}) == 1


async def test_a_node_that_lost_its_keys_closes_its_organizations_and_no_others(
    gate: RedisGate, nodes: list[Redis]
) -> None:
    lost = await keys_by_organization(nodes[1])
    await nodes[1].flushall()
    with pytest.raises(GateClosed):
        await gate.reserve([request("a", budget=budget_of(organization_id=each)) for each in ORGANIZATIONS])
    assert {f"{{o{each}}}" for each in gate.closed} == set(lost)
    await gate.rebuild(MemoryLedger())
    answers = await gate.reserve(
        [request("a", budget=budget_of(organization_id=each)) for each in ORGANIZATIONS]
    )
    assert all(isinstance(answer, Granted) for answer in answers)


async def test_scripts_that_the_nodes_forgot_are_sent_again(gate: RedisGate, nodes: list[Redis]) -> None:
    for client in nodes:
        await client.script_flush()
    answers = await gate.reserve(
        [request("a", budget=budget_of(organization_id=each)) for each in ORGANIZATIONS]
    )
    assert all(isinstance(answer, Granted) for answer in answers)


async def test_one_node_that_would_evict_makes_the_cluster_unfit(
    nodes: list[Redis], settings: RedisSettings
) -> None:
    await nodes[2].config_set("maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(RedisUnfit, match="evict"):
            await RedisGate.open(settings)
    finally:
        await nodes[2].config_set("maxmemory-policy", "noeviction")


async def test_the_doctor_looks_at_every_node(nodes: list[Redis], settings: RedisSettings) -> None:
    fitness, *clocks = await check_redis(settings)
    assert fitness.ok
    assert fitness.detail.endswith("without eviction")
    assert [(check.name, check.ok) for check in clocks] == [("redis clock", True)] * len(nodes)
    await nodes[2].config_set("maxmemory-policy", "allkeys-lru")
    try:
        [unfit] = await check_redis(settings)
    finally:
        await nodes[2].config_set("maxmemory-policy", "noeviction")
    assert not unfit.ok
