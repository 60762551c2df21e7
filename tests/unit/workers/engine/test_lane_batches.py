"""A lane's batches: everything once, each partition in its order, what cannot be decoded by itself."""

from collections.abc import Sequence
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.workers.engine.memory import MemoryRecord, MemorySource
from tests.unit.workers.engine.thorough import THOROUGH
from workers.engine.lane import Flow, Lane, Piece, size
from workers.engine.source import Partition, Unreadable

Item = MemoryRecord | Unreadable
PARTITIONS = [Partition("work", number) for number in range(3)]


class Take(NamedTuple):
    """Ask for a batch."""


class Add(NamedTuple):
    """Records come in of a partition; None stands for one that cannot be decoded."""

    partition: int
    values: Sequence[bytes | None]


values = st.lists(st.none() | st.just(b"v"), max_size=5)
histories = st.lists(st.just(Take()) | st.builds(Add, st.integers(0, 2), values), max_size=40)


class Bench:
    def __init__(self, batch_max: int = 4, under_way_max: int = 1) -> None:
        self.lane: Lane[MemoryRecord] = Lane("bulk", MemorySource({}), batch_max, under_way_max)
        self.flows = [Flow(partition, self.lane) for partition in PARTITIONS]
        self.added: list[list[Item]] = [[] for _ in PARTITIONS]
        self.batches: list[list[Piece[MemoryRecord]]] = []

    def add(self, number: int, values: Sequence[bytes | None]) -> None:
        start, place = len(self.added[number]), PARTITIONS[number]
        items: list[Item] = [
            Unreadable(*place, offset, "E") if value is None else MemoryRecord(*place, offset, value)
            for offset, value in enumerate(values, start)
        ]
        self.added[number] += items
        self.lane.add(self.flows[number], items)

    def take(self) -> list[Piece[MemoryRecord]]:
        self.batches.append(self.lane.next())
        return self.batches[-1]

    def play(self, history: list[Take | Add]) -> None:
        for step in history:
            if isinstance(step, Add):
                self.add(*step)
            else:
                self.take()

    def drain(self) -> None:
        while self.take():
            pass

    @property
    def waiting(self) -> int:
        return sum(map(len, self.added)) - sum(map(len, self.batches))

    def taken(self, number: int) -> list[Item]:
        return [piece.record for batch in self.batches for piece in batch if piece.flow is self.flows[number]]


@THOROUGH
@given(histories, st.integers(1, 6))
def test_every_record_is_handed_on_once_and_in_its_partition_s_order(
    history: list[Take | Add], batch_max: int
) -> None:
    bench = Bench(batch_max)
    bench.play(history)
    bench.drain()
    assert [bench.taken(number) for number in range(3)] == bench.added
    assert all(flow.waiting_bytes == 0 for flow in bench.flows)


@THOROUGH
@given(histories, st.integers(1, 6))
def test_what_cannot_be_decoded_goes_by_itself(history: list[Take | Add], batch_max: int) -> None:
    bench = Bench(batch_max)
    bench.play(history)
    bench.drain()
    for batch in bench.batches:
        assert len(batch) <= batch_max
        assert len(batch) == 1 or not any(isinstance(piece.record, Unreadable) for piece in batch)


def test_the_only_record_of_a_partition_may_be_one_that_cannot_be_decoded() -> None:
    bench = Bench()
    bench.add(0, [None])
    bench.add(1, [b"v", b"v"])
    assert [len(bench.take()) for _ in range(3)] == [1, 2, 0]


@THOROUGH
@given(histories)
def test_something_is_handed_on_while_there_is_something(history: list[Take | Add]) -> None:
    bench = Bench()
    for step in history:
        waiting = bench.waiting
        bench.play([step])
        assert bench.lane.ready.is_set() or not bench.waiting
        if isinstance(step, Take):
            assert bench.batches[-1] or not waiting


@THOROUGH
@given(st.lists(st.integers(0, 2), min_size=1, max_size=30), st.integers(1, 4))
def test_partitions_that_wait_take_turns_of_a_batch(busy: list[int], batch_max: int) -> None:
    bench = Bench(batch_max)
    for number in range(3):
        bench.add(number, [b"v"] * batch_max * (len(busy) + 1))
    for number in busy:
        bench.add(number, [b"v"] * batch_max)
        bench.take()
    served = [len(bench.taken(number)) for number in range(3)]
    assert max(served) - min(served) <= batch_max, served


def test_a_lane_is_ready_while_batches_may_be_under_way() -> None:
    bench = Bench(batch_max=1, under_way_max=2)
    bench.add(0, [b"v"] * 9)
    ready = []
    for _ in range(3):
        bench.lane.begin()
        ready.append(bench.lane.ready.is_set())
    bench.lane.end()
    bench.lane.end()
    assert [*ready, bench.lane.ready.is_set()] == [True, False, False, True]


def test_of_an_assignment_that_ended_nothing_is_handed_on() -> None:
    bench = Bench()
    bench.add(0, [b"v"] * 3)
    bench.add(1, [b"v"])
    bench.flows[0].end()
    assert [piece.flow for piece in bench.take()] == [bench.flows[1]]
    assert bench.flows[0].waiting_bytes == 0


def test_the_bytes_that_wait_are_counted() -> None:
    bench = Bench(batch_max=1)
    bench.add(0, [b"abc", None, b"de"])
    counted = [bench.flows[0].waiting_bytes]
    for _ in range(3):
        bench.take()
        counted.append(bench.flows[0].waiting_bytes)
    assert counted == [5, 2, 2, 0]
    assert (size(MemoryRecord("t", 0, 0, b"abc")), size(object())) == (3, 0)
