"""What SETTLE does at the gate with the holds of ended jobs: each is settled or given back, none is left."""

from collections.abc import Sequence
from typing import cast

import pytest

from broker.kafka.reading import CoordinateReader
from broker.quota.gate import Gate, Release, Settlement
from broker.store.dispositions import Disposition, Settled
from schemas.outcomes import Answered, Dead, Expired, Outcome, Refused, Repeat
from schemas.reasons import Failure, Refusal
from schemas.state import State
from tests.unit.workers.memory import HOLD, MemoryProducer, charge, received, state, tools
from workers.settle import Settle
from workers.settlements import PartitionBatch, SettlementBook

ANSWERED = Answered(model="m", request_sha256="0" * 64, response_sha256="0" * 64)
EARLIER = HOLD.model_copy(update={"id": "e1" * 16})


class Gateway:
    def __init__(self) -> None:
        self.settled: list[Settlement] = []
        self.released: list[Release] = []

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        self.settled += settlements

    async def release(self, releases: Sequence[Release]) -> None:
        self.released += releases


class Book:
    """Every record ends its job."""

    async def settle(self, *batches: PartitionBatch) -> list[Settled]:
        return [Settled(Disposition.NEW, None) for batch in batches for _ in batch.settlements]


async def settled(of: State, outcome: Outcome) -> Gateway:
    gate, made = Gateway(), tools(MemoryProducer())
    book, reader = cast(SettlementBook, Book()), cast(CoordinateReader, None)
    await Settle(made, book, cast(Gate, gate), reader).handle(
        [received(made.outlets.outcome(of, outcome, b"{}"))]
    )
    return gate


async def test_the_hold_of_a_call_is_settled() -> None:
    gate = await settled(state(charges=(charge(1, 70),)), ANSWERED)
    assert gate.settled == [Settlement(HOLD, 2, 3, "key-1", 70, 0)]
    assert gate.released == []


@pytest.mark.parametrize(
    "outcome",
    [
        Expired(stage="dispatch"),
        Refused(reason=Refusal.NO_TARGET, stage="dispatch"),
        Dead(reason=Failure.INTERNAL_ERROR, dead_letter="dead/0/1"),
    ],
)
async def test_a_hold_without_a_call_is_given_back(outcome: Outcome) -> None:
    gate = await settled(state(attempt=2, charges=(charge(1, 70, hold=EARLIER),)), outcome)
    assert gate.settled == [Settlement(EARLIER, 2, 3, "key-1", 70, 0)]
    assert gate.released == [Release(HOLD.id, 2)]


async def test_what_has_no_hold_asks_no_gate() -> None:
    gate = await settled(state(hold=None), Repeat())
    assert (gate.settled, gate.released) == ([], [])
