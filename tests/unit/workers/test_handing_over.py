"""ADMIT hands what it admits to RESERVE of its process, and that to DISPATCH; to topics where they cannot."""

from collections.abc import Sequence
from typing import cast
from uuid import UUID

import pytest

from broker.errors import GateClosed, KafkaUnavailable, RedisUnavailable
from broker.identity.directory import Directory
from broker.quota.gate import Gate, Granted, ReserveRequest, Settled
from broker.records import Incoming, Inner, Outgoing
from broker.settings import Settings
from broker.store.parking import Parking
from schemas import headers, topics
from schemas.state import State
from schemas.topics import Lane
from tests.unit.workers.door import JOB_VALUE, Door
from tests.unit.workers.memory import HOLD, NOW_MS, MemoryProducer
from tests.unit.workers.signing import signed
from tests.unit.workers.test_cancelled import calling_off
from workers.crowds import Crowds
from workers.handover import Begin
from workers.reserve import Reserve

ADMITTED = topics.admitted(Lane.STANDARD)
OTHER = UUID(int=1)


class Neighbor:
    """RESERVE of the same process: publishes as the real one does, or fails."""

    def __init__(self, producer: MemoryProducer, error: Exception | None = None) -> None:
        self.jobs: list[Inner] = []
        self.asked = 0
        self.error = error
        self._producer = producer

    async def hold(self, jobs: Sequence[Inner], beside: Sequence[Outgoing], begin: Begin) -> None:
        self.asked += 1
        if self.error is not None:
            raise self.error
        self.jobs += jobs
        await self._producer.send_all(beside)


class Way:
    def __init__(self, error: Exception | None = None) -> None:
        self.now_ms = NOW_MS
        door = Door(now_ms=lambda: self.now_ms)
        self.producer, self.tools, self.admit = door.producer, door.tools, door.admit
        self.neighbor = Neighbor(self.producer, error)
        self.admit.handover.hold = self.neighbor.hold

    def sent_to(self) -> list[str]:
        return [record.topic for record in self.producer.sent]


async def test_what_is_admitted_is_handed_over_and_not_published() -> None:
    way = Way()
    await way.admit.handle([signed(JOB_VALUE)])
    [inner] = way.neighbor.jobs
    assert (inner.value, inner.state.model) == (JOB_VALUE, "gpt-4o-mini")
    assert inner.sha256.hex() == inner.state.value_sha256
    assert way.sent_to() == []


async def test_what_is_not_admitted_goes_beside() -> None:
    way = Way()
    await way.admit.handle([signed(b"{"), calling_off()])
    assert way.neighbor.jobs == []
    assert way.sent_to() == [topics.outcomes(Lane.STANDARD)] * 2


@pytest.mark.parametrize("error", [RedisUnavailable("away"), GateClosed("rebuilt")])
async def test_while_the_gate_is_away_jobs_wait_in_the_topic_of_reserve(error: Exception) -> None:
    way = Way(error)
    await way.admit.handle([signed(JOB_VALUE), calling_off(OTHER)])
    assert sorted(way.sent_to()) == [ADMITTED, topics.outcomes(Lane.STANDARD)]
    [sealed] = [record for record in way.producer.sent if record.topic == ADMITTED]
    assert dict(sealed.headers)[headers.SEAL]


async def test_a_gate_that_is_away_is_not_asked_for_every_batch() -> None:
    """At a Redis that is frozen each would wait for seconds, and all that comes behind it."""
    way = Way(RedisUnavailable("away"))
    for _ in range(3):
        await way.admit.handle([signed(JOB_VALUE), calling_off(OTHER)])
    assert way.neighbor.asked == 1
    assert way.sent_to().count(ADMITTED) == 3
    way.now_ms += 5_000
    for _ in range(3):
        await way.admit.handle([signed(JOB_VALUE)])
    assert way.neighbor.asked == 2


async def test_a_gate_that_is_there_again_gets_what_comes() -> None:
    way = Way(RedisUnavailable("away"))
    await way.admit.handle([signed(JOB_VALUE)])
    way.neighbor.error = None
    way.now_ms += 5_000
    for _ in range(3):
        await way.admit.handle([signed(JOB_VALUE)])
    assert len(way.neighbor.jobs) == 3
    assert way.sent_to() == [ADMITTED]


async def test_other_trouble_is_a_trouble_of_the_batch() -> None:
    way = Way(KafkaUnavailable("away"))
    with pytest.raises(KafkaUnavailable):
        await way.admit.handle([signed(JOB_VALUE)])
    assert way.sent_to() == []


class Calls:
    """DISPATCH of the same process: begins what it has room for."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.begun: list[tuple[Incoming, Inner]] = []

    def begin(self, record: Incoming, inner: Inner) -> bool:
        if len(self.begun) == self.room:
            return False
        self.begun.append((record, inner))
        return True


class Grants:
    """Grants every hold, or says of one that it is settled."""

    settled = False

    async def reserve(self, requests: Sequence[ReserveRequest]) -> list[Granted | Settled]:
        return [Settled(HOLD) if self.settled else Granted(HOLD, started=False) for _ in requests]


def reserving(way: Way, room: int) -> tuple[Calls, Grants]:
    """RESERVE as it is, behind ADMIT, and DISPATCH with room for so many."""
    gate, calls = Grants(), Calls(room)
    reserve = Reserve(
        Settings(),
        way.tools,
        cast(Directory, Door()),
        cast(Gate, gate),
        cast(Parking, None),
        cast(Crowds, Nobody()),
    )
    way.admit.handover.hold, way.admit.handover.begin = reserve.hold, calls.begin
    return calls, gate


class Nobody:
    def before(self, state: State) -> None:
        return None


async def test_what_dispatch_can_begin_is_published_nowhere() -> None:
    way = Way()
    calls, _ = reserving(way, room=1)
    record = signed(JOB_VALUE)
    await way.admit.handle([record])
    assert way.sent_to() == []
    [(lent, inner)] = calls.begun
    assert lent is record
    assert (inner.state.hold, inner.value) == (HOLD, JOB_VALUE)


async def test_what_dispatch_cannot_begin_at_once_goes_by_its_topic() -> None:
    way = Way()
    calls, _ = reserving(way, room=0)
    await way.admit.handle([signed(JOB_VALUE)])
    assert calls.begun == []
    assert way.sent_to() == [topics.reserved(Lane.STANDARD)]


async def test_an_attempt_that_is_over_is_not_begun() -> None:
    way = Way()
    calls, gate = reserving(way, room=1)
    gate.settled = True
    await way.admit.handle([signed(JOB_VALUE)])
    assert calls.begun == []
    assert way.sent_to() == [topics.reserved(Lane.STANDARD)]
