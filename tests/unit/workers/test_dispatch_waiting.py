"""A job whose target has no place: nothing of it is on record, it holds no slot, and it ends in time."""

import pytest

from broker.providers.provider import Failed
from broker.store.keys import AttemptKey
from schemas.reasons import Failure
from tests.unit.workers.dispatching import Bench
from tests.unit.workers.memory import JOB, NOW_MS
from workers.targets import Targets

KEY = AttemptKey(1, JOB, 1, 1)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def rest(targets: Targets, retry_after_ms: int) -> None:
    """Somebody else's call was turned away."""
    turned_away = Failed(Failure.RATE_LIMITED, False, 5, 429, retry_after_ms)
    other = AttemptKey(2, JOB, 1, 1)
    assert targets.enter(other, "own", "bulk", 1.0) is None
    targets.ended(other, turned_away, 1e9)


async def test_while_its_target_rests_a_job_waits_without_an_intent_and_is_called_after(bench: Bench) -> None:
    rest(bench.targets, 50)
    later = await bench.dispatch.handle([bench.record])
    assert later is not None
    assert (bench.ledger.intents, bench.provider.calls, bench.producer.sent) == ({}, [], [])
    assert bench.targets.is_waiting(KEY)
    await later
    assert await bench.handle()
    assert len(bench.provider.calls) == 1
    assert bench.targets.health["own"].places == 0


async def test_past_its_deadline_it_is_not_called_and_waits_no_more(bench: Bench) -> None:
    rest(bench.targets, 30_000)
    bench.bring(deadline_ms=NOW_MS + 40)
    later = await bench.dispatch.handle([bench.record])
    assert later is not None
    await later
    bench.later_ms = 100
    assert await bench.dispatch.handle([bench.record]) is None
    assert bench.provider.calls == []
    assert bench.last.deadline_ms == NOW_MS + 40
    assert not bench.targets.is_waiting(KEY)
    assert bench.targets.health["own"].places == 0


async def test_no_place_is_kept_by_an_attempt_that_fails_on_its_way(bench: Bench) -> None:
    bench.ledger.begins.extend(["before", "after"])
    bench.ledger.starts.extend(["away"])
    assert await bench.handle()
    assert bench.targets.health["own"].places == 0


async def test_no_place_is_kept_by_one_that_somebody_else_is_to_end(bench: Bench) -> None:
    assert await bench.handle()
    assert not await bench.handle()
    assert bench.targets.health["own"].places == 0
