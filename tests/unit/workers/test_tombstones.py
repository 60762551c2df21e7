"""What a process knows of jobs that are called off, and how it cuts off what is under way for them."""

import asyncio
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import DatabaseUnavailable
from broker.store.cancels import Cancel
from broker.telemetry.metrics import Metrics
from tests.unit.workers.engine.turning import until
from tests.unit.workers.memory import JOB, NOW_MS, MemoryCancels, state
from workers.tombstones import Tombstones

OTHER = UUID(int=8)


class Clock:
    def __init__(self) -> None:
        self.now_ms = NOW_MS

    def __call__(self) -> int:
        return self.now_ms


def tombstones(cancels: MemoryCancels, clock: Clock | None = None, refresh_ms: int = 3_600_000) -> Tombstones:
    return Tombstones(cancels, refresh_ms, clock or Clock(), Metrics())


async def test_a_job_is_covered_once_it_is_read_of() -> None:
    cancels = MemoryCancels()
    known = tombstones(cancels)
    cancels.call_off()
    assert not known.covers(state())
    await known.refresh()
    assert known.covers(state())
    assert not known.covers(state(job_id=OTHER))
    assert not known.covers(state(application_id=2)), "another application's job of the same id"
    assert known.covers(state(run=2, attempt=3)), "whatever its run and attempt"


async def test_it_keeps_up_by_itself_and_comes_back_when_the_database_does() -> None:
    cancels = MemoryCancels()
    async with tombstones(cancels, refresh_ms=1) as known:
        cancels.away = True
        cancels.call_off()
        waiting = asyncio.create_task(known.unless_cancelled(state(), asyncio.Event().wait()))
        async with asyncio.timeout(10):
            await cancels.refused.wait()
            cancels.away = False
            assert await waiting is None


async def test_a_look_that_fails_in_an_unforeseen_way_is_not_the_last_and_harms_no_job() -> None:
    """A cached plan that a migration made invalid, say: no job may end as dead for it."""
    cancels = Faulty()
    async with tombstones(cancels, refresh_ms=1) as known:
        cancels.is_faulty = True
        async with asyncio.timeout(10):
            await cancels.failed.wait()
        assert not known.covers(state())
        cancels.call_off()
        cancels.is_faulty = False
        await until(lambda: known.covers(state()))


class Faulty(MemoryCancels):
    def __init__(self) -> None:
        super().__init__()
        self.is_faulty = False
        self.failed = asyncio.Event()

    async def beyond(self, revision: int) -> list[Cancel]:
        if self.is_faulty:
            self.failed.set()
            raise RuntimeError("nobody thought of it")
        return await super().beyond(revision)


async def test_no_process_starts_without_them() -> None:
    cancels = MemoryCancels()
    cancels.away = True
    with pytest.raises(DatabaseUnavailable):
        async with tombstones(cancels):
            pass


async def test_what_is_under_way_is_cut_off() -> None:
    cancels = MemoryCancels()
    known = tombstones(cancels)
    began, cut = asyncio.Event(), asyncio.Event()

    async def call() -> bool:
        began.set()
        try:
            return await asyncio.Event().wait()
        finally:
            cut.set()

    waiting = [asyncio.create_task(known.unless_cancelled(state(), call())) for _ in range(2)]
    other = asyncio.create_task(known.unless_cancelled(state(job_id=OTHER), call()))
    await began.wait()
    await asyncio.sleep(0)
    cancels.call_off()
    await known.refresh()
    assert await asyncio.gather(*waiting) == [None, None]
    assert cut.is_set()
    assert not other.done()
    other.cancel()
    with pytest.raises(asyncio.CancelledError):
        await other


async def test_what_begins_under_a_job_that_is_called_off_ends_at_once() -> None:
    cancels = MemoryCancels()
    cancels.call_off()
    known = tombstones(cancels)
    await known.refresh()
    assert await known.unless_cancelled(state(), asyncio.sleep(3_600, "slept")) is None


async def test_what_ends_by_itself_is_passed_on_as_it_is() -> None:
    known = tombstones(MemoryCancels())

    async def late() -> None:
        raise TimeoutError("its own")

    assert await known.unless_cancelled(state(), asyncio.sleep(0, "answer")) == "answer"
    with pytest.raises(TimeoutError, match="its own"):
        await known.unless_cancelled(state(), late())


async def test_a_worker_that_stops_is_not_taken_for_a_cancellation() -> None:
    known = tombstones(MemoryCancels())
    task = asyncio.create_task(known.unless_cancelled(state(), asyncio.sleep(3_600)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@given(st.lists(st.integers(1, 300_000), max_size=30), st.lists(st.integers(0, 400_000), max_size=10))
async def test_each_is_kept_until_its_job_s_deadline_and_forgotten_within_a_minute(
    lasts_ms: list[int], looks_ms: list[int]
) -> None:
    cancels, clock = MemoryCancels(), Clock()
    known = tombstones(cancels, clock)
    for number, last_ms in enumerate(lasts_ms):
        cancels.call_off(UUID(int=number), NOW_MS + last_ms)
    for look_ms in sorted(looks_ms):
        clock.now_ms = NOW_MS + look_ms
        await known.refresh()
        for number, last_ms in enumerate(lasts_ms):
            if last_ms > look_ms:
                assert known.covers(state(job_id=UUID(int=number)))
        assert len(known) <= sum(last_ms > look_ms - 60_000 for last_ms in lasts_ms)
        assert known.in_force(1) == len(known)
        assert known.in_force(2) == 0


async def test_the_same_news_by_two_ways_does_no_harm() -> None:
    """Somebody asks while the regular look is under way."""
    cancels = MemoryCancels()
    known = tombstones(cancels)
    task = asyncio.create_task(known.unless_cancelled(state(), asyncio.sleep(3_600)))
    await asyncio.sleep(0)
    cancels.call_off(JOB)
    await asyncio.gather(known.refresh(), known.refresh())
    assert (await asyncio.gather(task))[0] is None
