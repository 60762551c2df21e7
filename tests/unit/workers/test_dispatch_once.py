"""One attempt, one call: whatever fails around it, and however often its record comes, in one process."""

import asyncio
from uuid import UUID

import pytest

from broker.providers.provider import Failed
from broker.quota.gate import Release
from broker.store.attempts import VerdictRow
from schemas import topics
from schemas.reasons import Failure
from schemas.state import State
from schemas.topics import Lane
from tests.unit.workers.dispatching import Bench, Waiting
from tests.unit.workers.memory import HOLD, NOW_MS, charge, received
from workers.attempts import attempt_key
from workers.engine.source import Partition


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize("begins", [[], ["before"], ["after"], ["before", "after"], ["after", "after"]])
@pytest.mark.parametrize("starts", [[], ["away"], ["away", "away"]])
async def test_a_begin_or_start_that_fails_is_made_good_by_one_call(
    bench: Bench, begins: list[str], starts: list[str]
) -> None:
    bench.ledger.begins.extend(begins)
    bench.ledger.starts.extend(starts)
    assert await bench.handle()
    assert len(bench.provider.calls) == 1


@pytest.mark.parametrize("begins", [[], ["before"], ["after"], ["before", "before"]])
async def test_a_record_that_comes_again_while_the_database_is_away_is_not_called_again(
    bench: Bench, begins: list[str]
) -> None:
    """The intent on record is this process's own, but the call under it was made."""
    assert await bench.handle()
    bench.ledger.begins.extend(begins)
    assert not await bench.handle()
    assert len(bench.provider.calls) == 1


async def test_two_records_of_one_attempt_at_one_time_make_one_call(bench: Bench) -> None:
    bench.ledger.begins.extend(["after", "before", "after"])
    bench.ledger.starts.extend(["away"])
    done = await asyncio.gather(bench.handle(), bench.handle())
    assert True in done
    assert len(bench.provider.calls) == 1


@pytest.mark.parametrize("is_taken_over", [True, False])
async def test_past_its_lease_a_process_calls_nobody_though_it_has_begun(
    bench: Bench, is_taken_over: bool
) -> None:
    """It stood still between its intent and the call."""
    lost = charge(verdict="unknown")

    def stand_still() -> None:
        bench.lease.lose()
        bench.ledger.owner_alive = False
        if is_taken_over:
            key = attempt_key(bench.open().state)
            bench.ledger.verdicts.append(VerdictRow(*key, "unknown", "worker_lost", lost, NOW_MS, NOW_MS))

    bench.ledger.slow = stand_still
    assert await bench.handle()
    assert bench.provider.calls == []
    assert [(verdict.kind, verdict.reason) for verdict in bench.ledger.verdicts] == [
        ("unknown", "worker_lost")
    ]
    assert [record.topic for record in bench.producer.sent] == [topics.admitted(Lane.STANDARD)]
    assert bench.last.attempt == 2


async def test_the_successor_of_a_record_under_way_waits_for_its_call_and_makes_none(bench: Bench) -> None:
    """See `engine.rehoming`."""
    waiting: list[asyncio.Task[bool]] = []

    async def during() -> None:
        await bench.dispatch.rehome(bench.record)
        successor = received(bench.producer.sent[-1], offset=9)
        waiting.append(asyncio.create_task(bench.handle(successor)))
        await asyncio.sleep(0)

    bench.provider.during = during
    assert await bench.handle()
    bench.ledger.terminal = "answered"
    assert await waiting[0]
    assert [record.topic for record in bench.producer.sent] == [
        topics.reserved(Lane.STANDARD),
        topics.outcomes(Lane.STANDARD),
    ]
    assert len(bench.provider.calls) == 1


async def test_a_call_that_fails_is_followed_once_though_it_has_a_successor(bench: Bench) -> None:
    bench.provider.results.append(Failed(Failure.TIMEOUT, True, 5, None, None))
    waiting: list[asyncio.Task[bool]] = []

    async def during() -> None:
        await bench.dispatch.rehome(bench.record)
        waiting.append(asyncio.create_task(bench.handle(received(bench.producer.sent[-1], offset=9))))
        await asyncio.sleep(0)

    bench.provider.during = during
    assert await bench.handle()
    assert await waiting[0]
    assert len(bench.producer.sent) == 2
    assert await bench.handle(received(bench.producer.sent[0], offset=12))
    assert len(bench.producer.sent) == 2


@pytest.mark.parametrize(
    ("assigned", "partitions"),
    [
        ([], {None}),
        ([Partition("jobs.standard", 1), Partition("reserved.bulk", 2)], {None}),
        ([Partition("reserved.standard", 4), Partition("reserved.standard", 1)], {1, 4}),
    ],
)
async def test_a_successor_lies_where_this_process_reads(
    bench: Bench, assigned: list[Partition], partitions: set[int | None]
) -> None:
    bench.dispatch.assigned = lambda: assigned
    for number in range(20):
        bench.bring(job_id=UUID(int=number))
        await bench.dispatch.rehome(bench.record)
    assert {record.partition for record in bench.producer.sent} == partitions


async def test_an_attempt_of_a_job_that_has_ended_gives_its_hold_back(bench: Bench) -> None:
    """As when a worker that was taken for dead comes back with the answer."""
    bench.ledger.terminal = "answered"
    assert await bench.handle()
    assert bench.provider.calls == []
    assert bench.ledger.released == [Release(HOLD.id, 2)]


@pytest.mark.parametrize(("nanodollars", "outcomes"), [(0, 0), (7, 1)])
async def test_what_it_cost_before_the_job_was_ended_by_another_is_brought_to_settle(
    nanodollars: int, outcomes: int
) -> None:
    """Else it would be spent at the gate and charged to nobody."""
    bench = Bench(attempt=3, charges=(charge(2, nanodollars),))
    bench.ledger.terminal = "answered"
    assert await bench.handle()
    assert bench.ledger.released == [Release(HOLD.id, 2)]
    assert [record.topic for record in bench.producer.sent] == ["outcomes.standard"] * outcomes
    assert not outcomes or [charge.nanodollars for charge in bench.last.charges] == [nanodollars]


async def test_the_hold_of_a_call_that_was_made_is_left_to_its_settlement(bench: Bench) -> None:
    assert await bench.handle()
    bench.ledger.terminal = "answered"
    assert await bench.handle()
    assert bench.ledger.released == []


async def test_an_end_that_settle_finds_last_is_no_loss_of_its_worker(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that stops gives its lease up once its outcomes are acknowledged, which is before they are
    settled.
    """
    assert await bench.handle()
    bench.ledger.owner_alive = False

    async def settled_up_to_now(waiting: Waiting, state: State) -> bool:
        bench.ledger.terminal = "answered"
        return True

    monkeypatch.setattr(Waiting, "settled_up_to_now", settled_up_to_now)
    assert await bench.handle()
    assert bench.ledger.verdicts == []
    assert len(bench.provider.calls) == 1
