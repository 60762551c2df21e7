from hypothesis import given
from hypothesis import strategies as st

from tests.unit.workers.engine.memory import MemoryRecord, MemorySource
from tests.unit.workers.engine.thorough import THOROUGH
from workers.engine.lane import Flow, Lane
from workers.engine.source import Partition, Unreadable
from workers.engine.tenants import Sharing, Tenant

P0, P1 = Partition("work", 0), Partition("work", 1)
BY_VALUE: Sharing[MemoryRecord] = Sharing(lambda record: Tenant(record.value, 1), quantum=3, cost_max=9)


def lane_of(batch_max: int, *, by_tenant: bool = False) -> Lane[MemoryRecord]:
    return Lane("bulk", MemorySource({}), batch_max, 2, BY_VALUE if by_tenant else None)


def records(partition: Partition, *values: bytes) -> list[MemoryRecord | Unreadable]:
    return [MemoryRecord(*partition, offset, value) for offset, value in enumerate(values)]


def handed_on(lane: Lane[MemoryRecord]) -> list[MemoryRecord | Unreadable]:
    taken: list[MemoryRecord | Unreadable] = []
    while batch := lane.next():
        taken += [piece.record for piece in batch]
    return taken


values = st.lists(st.sampled_from([b"a", b"b", b"cc"]), max_size=40)


@THOROUGH
@given(values, values, st.integers(1, 7), st.booleans())
def test_a_revoked_flow_takes_its_own_records_and_no_other(
    first: list[bytes], second: list[bytes], batch_max: int, by_tenant: bool
) -> None:
    lane = lane_of(batch_max, by_tenant=by_tenant)
    gone, kept = Flow(P0, lane), Flow(P1, lane)
    lane.add(gone, records(P0, *first))
    lane.add(kept, records(P1, *second))
    before = [piece.record for piece in lane.next()]
    gone.end()
    assert gone.waiting_bytes == 0
    assert lane.ready.is_set() == (len([r for r in before if r.partition == 1]) < len(second))
    after = handed_on(lane)
    assert all(record.partition == 1 for record in after)
    assert {r.offset for r in before + after if r.partition == 1} == set(range(len(second)))
    assert kept.waiting_bytes == 0


@THOROUGH
@given(values, values, st.integers(1, 7))
def test_without_tenants_each_partition_keeps_its_order(
    first: list[bytes], second: list[bytes], batch_max: int
) -> None:
    lane = lane_of(batch_max)
    lane.add(Flow(P0, lane), records(P0, *first))
    lane.add(Flow(P1, lane), records(P1, *second))
    taken = handed_on(lane)
    for partition, given_values in ((0, first), (1, second)):
        assert [r.offset for r in taken if r.partition == partition] == list(range(len(given_values)))


def test_partitions_take_turns_of_one_batch() -> None:
    lane = lane_of(2)
    lane.add(Flow(P0, lane), records(P0, *[b"x"] * 5))
    lane.add(Flow(P1, lane), records(P1, *[b"x"] * 3))
    batches = [[piece.record.partition for piece in lane.next()] for _ in range(4)]
    assert batches == [[0, 0], [1, 1], [0, 0], [1, 0]]


def test_what_cannot_be_decoded_goes_by_itself_whoever_else_waits() -> None:
    lane = lane_of(10, by_tenant=True)
    bad = Unreadable("work", 0, 2, "UnicodeDecodeError")
    lane.add(Flow(P0, lane), [*records(P0, b"a", b"b"), bad])
    lane.add(Flow(P1, lane), records(P1, b"a"))
    batches = [[piece.record for piece in lane.next()] for _ in range(3)]
    assert [bad] in batches
    assert sorted(map(len, batches)) == [0, 1, 3]


def test_only_what_may_be_handed_on_makes_a_lane_ready() -> None:
    lane = lane_of(1)
    flow = Flow(P0, lane)
    assert not lane.ready.is_set()
    lane.add(flow, records(P0, b"x", b"x", b"x"))
    for is_ready in (True, False):
        assert len(lane.next()) == 1
        lane.begin()
        assert lane.ready.is_set() == is_ready
    lane.end()
    assert lane.ready.is_set()
