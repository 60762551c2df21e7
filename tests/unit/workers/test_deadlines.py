"""A job past its deadline, or that cannot be done before it, goes to no provider and out by its own way."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast
from uuid import UUID

import pytest

from broker.identity.directory import Directory
from broker.kafka.reading import CoordinateReader
from broker.providers.provider import Failed
from broker.quota.counters import NodeOf
from broker.quota.gate import Gate, Over, ReserveRequest
from broker.quota.limits import Level, Limits
from broker.records import Incoming
from broker.settings import ReserveSettings, Settings
from broker.store.crowds import Waiting
from broker.store.keys import JobKey
from broker.store.parking import ParkedRow, Parking, Place
from schemas import topics
from schemas.outcomes import Expired, Refused
from schemas.reasons import Failure, Refusal
from schemas.state import State
from schemas.topics import Coordinate, Lane, RetryDelay
from tests.unit.workers.dispatching import Bench, OneProject, answered
from tests.unit.workers.memory import (
    HOLD,
    NOW_MS,
    MemoryProducer,
    Received,
    received,
    rulings,
    state,
    tools,
)
from workers.crowds import Crowds, Room
from workers.latency import ENOUGH
from workers.reserve import Reserve
from workers.retry import Retry
from workers.waker import Waker

LATE: dict[str, Any] = {"deadline_ms": NOW_MS}


class FullGate:
    """Refuses all until `retry_at_ms`."""

    def __init__(self, retry_at_ms: int = 0, held: bool = False, over: Over | None = None) -> None:
        self.asked: list[ReserveRequest] = []
        self._verdict = over or Over("nanodollars_per_day", "project", retry_at_ms, held=held, never=False)

    async def reserve(self, requests: Sequence[ReserveRequest]) -> list[Over]:
        self.asked += requests
        return [self._verdict] * len(requests)

    async def jobs_in_flight(self, nodes: Sequence[NodeOf]) -> list[int]:
        return [0] * len(nodes)


class NobodyWaits:
    async def lines(self) -> list[str]:
        return []

    crowded = lines


class Index:
    """Of parked records, all of them due."""

    def __init__(self, *rows: ParkedRow) -> None:
        self.rows = list(rows)
        self.hastened: list[JobKey] = []

    async def park(self, rows: Sequence[ParkedRow]) -> None:
        self.rows += rows

    async def due(self, partitions: Sequence[int], at_ms: int, limit: int) -> list[ParkedRow]:
        return self.rows

    async def unpark(self, places: Sequence[Place]) -> None:
        self.rows = [row for row in self.rows if row.place not in places]

    async def hasten(self, keys: Collection[JobKey]) -> None:
        self.hastened += keys

    async def count(self) -> int:
        return len(self.rows)


class OneRecord:
    """A topic with one record, whichever is asked for."""

    def __init__(self, record: Received) -> None:
        self._record = record

    async def read(self, places: Collection[Coordinate]) -> Mapping[Coordinate, Incoming]:
        return dict.fromkeys(places, self._record)


class Stages:
    """RESERVE and RETRY, and what they sent."""

    def __init__(self, gate: FullGate | None = None) -> None:
        self.producer = MemoryProducer()
        self.tools = tools(self.producer)
        self.gate = gate or FullGate()
        self.index = Index()
        self.directory = OneProject()

    def record(self, topic: str, **fields: object) -> Received:
        return received(self.tools.sealer.seal(topic, state(**fields), b"{}"))

    async def reserve(self, record: Received) -> None:
        directory, parking = cast(Directory, self.directory), cast(Parking, self.index)
        crowds = Crowds(NobodyWaits(), 1.0, self.tools.metrics)
        stage = Reserve(Settings(), self.tools, directory, cast(Gate, self.gate), parking, crowds)
        await stage.handle([record])

    async def wake(self, record: Received) -> None:
        self.index.rows = [
            ParkedRow(0, 0, 1, UUID(int=7), 1, 1, 3, "standard", NOW_MS, "requests_per_minute", NOW_MS, 2)
        ]
        reader, parking = cast(CoordinateReader, OneRecord(record)), cast(Parking, self.index)
        waiting, gate = cast(Waiting, NobodyWaits()), cast(Gate, self.gate)
        room = Room(waiting, gate, cast(Directory, OneProject()), ReserveSettings())
        await Waker(self.tools, parking, reader, room, rulings(self.tools), 1.0, lambda: [0]).wake()

    @property
    def ended(self) -> State:
        [sent] = self.producer.sent
        assert sent.topic == topics.outcomes(Lane.STANDARD)
        return self.tools.sealer.open(received(sent)).state


async def test_before_reserve_it_expires_and_nothing_is_held() -> None:
    stages = Stages()
    await stages.reserve(stages.record(topics.admitted(Lane.STANDARD), **LATE))
    assert stages.ended.outcome == Expired(stage="reserve")
    assert stages.gate.asked == []


@pytest.mark.parametrize("delay", RetryDelay)
async def test_in_a_retry_topic_it_expires(delay: RetryDelay) -> None:
    stages = Stages()
    assert await Retry(stages.tools).handle([stages.record(topics.retry(delay), **LATE)]) is None
    assert stages.ended.outcome == Expired(stage="retry")


async def test_parked_it_expires_and_leaves_the_index() -> None:
    stages = Stages()
    await stages.wake(stages.record(topics.PARKED, **LATE))
    assert stages.ended.outcome == Expired(stage="retry")
    assert stages.index.rows == []


@pytest.mark.parametrize("held", [True, False])
async def test_nothing_is_parked_for_longer_than_until_its_deadline(held: bool) -> None:
    """What is held may be free soon; else the window turns first, or the job is refused."""
    stages = Stages(FullGate(NOW_MS + 10 if not held else NOW_MS + 10**9, held=held))
    deadline_ms = NOW_MS + 20
    await stages.reserve(stages.record(topics.admitted(Lane.STANDARD), deadline_ms=deadline_ms))
    [row] = stages.index.rows
    assert row.due_ms == (deadline_ms if held else NOW_MS + 10)


@pytest.mark.parametrize(
    ("level", "parked_for"), [("organization", "organization_tokens_per_day"), ("project", "tokens_per_day")]
)
async def test_a_job_that_waits_says_which_limit_it_waits_for(level: Level, parked_for: str) -> None:
    over = Over("tokens_per_day", level, NOW_MS + 10, never=False, held=False)
    stages = Stages(FullGate(over=over))
    await stages.reserve(stages.record(topics.admitted(Lane.STANDARD)))
    [row] = stages.index.rows
    assert (row.reason, row.due_ms) == (parked_for, NOW_MS + 10)


async def test_a_job_that_can_never_fit_is_told_which_limit_it_is() -> None:
    stages = Stages(FullGate(over=Over("tokens_per_day", "key", NOW_MS + 10, never=True, held=False)))
    await stages.reserve(stages.record(topics.admitted(Lane.STANDARD)))
    assert stages.ended.outcome == Refused(reason=Refusal.OVER_QUOTA, stage="reserve")
    [sent] = stages.producer.sent
    assert b"limit: tokens_per_day of the key" in (sent.value or b"")


async def test_what_is_held_of_a_limit_without_a_window_is_looked_at_again_soon_and_not_at_once() -> None:
    stages = Stages(FullGate(NOW_MS, held=True))
    await stages.reserve(stages.record(topics.admitted(Lane.STANDARD)))
    [row] = stages.index.rows
    assert (row.reason, row.due_ms, row.line) == ("nanodollars_per_day", NOW_MS + 1_000, None)


async def test_a_limit_of_no_jobs_in_flight_refuses_at_once() -> None:
    stages = Stages(FullGate(over=Over("jobs_in_flight", "project", NOW_MS, never=True, held=False)))
    await stages.reserve(stages.record(topics.admitted(Lane.STANDARD)))
    assert stages.ended.outcome == Refused(reason=Refusal.OVER_QUOTA, stage="reserve")


async def test_a_job_that_was_parked_by_the_limits_of_before_is_tried_again() -> None:
    """Whoever raised them woke what was parked then."""
    stages = Stages(FullGate(NOW_MS + 10))
    record = stages.record(topics.admitted(Lane.STANDARD))
    await stages.reserve(record)
    assert stages.index.hastened == []
    stages.directory.changes = Limits(nanodollars_per_day=99)
    await stages.reserve(record)
    assert [key.job_id for key in stages.index.hastened] == [state().job_id]


async def test_waiting_for_dispatch_it_expires_uncalled_with_its_hold() -> None:
    """SETTLE gives the hold back."""
    bench = Bench(**LATE)
    assert await bench.handle()
    assert bench.provider.calls == []
    assert (bench.last.outcome, bench.last.hold) == (Expired(stage="dispatch"), HOLD)
    assert bench.ledger.intents == {}


@pytest.mark.parametrize("begins", [[], ["after"]])
async def test_a_deadline_that_passes_while_the_hold_is_started_bars_the_call(begins: list[str]) -> None:
    """The intent is on record by then: the attempt gets a verdict, and its hold costs nothing."""
    bench = Bench()
    bench.ledger.begins.extend(begins)

    def wait() -> None:
        bench.later_ms = 60_000

    bench.ledger.slow = wait
    assert await bench.handle()
    assert bench.provider.calls == []
    [verdict] = bench.ledger.verdicts
    assert (verdict.kind, verdict.reason) == ("failed", "deadline_passed")
    assert bench.last.outcome == Expired(stage="dispatch")
    assert [charge.nanodollars for charge in bench.last.charges] == [0]
    assert [settlement.nanodollars for settlement in bench.ledger.settled] == [0]


async def test_an_intent_that_came_to_be_unnoticed_is_not_called_past_the_deadline() -> None:
    """The commit was made and its answer lost; then the job waited for the database too long."""
    bench = Bench()
    bench.ledger.begins.extend(["after"])
    with pytest.raises(Exception, match="lost on the way back"):
        await bench.dispatch.handle([bench.record])
    bench.later_ms = 60_000
    assert await bench.handle()
    assert bench.provider.calls == []
    assert bench.last.outcome == Expired(stage="dispatch")


async def slow_answers(bench: Bench, latency_ms: int, number: int) -> None:
    bench.provider.results.extend([answered(latency_ms)] * number)
    for index in range(number):
        bench.bring(job_id=UUID(int=1_000 + index))
        assert await bench.handle()
    bench.provider.calls.clear()


@pytest.mark.parametrize(("number", "calls"), [(ENOUGH - 1, 1), (ENOUGH, 0)])
async def test_what_cannot_be_answered_in_time_is_refused_uncalled_if_enough_is_known(
    number: int, calls: int
) -> None:
    bench = Bench()
    await slow_answers(bench, 30_000, number)
    bench.bring(deadline_ms=NOW_MS + 10_000)
    assert await bench.handle()
    assert len(bench.provider.calls) == calls
    if not calls:
        assert bench.last.outcome == Refused(reason=Refusal.DEADLINE_UNREACHABLE, stage="dispatch")
        assert bench.last.charges == ()
        assert bench.last.hold == HOLD


async def test_a_further_attempt_that_could_not_end_in_time_is_not_waited_for() -> None:
    """The verdict says so, so that whoever finds it takes the same step, whatever it knows of latencies."""
    bench = Bench()
    await slow_answers(bench, 30_000, ENOUGH)
    bench.provider.results.append(Failed(Failure.RATE_LIMITED, False, 5, 429, retry_after_ms=20_000))
    bench.bring(deadline_ms=NOW_MS + 40_000)
    assert await bench.handle()
    [verdict] = bench.ledger.verdicts
    assert (verdict.reason, verdict.due_ms) == ("rate_limited", None)
    assert bench.last.outcome == Refused(reason=Refusal.DEADLINE_UNREACHABLE, stage="dispatch")
    fresh = Bench(deadline_ms=NOW_MS + 40_000)
    fresh.ledger.intents, fresh.ledger.verdicts = bench.ledger.intents, bench.ledger.verdicts
    assert await fresh.handle()
    assert fresh.provider.calls == []
    assert fresh.last.outcome == bench.last.outcome
