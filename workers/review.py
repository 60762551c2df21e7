"""Jobs that policy holds until a reviewer decides: how they come to wait, and how they go on.

ADMIT   held                      → parked, until the job's deadline, with a row of `reviews`
waker   approved                  → admitted.<lane>, with the approval
        denied, called off, late  → outcomes

The row decides, and is written once: by a reviewer, or by the waker where the job is called off or too late.
What the waker does it can do again: it follows a row that stands.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from broker.policy.decide import Judgement
from broker.records import Inner, Outgoing
from broker.store.keys import RunKey
from broker.store.parking import REVIEW, Parking
from broker.store.reviews import End, ReviewRow, Reviews, Ruling, review_id
from schemas.reasons import Refusal
from schemas.state import Approval, State
from schemas.topics import Coordinate
from workers.outlets import Outlets
from workers.parked import park, parked_row
from workers.tombstones import key_of
from workers.tools import Tools


class Held(NamedTuple):
    """A job, its state as it will be parked, and the judgement that holds it."""

    inner: Inner
    judgement: Judgement


def held(inner: Inner, judgement: Judgement) -> Held:
    state = inner.state.model_copy(update={"due_ms": inner.state.deadline_ms, "parked_for": REVIEW})
    return Held(inner._replace(state=state), judgement)


class Holding:
    """ADMIT's end."""

    def __init__(self, tools: Tools, reviews: Reviews, parking: Parking) -> None:
        self._reviews = reviews
        self._parking = parking
        self._outlets = tools.outlets
        self._clock = tools.clock
        self._tombstones = tools.tombstones

    async def waiting(self, states: Sequence[State]) -> set[RunKey]:
        """Those that were held when ADMIT read them before, whatever it would say of them now: what follows
        is the waker's. Raises Unavailable.
        """
        return await self._reviews.known({run_key(state) for state in states})

    def record(self, one: Held) -> Outgoing:
        return park(self._outlets, one.inner)

    async def enter(self, every: Sequence[Held], places: Sequence[Coordinate]) -> None:
        """Once their records are acknowledged. Whoever calls a job off wakes it, so one that came to wait at
        that very moment is looked for. Raises Unavailable.
        """
        if not every:
            return
        now_ms = self._clock()
        pairs = zip(every, places, strict=True)
        await self._reviews.hold(
            [(_row(one, place, now_ms), parked_row(one.inner, place)) for one, place in pairs]
        )
        await self._tombstones.refresh()
        states = [one.inner.state for one in every]
        await self._parking.hasten([key_of(state) for state in states if self._tombstones.covers(state)])


class Rulings:
    """The waker's end."""

    def __init__(self, tools: Tools, reviews: Reviews) -> None:
        self._reviews = reviews
        self._outlets = tools.outlets
        self._clock = tools.clock
        self._metrics = tools.metrics
        self._tombstones = tools.tombstones

    async def follow(self, due: Sequence[Inner]) -> list[Inner | Outgoing | None]:
        """Of each: the job that goes on, its end, or None where it still waits. Raises Unavailable.

        A job that is hastened is called off, decided, or late, and this process may not have heard of the
        first yet: it asks before it judges.
        """
        if not due:
            return []
        await self._tombstones.refresh()
        ends = {run_key(inner.state): end for inner in due if (end := self._end(inner.state)) is not None}
        await self._reviews.close(ends)
        rulings = await self._reviews.rulings([run_key(inner.state) for inner in due])
        return [self._follow(inner, rulings, ends) for inner in due]

    def _follow(
        self, inner: Inner, rulings: Mapping[RunKey, Ruling], ends: Mapping[RunKey, End]
    ) -> Inner | Outgoing | None:
        """A job without a row, as only a hand in the database can leave it, ends when its time is up."""
        key = run_key(inner.state)
        ruling = rulings.get(key) or Ruling(ends.get(key), "", "", None, None)
        if ruling.verdict is not None:
            self._metrics.reviewed(ruling.verdict)
        return ruled(inner, ruling, self._outlets)

    async def count(self) -> dict[str, int]:
        """Jobs that wait, by lane."""
        return await self._reviews.count()

    def _end(self, state: State) -> End | None:
        if self._tombstones.covers(state):
            return "cancelled"
        return "expired" if self._clock() >= state.deadline_ms else None


def ruled(inner: Inner, ruling: Ruling, outlets: Outlets) -> Inner | Outgoing | None:
    """What a ruling makes of a job that waits. Pure."""
    match ruling.verdict:
        case None:
            return None
        case "approved":
            approval = Approval(by=ruling.decided_by or "", at_ms=ruling.decided_ms or 0)
            return inner._replace(state=inner.state.model_copy(update={"approval": approval}))
        case "denied":
            message = f"decision {ruling.decision_id}, rule {ruling.rule}"
            return outlets.refused(inner.state, "retry", Refusal.REVIEW_DENIED, message)
        case "cancelled":
            return outlets.cancelled(inner.state, "retry")
        case "expired":
            return outlets.expired(inner.state, "retry")


def run_key(state: State) -> RunKey:
    return RunKey(state.application_id, state.job_id, state.run)


def _row(one: Held, place: Coordinate, now_ms: int) -> ReviewRow:
    state, judgement = one.inner.state, one.judgement
    key = run_key(state)
    decision = judgement.decision
    return ReviewRow(
        *key,
        id=review_id(key),
        organization_id=state.organization_id,
        project_id=state.project_id,
        lane=state.lane.value,
        decision_id=decision.id,
        revision=decision.revision,
        rule=judgement.rule or "",
        rules=decision.rules,
        score=decision.score,
        input_sha256=judgement.input_sha256,
        partition=place.partition,
        offset=place.offset,
        value_sha256=one.inner.sha256.hex(),
        held_ms=now_ms,
        deadline_ms=state.deadline_ms,
    )
