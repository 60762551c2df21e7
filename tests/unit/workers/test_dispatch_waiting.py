"""Jobs whose target has no place: nothing of them is on record, they hold up no other, and they end in time.

DISPATCH and its pump, with one lane of one partition.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest

from broker.providers.provider import Failed
from broker.records import Incoming
from schemas import topics
from schemas.outcomes import Cancelled, Expired
from schemas.reasons import Failure
from schemas.topics import Lane
from tests.unit.workers.dispatching import Bench
from tests.unit.workers.engine.turning import until
from tests.unit.workers.logs import Log
from tests.unit.workers.memory import NOW_MS, Received
from workers.engine.limits import Limits
from workers.engine.pump import Pump
from workers.engine.slots import Slots
from workers.engine.source import Unreadable
from workers.tenancy import Claims, by_application

RESERVED = topics.reserved(Lane.STANDARD)
LIMITS = Limits(batch_max=1, under_way_max=3, span_max=1_000, commit_interval_s=0.01, fetch_wait_ms=20)


class Dispatching:
    """Jobs for two targets, `own` and `other`."""

    def __init__(self) -> None:
        self.bench = Bench()
        self.records: list[Received] = []
        self.targets = self.bench.targets
        self.log = Log({RESERVED: self.records})

    def publish(self, number: int = 1, **fields: Any) -> list[UUID]:
        """So many jobs, and their names."""
        names = [UUID(int=1_000 + len(self.records) + each) for each in range(number)]
        for name in names:
            self.bench.bring(job_id=name, **fields)
            self.records.append(self.bench.record._replace(offset=len(self.records)))
        return names

    def publish_for_the_other(self, number: int = 1, **fields: Any) -> list[UUID]:
        return self.publish(number, model="gpt-4o", **fields)

    def rest(self, retry_after_ms: int) -> None:
        """The other target turns a call away that somebody made."""
        turned_away = Failed(Failure.RATE_LIMITED, False, 5, 429, retry_after_ms)
        self.targets.ended("other", turned_away, 1e9)

    @property
    def called(self) -> list[UUID]:
        return [call.job_id for call in self.bench.provider.calls]

    @property
    def places(self) -> int:
        return sum(health.places for health in self.targets.health.values())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Pump[Incoming]]:
        claims = Claims(self.targets.routes, self.bench.tombstones, self.bench.clock)
        log = Log({RESERVED: self.records})
        pump: Pump[Incoming] = Pump(
            "dispatch",
            {"standard": log},
            self.bench.dispatch.handle,
            fail,
            Slots(20, {"standard": 4}),
            LIMITS,
            sharing=by_application(claims, self.targets),
        )
        await pump.start()
        try:
            yield pump
        finally:
            assert await pump.stop(5)
        assert self.places == 0


async def fail(record: Incoming | Unreadable, error: BaseException | None) -> None:
    raise AssertionError(record) from error


@pytest.fixture
def dispatching() -> Dispatching:
    return Dispatching()


async def test_what_waits_for_a_target_that_rests_holds_up_no_job_for_another(
    dispatching: Dispatching,
) -> None:
    dispatching.rest(30_000)
    waiting = dispatching.publish_for_the_other(5 * LIMITS.under_way_max)
    others = dispatching.publish(10)
    async with dispatching.running() as pump:
        await until(lambda: len(dispatching.called) == len(others))
        assert set(dispatching.called) == set(others)
        assert {row.job_id for row in dispatching.bench.ledger.intents.values()} == set(others)
        assert pump.waiting("standard", "other") == len(waiting)
        dispatching.bench.later_s = 31
        await until(lambda: len(dispatching.called) == len(others) + len(waiting))
        await until(lambda: pump.backlog == 0)
        assert pump.waiting("standard", "other") == 0


async def test_at_a_target_with_few_places_applications_are_called_in_turn(dispatching: Dispatching) -> None:
    taken = dispatching.targets.health["other"].limit(0)
    for _ in range(taken):
        assert dispatching.targets.enter("other", "interactive", lambda: False)
    flood = dispatching.publish_for_the_other(40)
    few = dispatching.publish_for_the_other(2, application_id=9)
    async with dispatching.running() as pump:
        await until(lambda: pump.waiting("standard", "other") == len(flood) + len(few))
        dispatching.targets.leave("other", "interactive")
        await until(lambda: len(dispatching.called) == len(flood) + len(few))
        for _ in range(taken - 1):
            dispatching.targets.leave("other", "interactive")
    assert max(dispatching.called.index(job) for job in few) < 12


async def test_past_its_deadline_a_job_waits_no_more_and_is_not_called(dispatching: Dispatching) -> None:
    dispatching.rest(30_000)
    [job] = dispatching.publish_for_the_other(deadline_ms=NOW_MS + 60_000)
    async with dispatching.running() as pump:
        await until(lambda: pump.waiting("standard", "other") == 1)
        dispatching.bench.later_ms = 61_000
        await until(lambda: pump.backlog == 0)
    assert dispatching.called == []
    assert dispatching.bench.last.job_id == job
    assert isinstance(dispatching.bench.last.outcome, Expired)


async def test_a_job_that_is_called_off_waits_no_more_and_is_not_called(dispatching: Dispatching) -> None:
    dispatching.rest(30_000)
    kept, job = dispatching.publish_for_the_other(2)
    async with dispatching.running() as pump:
        await until(lambda: pump.waiting("standard", "other") == 2)
        dispatching.bench.cancels.call_off(job)
        await dispatching.bench.tombstones.refresh()
        await until(lambda: pump.waiting("standard", "other") == 1)
        await until(lambda: dispatching.bench.producer.sent != [])
    assert dispatching.called == []
    assert dispatching.bench.last.job_id == job != kept
    assert isinstance(dispatching.bench.last.outcome, Cancelled)


async def test_no_place_is_kept_by_an_attempt_that_fails_on_its_way(dispatching: Dispatching) -> None:
    dispatching.bench.ledger.begins.extend(["before", "after"])
    dispatching.bench.ledger.starts.extend(["away"])
    dispatching.publish()
    async with dispatching.running() as pump:
        await until(lambda: len(dispatching.called) == 1 and pump.backlog == 0)
        await until(lambda: dispatching.places == 0)
