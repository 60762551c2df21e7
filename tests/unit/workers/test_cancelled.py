"""A job that is called off leaves by way of the stage that has its record, once, and is called no more."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from broker.settings import AdmitSettings, Settings
from broker.store.cancels import Cancel
from broker.store.jobs import Seen
from broker.store.keys import JobKey
from schemas import headers, topics
from schemas.envelope import RetryPolicy
from schemas.outcomes import Cancelled, Cancelling
from schemas.topics import RetryDelay
from tests.unit.workers.dispatching import Bench
from tests.unit.workers.door import JOB_VALUE, Door
from tests.unit.workers.memory import (
    HOLD,
    JOB,
    NOW_MS,
    MemoryCancels,
    MemoryProducer,
    Received,
    received,
    state,
    tools,
)
from tests.unit.workers.signing import signed
from workers.retry import Retry, back

HOUR_MS = 3_600_000


def binding(cancels_max: int) -> Door:
    return Door(settings=Settings(admit=AdmitSettings(cancels_max=cancels_max)))


def calling_off(job_id: UUID = JOB, **fields: Any) -> Received:
    return signed(b"", content_type=headers.CANCEL, job_id=job_id, **fields)


# ADMIT


async def test_a_cancellation_is_on_record_before_its_sender_waits_for_the_reply() -> None:
    door = Door()
    await door.admit.handle([calling_off(reply_to="replies.shop/1/own")])
    [entered] = door.cancels.entered
    assert entered.key == JobKey(1, JOB)
    [asking] = door.states()
    assert (asking.outcome, asking.job_id, asking.reply_to) == (Cancelling(), JOB, "replies.shop/1/own")
    assert door.registered == []


async def test_a_job_of_the_same_batch_is_called_off_though_it_stands_before() -> None:
    door = Door()
    await door.admit.handle([signed(JOB_VALUE), calling_off()])
    assert [each.outcome for each in door.states()] == [Cancelling(), Cancelled(stage="admit")]


@pytest.mark.parametrize("record", [signed(b"{"), signed(JOB_VALUE)])
async def test_a_job_that_was_called_off_before_it_came_ends_at_admit(record: Received) -> None:
    door = Door(seen=Seen.CANCELLED)
    await door.admit.handle([record])
    assert [each.outcome for each in door.states()] == [Cancelled(stage="admit")]


async def test_what_only_says_that_it_is_a_cancellation_is_not_believed() -> None:
    """The content type is signed: a job's record cannot be turned into one."""
    door = Door()
    record = signed(b"")
    kept = [pair for pair in record.headers if pair[0] != headers.CONTENT_TYPE]
    turned = record._replace(headers=(*kept, (headers.CONTENT_TYPE, headers.CANCEL.encode())))
    await door.admit.handle([turned])
    assert door.cancels.entered == []


async def test_a_reply_that_cannot_be_delivered_does_not_stop_a_cancellation() -> None:
    door = Door()
    await door.admit.handle([calling_off(reply_to="replies.other")])
    assert len(door.cancels.entered) == 1
    assert [each.reply_to for each in door.states()] == [None]


async def test_beyond_so_many_in_force_the_newest_are_refused_and_their_senders_hear_of_the_end() -> None:
    """Those that were accepted stay, and one that is sent again is no further one."""
    door = binding(cancels_max=2)
    await door.admit.handle([calling_off(UUID(int=number), reply_to="replies.shop") for number in range(3)])
    await door.admit.handle([calling_off(UUID(int=number)) for number in (3, 0)])
    assert [cancel.key.job_id.int for cancel in door.cancels.entered] == [0, 1]
    assert [each.outcome for each in door.states()] == [Cancelling()] * 5
    assert [each.reply_to for each in door.states()[:3]] == ["replies.shop"] * 3
    counted = {"stage": "admit", "outcome": "too_many_cancels"}
    assert door.tools.metrics.registry.get_sample_value("headworks_jobs_total", counted) == 2
    known = [door.tools.tombstones.covers(state(job_id=UUID(int=number))) for number in range(4)]
    assert known == [True, True, False, False]


async def test_an_application_is_bound_by_its_own_cancellations_alone() -> None:
    door = binding(cancels_max=1)
    door.cancels.entered.append(Cancel(JobKey(2, JOB), NOW_MS + HOUR_MS, 1))
    await door.tools.tombstones.refresh()
    await door.admit.handle([calling_off()])
    assert len(door.cancels.entered) == 2


def test_a_cancellation_that_cannot_be_handled_does_not_end_its_job() -> None:
    assert Door().admit.examiner.identify(calling_off()) is None
    assert Door().admit.examiner.identify(signed(JOB_VALUE)) is not None


# RETRY


async def test_a_wait_for_the_next_attempt_ends_when_the_job_is_called_off() -> None:
    producer, cancels = MemoryProducer(), MemoryCancels()
    own = tools(producer, cancels)
    retry = Retry(own)
    waits = state(due_ms=NOW_MS + HOUR_MS, deadline_ms=NOW_MS + 2 * HOUR_MS, hold=None)
    record = received(own.sealer.seal(topics.retry(RetryDelay.TEN_MINUTES), waits, b"{}"))
    later = await retry.handle([record])
    assert later is not None
    waiting = asyncio.ensure_future(later)
    await asyncio.sleep(0)
    assert producer.sent == []
    cancels.call_off()
    await own.tombstones.refresh()
    await waiting
    assert await retry.handle([record]) is None
    [sent] = producer.sent
    assert own.sealer.open(received(sent)).state.outcome == Cancelled(stage="retry")


def test_what_is_called_off_and_too_late_is_called_off() -> None:
    own = tools(MemoryProducer())
    sealed = own.sealer.seal(topics.PARKED, state(deadline_ms=NOW_MS), b"{}")
    ended = back(own.sealer.open(received(sealed)), own.outlets, NOW_MS, is_off=True)
    assert own.sealer.open(received(ended)).state.outcome == Cancelled(stage="retry")


# DISPATCH


async def test_before_its_call_it_ends_uncalled_with_its_hold() -> None:
    bench = Bench()
    bench.cancels.call_off()
    await bench.tombstones.refresh()
    assert await bench.handle()
    assert bench.provider.calls == []
    assert (bench.last.outcome, bench.last.hold) == (Cancelled(stage="dispatch"), HOLD)
    assert bench.ledger.intents == {}


@pytest.mark.parametrize("at_most_once", [False, True])
async def test_a_running_call_is_cut_off_and_of_unknown_outcome(at_most_once: bool) -> None:
    bench = Bench(retry=RetryPolicy(attempts_max=1, at_most_once=at_most_once))

    async def during() -> None:
        bench.cancels.call_off()
        await bench.tombstones.refresh()
        await asyncio.Event().wait()

    bench.provider.during = during
    assert await bench.handle()
    [verdict] = bench.ledger.verdicts
    assert (verdict.kind, verdict.reason) == ("unknown", "cancelled")
    assert bench.last.outcome == Cancelled(stage="dispatch")
    assert [(each.verdict, each.nanodollars) for each in bench.last.charges] == [("unknown", 9_000)]
    assert [settlement.nanodollars for settlement in bench.ledger.settled] == [9_000]


async def test_a_successor_that_finds_the_verdict_goes_on_though_it_knows_of_no_cancellation() -> None:
    bench = Bench()

    async def during() -> None:
        bench.cancels.call_off()
        await bench.tombstones.refresh()
        await asyncio.Event().wait()

    bench.provider.during = during
    assert await bench.handle()
    successor = Bench()
    successor.ledger.intents, successor.ledger.verdicts = bench.ledger.intents, bench.ledger.verdicts
    assert await successor.handle()
    assert successor.provider.calls == []
    assert successor.last.outcome == Cancelled(stage="dispatch")
    assert successor.last.charges == bench.last.charges


async def test_a_job_called_off_while_its_hold_is_started_is_not_called() -> None:
    bench = Bench()
    bench.cancels.call_off()
    bench.ledger.slow = lambda: bench.tombstones._learn(bench.cancels.entered[0])
    assert await bench.handle()
    assert bench.provider.calls == []
    [verdict] = bench.ledger.verdicts
    assert (verdict.kind, verdict.reason, verdict.charge.nanodollars) == ("failed", "cancelled", 0)
    assert bench.last.outcome == Cancelled(stage="dispatch")


async def test_an_answer_that_comes_first_stands() -> None:
    bench = Bench()
    assert await bench.handle()
    bench.cancels.call_off()
    await bench.tombstones.refresh()
    sent = len(bench.producer.sent)
    bench.ledger.terminal = "answered"
    assert await bench.handle()
    assert len(bench.producer.sent) == sent
