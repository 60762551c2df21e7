"""SETTLE's position passes what SETTLE cannot settle: a takeover waits until it has come to the log's end."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_asyncio
from pydantic import SecretStr

from broker.errors import KafkaUnavailable
from broker.kafka.reading import CoordinateReader
from broker.quota.gate import Gate
from broker.settings import DatabaseSettings
from broker.store.database import Database
from broker.store.migrate import upgrade
from broker.store.settlement import Settlements
from schemas import topics
from schemas.outcomes import Expired
from schemas.topics import Lane
from tests.unit.workers.engine.memory import MemoryRecord, MemorySource
from tests.unit.workers.engine.turning import until
from tests.unit.workers.memory import MemoryProducer, Received, received, state, tools
from workers.engine.limits import Limits
from workers.engine.pump import Pump
from workers.engine.slots import Slots
from workers.engine.source import Partition, Unreadable
from workers.poison import Poison
from workers.settle import Settle
from workers.settlements import SettlementBook

TOPIC = topics.outcomes(Lane.STANDARD)
BAD = Unreadable(TOPIC, 0, 5, "UnicodeDecodeError", b"\xff")


@pytest_asyncio.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    url = f"sqlite+aiosqlite:///{tmp_path / 'headworks.db'}"
    await upgrade(url)
    opened = await Database.open(DatabaseSettings(url=SecretStr(url)))
    yield opened
    await opened.close()


class Bench:
    """SETTLE and its poison, on a ledger. Nothing here has a hold, so no gate is asked."""

    def __init__(self, database: Database) -> None:
        self.producer = MemoryProducer()
        self.settlements = Settlements(database)
        self.book = SettlementBook(self.settlements)
        made = tools(self.producer)
        nothing = cast(Gate, None), cast(CoordinateReader, None)
        self.stage = Settle(made, self.book, *nothing)
        self.poison = Poison("settle", made, pass_over=self.stage.pass_over)

    async def next_offset(self) -> int:
        return (await self.settlements.position(TOPIC, 0)).next_offset

    def outcome(self, offset: int) -> Received:
        made = tools(self.producer)
        return received(made.outlets.outcome(state(hold=None), Expired(stage="retry"), b"{}"), 0, offset)


@pytest_asyncio.fixture
async def bench(database: Database) -> AsyncIterator[Bench]:
    made = Bench(database)
    yield made
    await made.book.close()


async def test_an_unreadable_record_at_the_end_is_passed(bench: Bench) -> None:
    await bench.stage.handle([bench.outcome(4)])
    await bench.poison(BAD, None)
    assert await bench.next_offset() == 6
    assert [record.topic for record in bench.producer.sent] == ["replies.shop", topics.DEAD]


async def test_the_first_record_of_a_partition_may_be_one(bench: Bench) -> None:
    await bench.poison(BAD, None)
    assert await bench.next_offset() == 6


async def test_an_outcome_that_cannot_be_settled_is_passed(bench: Bench) -> None:
    await bench.poison(bench.outcome(2), ZeroDivisionError())
    assert await bench.next_offset() == 3


async def test_nothing_is_passed_before_it_is_kept(bench: Bench) -> None:
    bench.producer.away = True
    with pytest.raises(KafkaUnavailable):
        await bench.poison(BAD, None)
    assert await bench.next_offset() == 0


async def test_what_was_passed_before_takes_nothing_back(bench: Bench) -> None:
    await bench.stage.handle([bench.outcome(7)])
    await bench.poison(BAD, None)
    assert await bench.next_offset() == 8


async def test_the_audit_chain_goes_on_behind_it(bench: Bench) -> None:
    await bench.poison(BAD, None)
    await bench.stage.handle([bench.outcome(6)])
    position = await bench.settlements.position(TOPIC, 0)
    assert (position.next_offset, position.chain_length) == (7, 1)


async def test_the_pump_leaves_no_record_of_a_partition_behind(bench: Bench) -> None:
    place = Partition(TOPIC, 0)
    source = MemorySource({place: [None, None]})
    limits = Limits(batch_max=10, under_way_max=1, span_max=10, commit_interval_s=0.01, fetch_wait_ms=20)
    handle, poison = cast(Any, bench.stage.handle), cast(Any, bench.poison)
    slots = Slots(4, {"standard": 1})
    pump: Pump[MemoryRecord] = Pump("settle", {"standard": source}, handle, poison, slots, limits)
    await pump.start()
    await until(lambda: source.committed == {place: 2})
    assert await pump.stop(10)
    assert await bench.next_offset() == 2
