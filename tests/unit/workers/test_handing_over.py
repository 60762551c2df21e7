"""ADMIT hands what it admits to RESERVE of its process, and to RESERVE's topic where that cannot take it."""

from collections.abc import Sequence
from typing import cast

import pytest

from broker.errors import GateClosed, KafkaUnavailable, RedisUnavailable
from broker.identity.directory import Directory
from broker.policy.decide import Unrestricted
from broker.pricing.book import PriceBook
from broker.pricing.project_books import ProjectBooks
from broker.records import Inner, Outgoing
from broker.settings import Settings
from broker.store.cancels import Cancels
from broker.store.jobs import Jobs, Seen
from schemas import headers, topics
from schemas.topics import Lane
from tests.unit.workers.memory import MemoryCancels, MemoryProducer, holding, tools
from tests.unit.workers.signing import signed
from tests.unit.workers.test_cancelled import JOB_VALUE, Door, calling_off
from workers.admit import Admit

ADMITTED = topics.admitted(Lane.STANDARD)


class Neighbor:
    """RESERVE of the same process: publishes as the real one does, or fails."""

    def __init__(self, producer: MemoryProducer, error: Exception | None = None) -> None:
        self.jobs: list[Inner] = []
        self._producer = producer
        self._error = error

    async def hold(self, jobs: Sequence[Inner], beside: Sequence[Outgoing]) -> None:
        if self._error is not None:
            raise self._error
        self.jobs += jobs
        await self._producer.send_all(beside)


class Way:
    def __init__(self, error: Exception | None = None) -> None:
        self.producer, door = MemoryProducer(), Door(Seen.NEW)
        self.neighbor = Neighbor(self.producer, error)
        self.tools = tools(self.producer, MemoryCancels())
        self.admit = Admit(
            Settings(),
            self.tools,
            cast(Directory, door),
            ProjectBooks(PriceBook.load()),
            Unrestricted(),
            cast(Jobs, door),
            cast(Cancels, MemoryCancels()),
            holding(self.tools),
        )
        self.admit.hold = self.neighbor.hold

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
    await way.admit.handle([signed(JOB_VALUE), calling_off()])
    assert sorted(way.sent_to()) == [ADMITTED, topics.outcomes(Lane.STANDARD)]
    [sealed] = [record for record in way.producer.sent if record.topic == ADMITTED]
    assert dict(sealed.headers)[headers.SEAL]


async def test_other_trouble_is_a_trouble_of_the_batch() -> None:
    way = Way(KafkaUnavailable("away"))
    with pytest.raises(KafkaUnavailable):
        await way.admit.handle([signed(JOB_VALUE)])
    assert way.sent_to() == []
