"""A job that ADMIT reads again though its call has begun: DISPATCH finishes it, whatever is said now."""

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import pytest

from broker.identity.directory import Directory, Key, Project, ProjectSettings
from broker.policy.decide import Unrestricted
from broker.pricing.book import PriceBook
from broker.pricing.project_books import ProjectBooks
from broker.quota.budget import Budget
from broker.records import Handed
from broker.settings import Settings
from broker.store.attempts import AttemptFacts, AttemptRow
from broker.store.cancels import Cancels
from broker.store.jobs import JobRow, Seen
from broker.store.keys import AttemptKey, JobKey
from schemas import topics
from schemas.outcomes import Unknown
from schemas.reasons import Failure
from schemas.topics import Lane
from tests.unit.workers.dispatching import Bench
from tests.unit.workers.memory import (
    HOLD,
    JOB,
    ORGANIZATIONS,
    MemoryCancels,
    MemoryProducer,
    Received,
    holding,
    received,
    register,
    tools,
)
from tests.unit.workers.signing import KEY, TOPIC, signed
from tests.unit.workers.test_cancelled import JOB_VALUE
from workers.admit import Admit

RESERVED = topics.reserved(Lane.STANDARD)
INTENT = AttemptRow(1, JOB, 1, 1, "0" * 32, 3, KEY.id, "own", "gpt-4o-mini", HOLD, "2026-01-01", started_ms=1)
BEGUN = AttemptFacts(INTENT, None, charged=False, terminal=None, owner_alive=False)
NOT_BEGUN = BEGUN._replace(intent=None)


class Door:
    """ADMIT before a ledger that says `facts` of the first attempt."""

    organizations = ORGANIZATIONS

    def __init__(self, facts: AttemptFacts = BEGUN, seen: Seen = Seen.REDELIVERED, key: Key = KEY) -> None:
        self.producer = MemoryProducer()
        self.tools = tools(self.producer, MemoryCancels())
        self.seen, self.said, self.asked = seen, facts, 0
        self.origin = f"{TOPIC}/0/0"
        self._key = key
        books, cancels = ProjectBooks(PriceBook.load()), cast(Cancels, MemoryCancels())
        self.admit = Admit(
            Settings(),
            self.tools,
            cast(Directory, self),
            books,
            Unrestricted(),
            register(self, self),
            cancels,
            holding(self.tools),
        )

    def key(self, key_id: str) -> Key | None:
        return self._key

    def budget(self, key_id: str) -> Budget:
        return Budget(2, 3, key_id)

    def project(self, project_id: int) -> Project:
        return Project(3, 2, "p", ProjectSettings())

    async def register(self, rows: Sequence[JobRow]) -> list[Seen]:
        return [self.seen] * len(rows)

    async def origins(self, keys: Sequence[JobKey]) -> dict[JobKey, str]:
        return {JobKey(1, JOB): self.origin}

    async def facts(self, key: AttemptKey) -> AttemptFacts:
        self.asked += 1
        return self.said

    async def read(self, value: bytes = JOB_VALUE) -> list[str]:
        """Where ADMIT sends the record."""
        await self.admit.handle([signed(value)])
        return [record.topic for record in self.producer.sent]

    @property
    def sent(self) -> Received:
        return received(self.producer.sent[-1])


async def test_what_has_begun_goes_to_dispatch_under_its_hold() -> None:
    door = Door()
    assert await door.read() == [RESERVED]
    state = door.tools.sealer.open(door.sent).state
    assert (state.hold, state.attempt, state.model) == (HOLD, 1, "gpt-4o-mini")
    assert state.deadline_ms > state.appended_ms


async def test_what_has_not_begun_goes_the_way_of_all() -> None:
    assert await Door(NOT_BEGUN).read() == [topics.admitted(Lane.STANDARD)]


async def test_of_a_new_job_nobody_asks() -> None:
    door = Door(seen=Seen.NEW)
    assert await door.read() == [topics.admitted(Lane.STANDARD)]
    assert door.asked == 0


@pytest.mark.parametrize("facts", [BEGUN._replace(charged=True), BEGUN._replace(terminal="answered")])
async def test_of_what_is_over_nothing_is_left_to_do(facts: AttemptFacts) -> None:
    assert await Door(facts).read() == []


async def test_what_would_be_refused_now_is_finished_and_not_tried_again() -> None:
    door = Door()
    assert await door.read(b"{") == [RESERVED]
    state = door.tools.sealer.open(door.sent).state
    assert state.hold == HOLD
    assert state.retry.at_most_once
    assert state.deadline_ms == state.appended_ms


async def test_a_job_whose_key_was_revoked_since_is_finished_and_not_tried_again() -> None:
    door = Door(key=KEY._replace(revoked=True))
    assert await door.read() == [RESERVED]
    state = door.tools.sealer.open(door.sent).state
    assert (state.hold, state.retry.at_most_once) == (HOLD, True)


@pytest.mark.parametrize("strange", ["not begun", "read elsewhere", "signed by nobody"])
async def test_a_revoked_key_opens_nothing_else(strange: str) -> None:
    facts = NOT_BEGUN if strange == "not begun" else BEGUN
    secret = b"x" * 32 if strange == "signed by nobody" else KEY.secret
    door = Door(facts, key=KEY._replace(revoked=True, secret=secret))
    if strange == "read elsewhere":
        door.origin = f"{TOPIC}/0/7"
    assert await door.read() == [topics.DEAD]


async def test_dispatch_ends_a_job_that_nobody_would_admit_any_more() -> None:
    """Its worker died in the call: the attempt is on record as unknown, with its charge, and none follows."""
    door = Door()
    await door.read(b"{")
    bench = Bench()
    bench.record = door.sent
    state = door.tools.sealer.open(door.sent).state
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
