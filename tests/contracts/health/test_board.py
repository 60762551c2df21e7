"""Processes that tell each other how they find their targets: on the embedded server and on Redis alike."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from uuid import uuid4

import pytest
from fakeredis import FakeAsyncRedis, FakeServer
from redis.asyncio import Redis, RedisCluster

from broker.errors import RedisUnavailable
from broker.health.board import KEY_TTL_MS, HealthBoard
from broker.health.limit import Cause
from broker.health.target import Change, Rules, TargetHealth
from broker.providers.provider import Failed
from schemas.reasons import Failure
from tests.services import RedisServer
from workers.lanes import LANE_WEIGHTS

RULES = Rules(least=1, most=100, tolerance=2.0, window_s=0.5, retry_after_s_max=60.0)
DEADLINE_S = 20.0


class Clock:
    """Each process's monotonic clock began at some other time."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@dataclass
class Process:
    client: Redis | RedisCluster
    clock: Clock
    prefix: str
    changes: list[Change] = field(default_factory=list)
    troubles: list[BaseException] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.own, self.other = (TargetHealth(RULES, LANE_WEIGHTS) for _ in range(2))
        self.board = HealthBoard(
            self.client,
            self.prefix,
            {"own": self.own, "other": self.other},
            0.05,
            lambda _, change: self.changes.append(change),
            self.troubles.append,
            self.clock,
        )

    def calls(self, number: int) -> None:
        for _ in range(number):
            assert self.own.enter("standard", self.clock())

    def turned_away(self, retry_after_ms: int | None = None) -> None:
        """As many calls together as it takes to be no chance."""
        began = self.clock()
        self.clock.now += 0.01
        for _ in range(3):
            self.own.ended(Failed(Failure.RATE_LIMITED, False, 5, 429, retry_after_ms), began, self.clock())
            self.own.leave("standard")

    @property
    def limit(self) -> int:
        return self.own.limit(self.clock())


@pytest.fixture(params=["embedded", "redis", "cluster"])
async def processes(request: pytest.FixtureRequest) -> AsyncIterator[list[Process]]:
    if request.param == "embedded":
        server = FakeServer()
        clients: list[Redis | RedisCluster] = [FakeAsyncRedis(server=server) for _ in range(3)]
    elif request.param == "cluster":
        url = request.getfixturevalue("redis_cluster").url
        clients = [RedisCluster.from_url(url) for _ in range(3)]
    else:
        url = request.getfixturevalue("redis_server").url
        clients = [Redis.from_url(url) for _ in range(3)]
    prefix = f"test-{uuid4().hex}"
    clocks = (Clock(5.0), Clock(7e5), Clock(42.0))
    made = [Process(client, clock, prefix) for client, clock in zip(clients, clocks, strict=True)]
    yield made
    for name in ("own", "other"):
        await clients[0].delete(f"{prefix}:health:{name}")
    for client in clients:
        await client.aclose()


async def exchange(*processes: Process) -> None:
    for process in processes:
        await process.board.exchange()


async def test_what_one_meets_the_others_heed_once(processes: list[Process]) -> None:
    first, second, third = processes
    await exchange(*processes)
    first.calls(50)
    second.calls(80)
    first.turned_away(retry_after_ms=30_000)
    assert (first.limit, second.limit) == (35, 100)
    await exchange(*processes)
    assert (second.limit, third.limit) == (56, 35)
    for process in (second, third):
        assert process.own.closed_for(process.clock()) == pytest.approx(30, abs=1)
        assert process.other.closed_for(process.clock()) == 0
        [change] = process.changes
        assert change.closed
        assert change.cut is not None
        assert change.cut.cause is Cause.OTHERS
    for _ in range(3):
        await exchange(*processes)
    assert (first.limit, second.limit, third.limit) == (35, 56, 35)
    assert first.changes == []


async def test_one_that_comes_later_begins_with_what_the_others_know(processes: list[Process]) -> None:
    first, second, late = processes
    first.calls(50)
    first.turned_away(retry_after_ms=30_000)
    await exchange(first, second, first, second)
    await exchange(late)
    assert late.limit == 35
    assert late.own.closed_for(late.clock()) == pytest.approx(30, abs=1)


async def test_the_same_trouble_met_by_all_cuts_each_once(processes: list[Process]) -> None:
    await exchange(*processes)
    for process in processes:
        process.calls(50)
        process.turned_away()
    for _ in range(3):
        await exchange(*processes)
    assert [process.limit for process in processes] == [35, 35, 35]


async def test_new_trouble_is_heeded_anew(processes: list[Process]) -> None:
    first, second, _ = processes
    first.calls(50)
    second.calls(50)
    first.turned_away()
    await exchange(first, second)
    assert second.limit == 35
    second.clock.now += 10  # the second process's clock alone: its cut lies longer back than the news
    first.clock.now += 10
    first.turned_away()
    await exchange(first, second)
    assert second.limit <= 35


async def test_where_all_is_well_nothing_is_written_and_trouble_goes_away_with_its_key(
    processes: list[Process],
) -> None:
    first, second, _ = processes
    await exchange(first, second)
    key = f"{first.prefix}:health:own"
    assert not await first.client.exists(key)
    first.calls(50)
    first.turned_away()
    await exchange(first)
    assert 0 < await first.client.pttl(key) <= KEY_TTL_MS


async def test_fields_that_cannot_be_read_are_taken_away(processes: list[Process]) -> None:
    first, _, _ = processes
    key = f"{first.prefix}:health:own"
    unreadable = [b"[1]", b"{", b"null", b"[1,null,1,1,1,1]", b"[1,9,1,1,1,{}]", b"[1,9,1,1,1,0]"]
    await first.client.hset(key, mapping={f"p{number}": text for number, text in enumerate(unreadable)})
    await exchange(first)
    assert not await first.client.exists(key)


async def test_an_unforeseen_error_ends_nothing(processes: list[Process]) -> None:
    first, second, _ = processes
    failed, heard = asyncio.Event(), asyncio.Event()

    class Failing(list[Change]):
        def append(self, change: Change) -> None:
            if not failed.is_set():
                failed.set()
                raise ZeroDivisionError
            heard.set()

    second.changes = Failing()
    first.calls(50)
    second.board.start()
    for news in (failed, heard):
        first.turned_away(retry_after_ms=60_000)
        await exchange(first)
        async with asyncio.timeout(DEADLINE_S):
            await news.wait()
        first.clock.now += 100
        second.clock.now += 100
    await second.board.stop()
    assert [type(trouble) for trouble in second.troubles] == [ZeroDivisionError]


async def test_in_the_background_news_travel_by_themselves(processes: list[Process]) -> None:
    first, second, _ = processes
    heard = asyncio.Event()
    changes = second.changes

    class Heard(list[Change]):
        def append(self, change: Change) -> None:
            super().append(change)
            heard.set()

    second.changes = Heard(changes)
    first.board.start()
    second.board.start()
    first.calls(50)
    first.turned_away()
    first.board.hurry()
    async with asyncio.timeout(DEADLINE_S):
        await heard.wait()
    await first.board.stop()
    await second.board.stop()
    assert second.limit == 35
    assert first.troubles == second.troubles == []


async def test_without_redis_each_goes_by_what_it_finds_itself_and_the_news_follow(
    redis_server: RedisServer,
) -> None:
    prefix = f"test-{uuid4().hex}"
    first, second = (Process(Redis.from_url(redis_server.url), Clock(9.0), prefix) for _ in range(2))
    await exchange(first, second)
    redis_server.stop()
    first.calls(50)
    first.turned_away()
    assert first.limit == 35
    for process in (first, second):
        with pytest.raises(RedisUnavailable):
            await process.board.exchange()
    redis_server.restore()
    await exchange(first, second)
    assert second.limit == 35
    for process in (first, second):
        await process.client.aclose()
