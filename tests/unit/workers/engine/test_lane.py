"""A lane's batches: everything once, each line in its order, what cannot be decoded by itself.

A line is what keeps its order: a partition, or under a sharing a tenant.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.workers.engine.memory import MemoryRecord, MemorySource
from tests.unit.workers.engine.thorough import THOROUGH
from workers.engine.lane import Flow, Lane, Piece, size
from workers.engine.source import Partition, Unreadable
from workers.engine.tenants import Claim, Sharing, Tenant

Item = MemoryRecord | Unreadable
PARTITIONS = [Partition("work", number) for number in range(3)]


def by_value(record: MemoryRecord) -> Claim:
    return Claim(Tenant(record.value, 1))


BY_VALUE: Sharing[MemoryRecord] = Sharing(by_value, quantum=3, cost_max=9)


class Take(NamedTuple):
    """Ask for a batch."""


class Add(NamedTuple):
    """Records come in of a partition; None stands for one that cannot be decoded."""

    partition: int
    values: Sequence[bytes | None]


values = st.none() | st.sampled_from([b"a", b"b", b"cc"])
histories = st.lists(
    st.just(Take()) | st.builds(Add, st.integers(0, 2), st.lists(values, max_size=5)), max_size=40
)


class Bench:
    def __init__(self, batch_max: int = 4, under_way_max: int = 1, *, by_tenant: bool = False) -> None:
        sharing = BY_VALUE if by_tenant else None
        self.lane: Lane[MemoryRecord] = Lane("bulk", MemorySource({}), batch_max, under_way_max, sharing)
        self.by_tenant = by_tenant
        self.flows = [Flow(partition, self.lane, 1_000, 1 << 20) for partition in PARTITIONS]
        self.added: list[Item] = []
        self.batches: list[list[Piece[MemoryRecord]]] = []

    def add(self, number: int, values: Sequence[bytes | None]) -> None:
        place = PARTITIONS[number]
        start = sum(item.partition == number for item in self.added)
        items: list[Item] = [
            Unreadable(*place, offset, "E") if value is None else MemoryRecord(*place, offset, value)
            for offset, value in enumerate(values, start)
        ]
        self.added += items
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
        return len(self.added) - len(self.taken)

    @property
    def taken(self) -> list[Item]:
        return [piece.record for batch in self.batches for piece in batch]

    def offsets(self, number: int) -> list[int]:
        return [item.offset for item in self.taken if item.partition == number]

    def lines(self, items: Iterable[Item]) -> dict[bytes | int, list[Item]]:
        found: dict[bytes | int, list[Item]] = defaultdict(list)
        for item in items:
            if self.by_tenant and isinstance(item, MemoryRecord):
                found[item.value].append(item)
            else:
                found[item.partition].append(item)
        return found


@THOROUGH
@given(histories, st.integers(1, 6), st.booleans())
def test_every_record_is_handed_on_once_and_in_its_line_s_order(
    history: list[Take | Add], batch_max: int, by_tenant: bool
) -> None:
    bench = Bench(batch_max, by_tenant=by_tenant)
    bench.play(history)
    bench.drain()
    assert bench.lines(bench.taken) == bench.lines(bench.added)
    assert all(flow.waiting_bytes == 0 for flow in bench.flows)


@THOROUGH
@given(histories, st.integers(1, 6), st.booleans())
def test_what_cannot_be_decoded_goes_by_itself(
    history: list[Take | Add], batch_max: int, by_tenant: bool
) -> None:
    bench = Bench(batch_max, by_tenant=by_tenant)
    bench.play(history)
    bench.drain()
    for batch in bench.batches:
        assert len(batch) <= batch_max
        assert len(batch) == 1 or not any(isinstance(piece.record, Unreadable) for piece in batch)


@THOROUGH
@given(histories, st.booleans())
def test_something_is_handed_on_while_there_is_something(history: list[Take | Add], by_tenant: bool) -> None:
    bench = Bench(by_tenant=by_tenant)
    for step in history:
        waiting = bench.waiting
        bench.play([step])
        assert bench.lane.ready.is_set() or not bench.waiting
        if isinstance(step, Take):
            assert bench.batches[-1] or not waiting


@THOROUGH
@given(st.lists(values, max_size=40), st.lists(values, max_size=40), st.integers(1, 7), st.booleans())
def test_a_revoked_flow_takes_its_own_records_and_no_other(
    first: list[bytes | None], second: list[bytes | None], batch_max: int, by_tenant: bool
) -> None:
    bench = Bench(batch_max, by_tenant=by_tenant)
    bench.add(0, first)
    bench.add(1, second)
    bench.take()
    before = bench.offsets(0)
    gone, kept, _ = bench.flows
    gone.end()
    assert gone.waiting_bytes == 0
    assert bench.lane.ready.is_set() == (len(bench.offsets(1)) < len(second))
    bench.drain()
    assert bench.offsets(0) == before
    assert sorted(bench.offsets(1)) == list(range(len(second)))
    assert kept.waiting_bytes == 0


@THOROUGH
@given(st.lists(st.integers(0, 2), min_size=1, max_size=30), st.integers(1, 4))
def test_partitions_that_wait_take_turns_of_a_batch(busy: list[int], batch_max: int) -> None:
    bench = Bench(batch_max)
    for number in range(3):
        bench.add(number, [b"v"] * batch_max * (len(busy) + 1))
    for number in busy:
        bench.add(number, [b"v"] * batch_max)
        bench.take()
    served = [len(bench.offsets(number)) for number in range(3)]
    assert max(served) - min(served) <= batch_max, served


def test_a_batch_is_filled_up_from_the_next_partition() -> None:
    bench = Bench(batch_max=2)
    bench.add(0, [b"x"] * 5)
    bench.add(1, [b"x"] * 3)
    batches = [[piece.record.partition for piece in bench.take()] for _ in range(4)]
    assert batches == [[0, 0], [1, 1], [0, 0], [1, 0]]


def test_only_what_may_be_handed_on_makes_a_lane_ready() -> None:
    bench = Bench(batch_max=1, under_way_max=2)
    lane = bench.lane
    assert not lane.ready.is_set()
    bench.add(0, [b"x"] * 3)
    for is_ready in (True, False):
        assert len(bench.take()) == 1
        lane.begin()
        assert lane.ready.is_set() == is_ready
    lane.end()
    assert lane.ready.is_set()


def test_the_bytes_that_wait_are_counted() -> None:
    bench = Bench(batch_max=1)
    bench.add(0, [b"abc", None, b"de"])
    counted = [bench.flows[0].waiting_bytes]
    for _ in range(3):
        bench.take()
        counted.append(bench.flows[0].waiting_bytes)
    assert counted == [5, 2, 2, 0]
    assert (size(MemoryRecord("t", 0, 0, b"abc")), size(object())) == (3, 0)
