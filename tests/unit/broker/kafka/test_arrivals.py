"""Readers of partitions are woken by what comes for them, and by nothing else."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import TopicAuthorizationFailedError

from broker.kafka.arrivals import Arrivals

MINE, OTHER = TopicPartition("jobs", 0), TopicPartition("jobs", 1)
LONG_S = 60.0
DEADLINE_S = 5.0


class Fetcher:
    """As much of aiokafka's as is looked at."""

    def __init__(self) -> None:
        self._records: dict[TopicPartition, object] = {}
        self._waiters: set[asyncio.Future[None]] = set()
        self.watched = asyncio.Event()

    def _create_fetch_waiter(self) -> asyncio.Future[None]:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        waiter.add_done_callback(self._waiters.discard)
        self.watched.set()
        return waiter

    def got(self, *partitions: TopicPartition) -> None:
        self._records.update(dict.fromkeys(partitions))
        for waiter in self._asked():
            waiter.set_result(None)

    def failed(self, error: Exception) -> None:
        for waiter in self._asked():
            waiter.set_exception(error)

    def _asked(self) -> list[asyncio.Future[None]]:
        self.watched.clear()
        return [waiter for waiter in self._waiters if not waiter.done()]


@pytest.fixture
async def fetcher() -> Fetcher:
    return Fetcher()


@pytest.fixture
async def arrivals(fetcher: Fetcher) -> AsyncIterator[Arrivals]:
    arrivals = Arrivals(SimpleNamespace(_fetcher=fetcher))
    yield arrivals
    arrivals.close()


async def _waiting(
    arrivals: Arrivals, fetcher: Fetcher, *partitions: TopicPartition
) -> list[asyncio.Task[None]]:
    tasks = [asyncio.create_task(arrivals.wait(partition, LONG_S)) for partition in partitions]
    await asyncio.wait_for(fetcher.watched.wait(), DEADLINE_S)
    return tasks


async def _ends(task: "asyncio.Task[Any]") -> None:
    await asyncio.wait_for(asyncio.shield(task), DEADLINE_S)


async def test_what_is_at_hand_is_not_waited_for(arrivals: Arrivals, fetcher: Fetcher) -> None:
    fetcher.got(MINE)
    await asyncio.wait_for(arrivals.wait(MINE, LONG_S), DEADLINE_S)


async def test_an_arrival_wakes_the_reader_of_its_partition_alone(
    arrivals: Arrivals, fetcher: Fetcher
) -> None:
    mine, other = await _waiting(arrivals, fetcher, MINE, OTHER)
    fetcher.got(MINE)
    await _ends(mine)
    assert not other.done()
    fetcher.got(OTHER)
    await _ends(other)


async def test_who_comes_when_nobody_waited_any_more_is_woken_too(
    arrivals: Arrivals, fetcher: Fetcher
) -> None:
    (first,) = await _waiting(arrivals, fetcher, MINE)
    fetcher.got(MINE)
    await _ends(first)
    fetcher._records.clear()
    (second,) = await _waiting(arrivals, fetcher, OTHER)
    fetcher.got(OTHER)
    await _ends(second)


async def test_a_wait_for_nothing_ends_also_while_others_get_records(
    arrivals: Arrivals, fetcher: Fetcher
) -> None:
    waiting = asyncio.create_task(arrivals.wait(OTHER, 0.05))
    async with asyncio.timeout(DEADLINE_S):
        while not waiting.done():
            watched = asyncio.create_task(fetcher.watched.wait())
            await asyncio.wait((waiting, watched), return_when=asyncio.FIRST_COMPLETED)
            watched.cancel()
            fetcher.got(MINE)
    waiting.result()


async def test_what_ends_the_consumer_is_raised_to_all(arrivals: Arrivals, fetcher: Fetcher) -> None:
    tasks = await _waiting(arrivals, fetcher, MINE, OTHER)
    fetcher.failed(TopicAuthorizationFailedError("jobs"))
    for task in tasks:
        with pytest.raises(TopicAuthorizationFailedError):
            await _ends(task)


async def test_a_reader_that_is_cancelled_leaves_nothing_behind(arrivals: Arrivals, fetcher: Fetcher) -> None:
    mine, other = await _waiting(arrivals, fetcher, MINE, OTHER)
    mine.cancel()
    await asyncio.gather(mine, return_exceptions=True)
    fetcher.got(MINE, OTHER)
    await _ends(other)


async def test_closing_lets_all_go(arrivals: Arrivals, fetcher: Fetcher) -> None:
    tasks = await _waiting(arrivals, fetcher, MINE, OTHER)
    arrivals.close()
    for task in tasks:
        await _ends(task)
