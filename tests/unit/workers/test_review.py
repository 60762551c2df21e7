"""A job that policy holds for review: ADMIT parks it once, and the waker follows what was decided, once."""

from collections.abc import Sequence
from typing import Any, cast

import orjson
import pytest

from broker.errors import DatabaseUnavailable
from broker.identity.directory import Directory, Key, Project, ProjectSettings
from broker.kafka.reading import CoordinateReader
from broker.policy.judge import Judge
from broker.pricing.book import PriceBook
from broker.pricing.project_books import ProjectBooks
from broker.quota.budget import Budget
from broker.records import Inner, Outgoing
from broker.settings import Settings
from broker.store.attempts import AttemptFacts
from broker.store.cancels import Cancels
from broker.store.jobs import JobRow, Seen
from broker.store.keys import AttemptKey, JobKey
from broker.store.parking import ParkedRow, Parking
from broker.store.reviews import Reviews, Verdict
from schemas import topics
from schemas.outcomes import Cancelled, Expired, Refused
from schemas.reasons import Refusal
from schemas.state import Approval, Decision
from schemas.topics import Lane
from tests.unit.broker.policy.jobs import revision, rule
from tests.unit.workers.door import NOT_BEGUN, Rules
from tests.unit.workers.memory import (
    JOB,
    NOW_MS,
    ORGANIZATIONS,
    MemoryCancels,
    MemoryProducer,
    MemoryReviews,
    Received,
    received,
    register,
    tools,
)
from tests.unit.workers.signing import KEY, TOPIC, signed
from tests.unit.workers.test_begun import BEGUN
from tests.unit.workers.test_deadlines import Index, OneRecord, Stages
from tests.unit.workers.test_waker import NoRoom
from workers.admit import Admit
from workers.crowds import Room
from workers.review import Holding, Rulings
from workers.waker import Waker

MAIL = "joe.doe@example.com"
OUTCOMES = topics.outcomes(Lane.STANDARD)
ADMITTED = topics.admitted(Lane.STANDARD)


class Desk:
    """ADMIT and the waker around one table of reviews. `now_ms` is the clock of both."""

    organizations = ORGANIZATIONS

    def __init__(self, *rules: dict[str, Any], **sections: Any) -> None:
        self.producer = MemoryProducer()
        self.cancels = MemoryCancels()
        self.reviews = MemoryReviews()
        self.index = Index()
        self.now_ms = NOW_MS
        kit = tools(self.producer, self.cancels)
        self.tools = type(kit)(
            kit.producer, kit.sealer, kit.outlets, lambda: self.now_ms, kit.metrics, kit.tombstones
        )
        self.seen, self.sender = Seen.NEW, KEY
        self.attempt = NOT_BEGUN
        self.decide_by(*rules, **sections)

    def decide_by(self, *rules: dict[str, Any], **sections: Any) -> None:
        """As after a start: ADMIT anew, under another policy."""
        jobs, cancels, directory = register(self, self), cast(Cancels, self.cancels), cast(Directory, self)
        books, policy = ProjectBooks(PriceBook.load()), Rules(Judge(revision(*rules, **sections)))
        reviews, index = cast(Reviews, self.reviews), cast(Parking, self.index)
        holding = Holding(self.tools, reviews, index)
        self.admit = Admit(Settings(), self.tools, directory, books, policy, jobs, cancels, holding)

    def key(self, key_id: str) -> Key | None:
        return self.sender

    def budget(self, key_id: str) -> Budget:
        return Budget(2, 3, key_id)

    def project(self, project_id: int) -> Project:
        return Project(3, 2, "p", ProjectSettings())

    async def register(self, rows: Sequence[JobRow]) -> list[Seen]:
        return [self.seen] * len(rows)

    async def origins(self, keys: Sequence[JobKey]) -> dict[JobKey, str]:
        return dict.fromkeys(keys, f"{TOPIC}/0/0")

    async def facts(self, key: AttemptKey) -> AttemptFacts:
        return self.attempt

    async def publish(self, content: str = "Name a canal.") -> None:
        await self.admit.handle([signed(value(content))])

    async def redeliver(self, content: str = "Name a canal.") -> None:
        self.seen = Seen.REDELIVERED
        await self.publish(content)

    async def wake(self) -> list[Outgoing]:
        """A round of the waker with what stands in the index; what it sent."""
        self.index.rows = list(self.reviews.parked)
        sent = len(self.producer.sent)
        await self.waker().wake()
        self.reviews.parked = list(self.index.rows)
        return self.producer.sent[sent:]

    def waker(self) -> Waker:
        reader = cast(CoordinateReader, OneRecord(self.parked))
        rulings = Rulings(self.tools, cast(Reviews, self.reviews))
        room = cast(Room, NoRoom(None))
        return Waker(self.tools, cast(Parking, self.index), reader, room, rulings, 0.0, lambda: [0])

    @property
    def parked(self) -> Received:
        return received(next(sent for sent in self.producer.sent if sent.topic == topics.PARKED))

    def opened(self, sent: Outgoing) -> Inner:
        return self.tools.sealer.open(received(sent))


def value(content: str) -> bytes:
    request = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": content}]}
    return orjson.dumps({"version": 1, "endpoint": "/v1/chat/completions", "request": request})


def reviewing(**sections: Any) -> Desk:
    return Desk(rule("look", effect="review", contribution=7), **sections)


async def test_a_job_comes_to_wait_until_its_deadline_with_nothing_held_for_it() -> None:
    desk = reviewing()
    await desk.publish()
    [sent] = desk.producer.sent
    state = desk.opened(sent).state
    assert sent.topic == topics.PARKED
    assert (state.due_ms, state.parked_for, state.hold, state.approval) == (
        state.deadline_ms,
        "review",
        None,
        None,
    )
    [row] = desk.reviews.rows.values()
    assert state.decision is not None
    assert (row.job_id, row.run, row.rule, row.rules, row.score) == (JOB, 1, "look", ("look",), 7)
    assert (row.decision_id, row.revision) == (state.decision.id, state.decision.revision)
    assert len(row.input_sha256) == 64
    [place] = desk.reviews.parked
    assert (place.reason, place.due_ms, place.partition, place.offset) == (
        "review",
        state.deadline_ms,
        row.partition,
        row.offset,
    )


async def test_a_reviewer_reads_what_would_go_out() -> None:
    desk = reviewing(dlp={"request": {"EMAIL": "redact"}})
    await desk.publish(f"Write to {MAIL}.")
    inner = desk.opened(desk.producer.sent[0])
    assert MAIL.encode() not in inner.value
    [row] = desk.reviews.rows.values()
    assert row.value_sha256 == inner.sha256.hex()


async def test_an_approved_job_goes_to_reserve_with_its_decision_and_the_approval() -> None:
    desk = reviewing()
    await desk.publish()
    held = desk.opened(desk.producer.sent[0])
    desk.reviews.decide("approved")
    [sent] = await desk.wake()
    state = desk.opened(sent).state
    assert sent.topic == ADMITTED
    assert state.decision == held.state.decision
    assert state.approval == Approval(by="ann", at_ms=NOW_MS)
    assert (state.parked_for, state.due_ms) == (None, None)
    assert desk.reviews.parked == []


async def test_a_denied_job_is_refused_with_decision_and_rule_also_past_its_deadline() -> None:
    desk = reviewing()
    await desk.publish()
    desk.reviews.decide("denied")
    desk.now_ms += 10**9
    [sent] = await desk.wake()
    inner = desk.opened(sent)
    assert sent.topic == OUTCOMES
    assert inner.state.outcome == Refused(reason=Refusal.REVIEW_DENIED, stage="retry")
    assert inner.state.decision is not None
    assert orjson.loads(inner.value)["error"] == {
        "code": "review_denied",
        "message": f"decision {inner.state.decision.id}, rule look",
    }


async def test_nobody_decides_and_it_expires_as_any_job_does() -> None:
    desk = reviewing()
    await desk.publish()
    desk.now_ms += 10**9
    [sent] = await desk.wake()
    assert desk.opened(sent).state.outcome == Expired(stage="retry")
    desk.reviews.decide("approved")
    assert [ruling.verdict for ruling in desk.reviews.verdicts.values()] == ["expired"]


async def test_a_job_that_is_called_off_ends_as_cancelled_and_no_reviewer_comes_after_it() -> None:
    desk = reviewing()
    await desk.publish()
    desk.cancels.call_off(until_ms=NOW_MS + 10**9)
    [sent] = await desk.wake()
    assert desk.opened(sent).state.outcome == Cancelled(stage="retry")
    desk.reviews.decide("approved")
    assert [ruling.verdict for ruling in desk.reviews.verdicts.values()] == ["cancelled"]


@pytest.mark.parametrize("late", [False, True])
async def test_an_approved_job_that_is_called_off_or_late_before_it_is_woken_is_not_called(
    late: bool,
) -> None:
    desk = reviewing()
    await desk.publish()
    desk.reviews.decide("approved")
    if late:
        desk.now_ms += 10**9
    else:
        desk.cancels.call_off(until_ms=NOW_MS + 10**9)
    [sent] = await desk.wake()
    ended = Expired(stage="retry") if late else Cancelled(stage="retry")
    assert desk.opened(sent).state.outcome == ended


async def test_a_job_that_nobody_has_decided_stays_though_it_is_hastened() -> None:
    desk = reviewing()
    await desk.publish()
    assert await desk.wake() == []
    assert len(desk.reviews.parked) == 1


async def test_a_job_without_a_row_waits_and_then_expires() -> None:
    desk = reviewing()
    await desk.publish()
    desk.reviews.rows.clear()
    assert await desk.wake() == []
    desk.now_ms += 10**9
    [sent] = await desk.wake()
    assert desk.opened(sent).state.outcome == Expired(stage="retry")


# killed in between


async def test_killed_between_the_record_and_the_row_it_is_held_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first record has no row and no place: nobody reads it."""
    desk = reviewing()

    async def away(held: Sequence[object]) -> None:
        raise DatabaseUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(desk.reviews, "hold", away)
        with pytest.raises(DatabaseUnavailable):
            await desk.publish()
    await desk.redeliver()
    assert [sent.topic for sent in desk.producer.sent] == [topics.PARKED, topics.PARKED]
    [place] = desk.reviews.parked
    assert place.offset == 1


@pytest.mark.parametrize("verdict", [None, "approved", "denied"])
async def test_killed_before_the_commit_it_is_held_no_second_time(verdict: Verdict | None) -> None:
    desk = reviewing()
    await desk.publish()
    if verdict is not None:
        desk.reviews.decide(verdict)
    await desk.redeliver()
    assert len(desk.producer.sent) == 1


@pytest.mark.parametrize("revoked", [False, True])
async def test_a_job_that_was_approved_and_has_begun_is_none_of_admits(revoked: bool) -> None:
    """Else a copy of it would end it where its attempt fails, as one that nobody would admit now."""
    desk = reviewing()
    await desk.publish()
    desk.reviews.decide("approved")
    desk.attempt, desk.sender = BEGUN, KEY._replace(revoked=revoked)
    await desk.redeliver()
    assert topics.reserved(Lane.STANDARD) not in [sent.topic for sent in desk.producer.sent]


@pytest.mark.parametrize("effect", ["allow", "deny", "flag"])
async def test_a_job_that_is_held_stays_so_whatever_the_policy_says_of_its_redelivery(effect: str) -> None:
    desk = reviewing()
    await desk.publish()
    desk.decide_by(rule("other", effect=effect))
    await desk.redeliver()
    assert [sent.topic for sent in desk.producer.sent] == [topics.PARKED]


@pytest.mark.parametrize(("verdict", "topic"), [("approved", ADMITTED), ("denied", OUTCOMES)])
async def test_killed_between_publishing_and_forgetting_the_waker_says_the_same_again(
    verdict: Verdict, topic: str
) -> None:
    desk = reviewing()
    await desk.publish()
    desk.reviews.decide(verdict)
    places: list[ParkedRow] = list(desk.reviews.parked)
    [first] = await desk.wake()
    desk.reviews.parked = places
    [second] = await desk.wake()
    assert first.topic == second.topic == topic
    assert desk.opened(first).state == desk.opened(second).state


async def test_killed_between_closing_and_publishing_the_deadline_still_holds() -> None:
    desk = reviewing()
    await desk.publish()
    desk.now_ms += 10**9
    desk.producer.away = True
    with pytest.raises(Exception, match="away"):
        await desk.wake()
    desk.producer.away = False
    desk.now_ms = NOW_MS
    [sent] = await desk.wake()
    assert desk.opened(sent).state.outcome == Expired(stage="retry")


async def test_called_off_while_it_comes_to_wait_it_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = reviewing()
    hold = desk.reviews.hold

    async def meanwhile(held: Sequence[Any]) -> None:
        await hold(held)
        desk.cancels.call_off(until_ms=NOW_MS + 10**9)

    monkeypatch.setattr(desk.reviews, "hold", meanwhile)
    await desk.publish()
    assert desk.index.hastened == [JobKey(1, JOB)]


async def test_repeats_and_conflicts_are_not_held() -> None:
    for seen in (Seen.REPEAT, Seen.CONFLICT, Seen.CANCELLED):
        desk = reviewing()
        desk.seen = seen
        await desk.publish()
        assert [sent.topic for sent in desk.producer.sent] == [OUTCOMES]
        assert desk.reviews.rows == {}


async def test_ends_are_counted() -> None:
    desk = reviewing()
    await desk.publish()
    desk.reviews.decide("approved")
    await desk.wake()
    registry = desk.tools.metrics.registry
    assert registry.get_sample_value("headworks_reviews_total", {"verdict": "approved"}) == 1
    labels = {"stage": "admit", "outcome": "held_for_review"}
    assert registry.get_sample_value("headworks_jobs_total", labels) == 1


async def test_what_was_held_and_comes_without_an_approval_is_not_let_through() -> None:
    """As where a worker that knows nothing of reviews wakes it."""
    decision = Decision(id="d", revision="r", effect="review")
    for approval, ends in ((None, True), (Approval(by="ann", at_ms=1), False)):
        stages = Stages()
        await stages.reserve(stages.record(ADMITTED, decision=decision, approval=approval))
        assert bool(stages.gate.asked) is not ends
        if ends:
            assert stages.ended.outcome == Refused(reason=Refusal.REVIEW_DENIED, stage="reserve")
            alarms = stages.tools.metrics.registry
            assert alarms.get_sample_value("headworks_alarms_total", {"code": "unapproved_job"}) == 1
