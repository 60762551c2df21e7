"""A job that ADMIT reads again though its call has begun: DISPATCH finishes it, whatever is said now."""

from dataclasses import replace

import pytest

from broker.identity.directory import Key
from broker.records import Handed
from broker.store.attempts import AttemptFacts, AttemptRow
from broker.store.jobs import Seen
from schemas import topics
from schemas.outcomes import Unknown
from schemas.reasons import Failure
from schemas.topics import Lane
from tests.unit.workers.dispatching import Bench
from tests.unit.workers.door import JOB_VALUE, NOT_BEGUN, Door
from tests.unit.workers.memory import (
    HOLD,
    JOB,
)
from tests.unit.workers.signing import KEY, TOPIC, signed

RESERVED = topics.reserved(Lane.STANDARD)
INTENT = AttemptRow(1, JOB, 1, 1, "0" * 32, 3, KEY.id, "own", "gpt-4o-mini", HOLD, "2026-01-01", started_ms=1)
BEGUN = AttemptFacts(INTENT, None, charged=False, terminal=None, owner_alive=False)


def reread(facts: AttemptFacts = BEGUN, key: Key = KEY) -> Door:
    """ADMIT before a job that it has had already."""
    return Door(seen=Seen.REDELIVERED, facts=facts, key=key)


async def read(door: Door, value: bytes = JOB_VALUE) -> list[str]:
    """Where ADMIT sends the record."""
    await door.admit.handle([signed(value)])
    return door.topics()


async def test_what_has_begun_goes_to_dispatch_under_its_hold() -> None:
    door = reread()
    assert await read(door) == [RESERVED]
    state = door.states()[-1]
    assert (state.hold, state.attempt, state.model) == (HOLD, 1, "gpt-4o-mini")
    assert state.deadline_ms > state.appended_ms


async def test_what_has_not_begun_goes_the_way_of_all() -> None:
    assert await read(reread(NOT_BEGUN)) == [topics.admitted(Lane.STANDARD)]


async def test_of_a_new_job_nobody_asks() -> None:
    door = Door(facts=BEGUN)
    assert await read(door) == [topics.admitted(Lane.STANDARD)]
    assert door.asked == 0


@pytest.mark.parametrize("facts", [BEGUN._replace(charged=True), BEGUN._replace(terminal="answered")])
async def test_of_what_is_over_nothing_is_left_to_do(facts: AttemptFacts) -> None:
    assert await read(reread(facts)) == []


async def test_what_would_be_refused_now_is_finished_and_not_tried_again() -> None:
    door = reread()
    assert await read(door, b"{") == [RESERVED]
    state = door.states()[-1]
    assert state.hold == HOLD
    assert state.retry.at_most_once
    assert state.deadline_ms == state.appended_ms


async def test_a_job_whose_key_was_revoked_since_is_finished_and_not_tried_again() -> None:
    door = reread(key=KEY._replace(revoked=True))
    assert await read(door) == [RESERVED]
    state = door.states()[-1]
    assert (state.hold, state.retry.at_most_once) == (HOLD, True)


@pytest.mark.parametrize("strange", ["not begun", "read elsewhere", "signed by nobody"])
async def test_a_revoked_key_opens_nothing_else(strange: str) -> None:
    facts = NOT_BEGUN if strange == "not begun" else BEGUN
    secret = b"x" * 32 if strange == "signed by nobody" else KEY.secret
    door = reread(facts, key=KEY._replace(revoked=True, secret=secret))
    if strange == "read elsewhere":
        door.origin = f"{TOPIC}/0/7"
    assert await read(door) == [topics.DEAD]


async def test_dispatch_ends_a_job_that_nobody_would_admit_any_more() -> None:
    """Its worker died in the call: the attempt is on record as unknown, with its charge, and none follows."""
    door = reread()
    await read(door, b"{")
    bench = Bench()
    bench.record = door.last
    state = door.states()[-1]
    bench.ledger.intents[INTENT.key] = replace(INTENT, owner="1" * 32)
    bench.ledger.owner_alive = False
    assert await bench.handle()
    assert bench.provider.calls == []
    [verdict] = bench.ledger.verdicts
    assert (verdict.kind, verdict.charge.nanodollars) == ("unknown", HOLD.nanodollars)
    assert bench.last.outcome == Unknown(reason=Failure.WORKER_LOST)
    assert bench.last.charges == (verdict.charge,)
    assert state.job_id == bench.last.job_id


@pytest.mark.parametrize("is_current", [True, False])
async def test_what_was_handed_over_is_begun_only_while_its_partition_is_here(is_current: bool) -> None:
    """Else its next reader may have looked for an attempt before this one is on record."""
    bench = Bench(hold=HOLD)
    inner = bench.open()
    assert await bench.handle(Handed(signed(JOB_VALUE), inner, lambda: is_current)) is is_current
    assert len(bench.ledger.intents) == len(bench.provider.calls) == int(is_current)


async def test_what_lost_its_partition_while_its_intent_was_written_gets_a_record_of_its_own() -> None:
    bench = Bench(hold=HOLD)
    inner = bench.open()
    looks = iter([True, False])
    await bench.dispatch.handle([Handed(signed(JOB_VALUE), inner, lambda: next(looks))])
    assert [record.topic for record in bench.producer.sent] == [RESERVED, topics.outcomes(Lane.STANDARD)]
    assert len(bench.provider.calls) == 1


@pytest.mark.parametrize(
    ("begins", "starts"),
    [(["after"], []), (["before"], []), ([], ["away"]), ([], ["away"] * 3), (["after"], ["away"] * 2)],
)
async def test_what_lost_its_partition_after_its_intent_was_sent_is_called_once(
    begins: list[str], starts: list[str]
) -> None:
    """Whoever reads it next finds a living owner, and waits for it."""
    bench = Bench(hold=HOLD)
    ledger = bench.ledger
    ledger.begins.extend(begins)
    ledger.starts.extend(starts)
    failures = len(begins) + len(starts)
    handed = Handed(
        signed(JOB_VALUE), bench.open(), lambda: len(ledger.begins) + len(ledger.starts) == failures
    )
    assert await bench.handle(handed)
    assert len(bench.provider.calls) == 1
    assert [record.topic for record in bench.producer.sent] == [RESERVED, topics.outcomes(Lane.STANDARD)]


@pytest.mark.parametrize("later_ms", [0, 120_000])
async def test_what_lost_its_partition_is_neither_ended_here_nor_finished(later_ms: int) -> None:
    """The partition's last commit is still to come, and would pass it."""
    bench = Bench(hold=HOLD)
    bench.later_ms = later_ms
    assert not await bench.handle(Handed(signed(JOB_VALUE), bench.open(), lambda: False))
    assert bench.producer.sent == []
