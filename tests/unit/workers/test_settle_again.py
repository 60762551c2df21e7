"""An outcome that comes again is told by its own value; what another one ended is read again."""

from collections.abc import Iterable
from typing import cast

from broker.kafka.reading import CoordinateReader
from broker.quota.gate import Gate
from broker.store.dispositions import Disposition, Settled
from broker.store.settlement_rows import Terminal, terminal_row
from schemas import topics
from schemas.outcomes import Expired, Outcome, Repeat
from schemas.topics import Coordinate, Lane
from tests.unit.workers.memory import MemoryProducer, Received, received, state, tools
from workers.settle import Settle
from workers.settlements import PartitionBatch, SettlementBook

ENDED_AT = Coordinate(topics.outcomes(Lane.STANDARD), 0, 4)
TOLD = b'{"told":"first"}'


class Reader:
    """Has the outcome that ended the job."""

    def __init__(self, record: Received) -> None:
        self.asked: list[Coordinate] = []
        self._record = record

    async def read(self, coordinates: Iterable[Coordinate]) -> dict[Coordinate, Received]:
        self.asked += coordinates
        return {at: self._record for at in coordinates if at == ENDED_AT}


class Book:
    """The job has ended, by the first that was settled."""

    def __init__(self) -> None:
        self._terminal: Terminal | None = None

    async def settle(self, *batches: PartitionBatch) -> list[Settled]:
        (settlement,) = (item for batch in batches for item in batch.settlements)
        known = self._terminal is not None
        self._terminal = self._terminal or terminal_row(settlement)
        return [Settled(Disposition.KNOWN if known else Disposition.NEW, self._terminal)]


async def told_again(outcome: Outcome, value: bytes, offset: int) -> tuple[list[bytes | None], Reader]:
    """Replies after the job has ended by TOLD and `outcome` comes with `value` at `offset`."""
    producer = MemoryProducer()
    made = tools(producer)
    first = received(made.outlets.outcome(state(hold=None), Expired(stage="retry"), TOLD), 0, ENDED_AT.offset)
    reader = Reader(first)
    stage = Settle(made, cast(SettlementBook, Book()), cast(Gate, None), cast(CoordinateReader, reader))
    await stage.handle([first])
    await stage.handle([received(made.outlets.outcome(state(hold=None), outcome, value), 0, offset)])
    return [record.value for record in producer.sent], reader


class Passing:
    """The job's attempt is under way: DISPATCH will end it."""

    async def settle(self, *batches: PartitionBatch) -> list[Settled]:
        return [Settled(Disposition.OVERTAKEN, None) for batch in batches for _ in batch.settlements]


async def test_an_end_that_was_overtaken_is_told_to_nobody_and_frees_no_hold() -> None:
    producer = MemoryProducer()
    made = tools(producer)
    no_gate, no_reader = cast(Gate, None), cast(CoordinateReader, None)
    stage = Settle(made, cast(SettlementBook, Passing()), no_gate, no_reader)
    await stage.handle([received(made.outlets.outcome(state(), Expired(stage="reserve"), b"{}"))])
    assert producer.sent == []


async def test_the_same_record_again_is_not_read_again() -> None:
    replies, reader = await told_again(Expired(stage="retry"), TOLD, ENDED_AT.offset)
    assert replies == [TOLD, TOLD]
    assert reader.asked == []


async def test_a_job_that_ended_otherwise_is_told_of_its_first_end() -> None:
    replies, reader = await told_again(Expired(stage="admit"), b'{"told":"second"}', 9)
    assert replies == [TOLD, TOLD]
    assert reader.asked == [ENDED_AT]


async def test_who_asks_again_is_told_of_the_end() -> None:
    replies, reader = await told_again(Repeat(), b"{}", 9)
    assert replies == [TOLD, TOLD]
    assert reader.asked == [ENDED_AT]
