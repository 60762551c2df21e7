import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from tests.unit.workers.engine.memory import MemoryPlaces, MemoryRecord, MemorySource
from tests.unit.workers.engine.turning import until
from workers.engine.limits import Limits
from workers.engine.pump import Pump
from workers.engine.slots import Slots
from workers.engine.source import Partition, Unreadable
from workers.engine.tenants import Claim, Sharing, Tenant

P0, P1 = Partition("work", 0), Partition("work", 1)
LIMITS = Limits(batch_max=10, under_way_max=4, span_max=100, commit_interval_s=0.01, fetch_wait_ms=20)


def by_value(record: MemoryRecord) -> Claim:
    return Claim(Tenant(record.value, 1))


BY_VALUE: Sharing[MemoryRecord] = Sharing(by_value, quantum=8, cost_max=128)
Handle = Callable[[Sequence[MemoryRecord]], Awaitable[Awaitable[None] | None]]


class Away(Exception):
    retryable = True


class Poisoned:
    def __init__(self) -> None:
        self.records: list[MemoryRecord | Unreadable] = []

    async def __call__(self, record: MemoryRecord | Unreadable, error: BaseException | None) -> None:
        self.records.append(record)


@asynccontextmanager
async def pumping(
    source: MemorySource,
    handle: Handle,
    limits: Limits = LIMITS,
    slots: int = 100,
    sharing: Sharing[MemoryRecord] | None = None,
) -> AsyncIterator[tuple[Pump[MemoryRecord], Poisoned]]:
    poison = Poisoned()
    pump: Pump[MemoryRecord] = Pump(
        "test", {"bulk": source}, handle, poison, Slots(slots, {"bulk": 1}), limits, sharing=sharing
    )
    await pump.start()
    try:
        yield pump, poison
    finally:
        await pump.stop(5)


async def test_every_record_is_handled_and_committed() -> None:
    source = MemorySource({P0: [b"%d" % n for n in range(95)], P1: [b"x"] * 3})
    seen: list[MemoryRecord] = []

    async def handle(records: Sequence[MemoryRecord]) -> None:
        seen.extend(records)

    async with pumping(source, handle):
        await until(lambda: source.committed == {P0: 95, P1: 3})
    assert len(seen) == 98
    assert source.stopped


async def test_a_commit_stops_before_unfinished_work() -> None:
    source = MemorySource({P0: [b"slow", b"fast", b"fast"]})
    gate = asyncio.Event()

    async def handle(records: Sequence[MemoryRecord]) -> None:
        if records[0].value == b"slow":
            await gate.wait()

    async with pumping(source, handle, replace(LIMITS, batch_max=1)) as (pump, _):
        await until(lambda: pump.slots.in_use == 1 and pump.backlog == 3)
        await until(lambda: len(source.commits) == 0 or source.committed[P0] == 0)
        gate.set()
        await until(lambda: source.committed.get(P0) == 3)


async def test_what_is_away_is_waited_for() -> None:
    source = MemorySource({P0: [b"a"]})
    tries = 0

    async def handle(records: Sequence[MemoryRecord]) -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise Away

    async with pumping(source, handle) as (_, poison):
        await until(lambda: source.committed.get(P0) == 1)
    assert tries == 3
    assert poison.records == []


async def test_one_bad_record_does_not_hold_up_its_batch() -> None:
    source = MemorySource({P0: [b"good", b"bad", b"good"]})
    handled: list[int] = []

    async def handle(records: Sequence[MemoryRecord]) -> None:
        if any(record.value == b"bad" for record in records):
            raise ZeroDivisionError
        handled.extend(record.offset for record in records)

    async with pumping(source, handle) as (_, poison):
        await until(lambda: source.committed.get(P0) == 3)
    assert handled == [0, 2]
    assert [record.offset for record in poison.records] == [1]


async def test_an_unreadable_record_is_passed_over_and_kept() -> None:
    source = MemorySource({P0: [b"a", None, b"b"]})
    handled: list[int] = []

    async def handle(records: Sequence[MemoryRecord]) -> None:
        handled.extend(record.offset for record in records)

    async with pumping(source, handle) as (_, poison):
        await until(lambda: source.committed.get(P0) == 3)
    assert handled == [0, 2]
    assert poison.records == [Unreadable("work", 0, 1, "UnicodeDecodeError")]


async def test_order_is_kept_when_one_batch_at_a_time_is_under_way() -> None:
    source = MemorySource({P0: [b"%d" % n for n in range(50)]})
    handled: list[int] = []
    failures = iter([True, False] * 100)

    async def handle(records: Sequence[MemoryRecord]) -> None:
        if next(failures):
            raise Away
        await asyncio.sleep(0)
        handled.extend(record.offset for record in records)

    async with pumping(source, handle, replace(LIMITS, under_way_max=1)):
        await until(lambda: source.committed.get(P0) == 50)
    assert handled == list(range(50))


async def test_a_wait_holds_no_slot_and_comes_round_again() -> None:
    source = MemorySource({P0: [b"later", b"now"]})
    gate = asyncio.Event()
    handled: list[bytes] = []

    async def opened() -> None:
        await gate.wait()

    async def handle(records: Sequence[MemoryRecord]) -> Awaitable[None] | None:
        if records[0].value == b"later" and not gate.is_set():
            return opened()
        handled.append(records[0].value)
        return None

    async with pumping(source, handle, replace(LIMITS, batch_max=1), slots=1):
        await until(lambda: handled == [b"now"])
        gate.set()
        await until(lambda: source.committed.get(P0) == 2)
    assert handled == [b"now", b"later"]


def by_resource(record: MemoryRecord) -> Claim:
    """`x/...` takes a place at x; what takes none names none."""
    resource, _, _ = record.value.partition(b"/")
    return Claim(Tenant(resource, 1), resource.decode() or None)


def at_places(places: MemoryPlaces) -> Sharing[MemoryRecord]:
    return Sharing(by_resource, quantum=1, cost_max=1, places=places)


ONE_AT_A_TIME = replace(LIMITS, batch_max=1, under_way_max=3)


async def test_what_waits_for_a_resource_holds_up_nothing_else() -> None:
    source = MemorySource({P0: [*[b"x/"] * 20, *[b"y/"] * 5, b"/"]})
    places = MemoryPlaces({"x": 0, "y": 1})
    handled: list[bytes] = []

    async def handle(records: Sequence[MemoryRecord]) -> None:
        assert sum(places.taken.values()) <= 3
        handled.extend(record.value for record in records)

    async with pumping(source, handle, ONE_AT_A_TIME, sharing=at_places(places)) as (pump, _):
        await until(lambda: sorted(handled) == [b"/", *[b"y/"] * 5])
        await until(lambda: pump.slots.in_use == 0)
        assert (pump.waiting("bulk", "x"), pump.waiting("bulk", "y")) == (20, 0)
        places.open("x", 2)
        await until(lambda: source.committed.get(P0) == 26)
    assert not +places.taken
    assert places.in_line == {}


async def test_a_wait_holds_no_place_and_goes_before_what_came_later() -> None:
    source = MemorySource({P0: [b"x/first", *[b"x/next"] * 3]})
    places = MemoryPlaces({"x": 1})
    gate = asyncio.Event()
    handled: list[bytes] = []

    async def opened() -> None:
        await gate.wait()

    async def handle(records: Sequence[MemoryRecord]) -> Awaitable[None] | None:
        if records[0].value == b"x/first" and not gate.is_set():
            return opened()
        handled.append(records[0].value)
        if len(handled) == 1:
            places.free["x"] -= 1
        return None

    async with pumping(source, handle, ONE_AT_A_TIME, sharing=at_places(places)) as (pump, _):
        await until(lambda: len(handled) == 1 and pump.waiting("bulk", "x") == 2)
        gate.set()
        await until(lambda: pump.waiting("bulk", "x") == 3)
        places.open("x", 1)
        await until(lambda: source.committed.get(P0) == 4)
    assert handled == [b"x/next", b"x/first", b"x/next", b"x/next"]


async def test_what_needs_no_place_any_more_goes_on_without() -> None:
    source = MemorySource({P0: [b"x/a", b"x/b"]})
    places = MemoryPlaces({"x": 0})
    over: list[bytes] = []
    handled: list[bytes] = []

    def claim(record: MemoryRecord) -> Claim:
        return Claim(Tenant(b"", 1), None if record.value in over else "x")

    async def handle(records: Sequence[MemoryRecord]) -> None:
        handled.extend(record.value for record in records)

    sharing = Sharing(claim, quantum=1, cost_max=1, places=places)
    async with pumping(source, handle, ONE_AT_A_TIME, sharing=sharing) as (pump, _):
        await until(lambda: pump.waiting("bulk", "x") == 2)
        over.append(b"x/b")
        await until(lambda: handled == [b"x/b"])
        over.append(b"x/a")
        await until(lambda: source.committed.get(P0) == 2)
    assert places.in_line == {}


async def test_neither_a_stop_nor_a_revocation_keeps_a_place() -> None:
    source = MemorySource({P0: [b"x/"] * 9, P1: [b"x/"] * 9})
    places = MemoryPlaces({"x": 4})

    async def handle(records: Sequence[MemoryRecord]) -> None:
        await asyncio.Event().wait()

    sharing, slots = at_places(places), Slots(2, {"bulk": 1})
    limits = replace(ONE_AT_A_TIME, revoke_wait_s=0.01)
    pump: Pump[MemoryRecord] = Pump(
        "test", {"bulk": source}, handle, Poisoned(), slots, limits, sharing=sharing
    )
    await pump.start()
    await until(lambda: slots.in_use == 2 and pump.backlog == 18 and places.taken["x"] == 3)
    await source.take(P0)
    assert places.taken["x"] >= 2
    assert await pump.stop(0.05) is False
    assert not +places.taken
    assert places.in_line == {}


async def test_what_waits_without_a_slot_is_left_to_others_at_the_stop() -> None:
    source = MemorySource({P0: [b"done", b"later", b"done"]})

    async def endless() -> None:
        await asyncio.Event().wait()

    async def handle(records: Sequence[MemoryRecord]) -> Awaitable[None] | None:
        return endless() if records[0].value == b"later" else None

    limits, slots = replace(LIMITS, batch_max=1), Slots(9, {"bulk": 1})
    pump: Pump[MemoryRecord] = Pump("test", {"bulk": source}, handle, Poisoned(), slots, limits)
    await pump.start()
    await until(lambda: source.committed.get(P0) == 1 and slots.in_use == 0)
    assert await pump.stop(60) is True
    assert source.committed == {P0: 1}


async def test_a_revoked_partition_commits_what_is_done_and_no_more() -> None:
    source = MemorySource({P0: [b"done", b"stuck"]})
    gate = asyncio.Event()

    async def handle(records: Sequence[MemoryRecord]) -> None:
        if records[0].value == b"stuck":
            await gate.wait()

    limits = replace(LIMITS, batch_max=1, revoke_wait_s=0.05, commit_interval_s=60)
    async with pumping(source, handle, limits) as (pump, _):
        await until(lambda: pump.slots.in_use == 1)
        await source.take(P0)
        assert source.committed == {P0: 1}
        gate.set()
        await until(lambda: pump.slots.in_use == 0)
        assert source.committed == {P0: 1}


async def test_a_partition_that_comes_back_starts_a_new_tracker() -> None:
    source = MemorySource({P0: [b"a", b"b"]})
    handled: list[int] = []

    async def handle(records: Sequence[MemoryRecord]) -> None:
        handled.extend(record.offset for record in records)

    async with pumping(source, handle):
        await until(lambda: source.committed.get(P0) == 2)
        await source.take(P0)
        source.append(P0, b"c")
        await source.give(P0)
        await until(lambda: source.committed.get(P0) == 3)
    assert handled == [0, 1, 2]


async def test_stop_reports_what_did_not_end_in_time() -> None:
    source = MemorySource({P0: [b"endless"]})

    async def handle(records: Sequence[MemoryRecord]) -> None:
        await asyncio.Event().wait()

    pump: Pump[MemoryRecord] = Pump(
        "test", {"bulk": source}, handle, Poisoned(), Slots(1, {"bulk": 1}), LIMITS
    )
    await pump.start()
    await until(lambda: pump.slots.in_use == 1)
    assert await pump.stop(0.05) is False
    assert source.committed.get(P0, 0) == 0


async def test_stop_ends_though_neither_commit_nor_leaving_does() -> None:
    class Silent(MemorySource):
        async def commit(self, offsets: Mapping[Partition, int]) -> None:
            await asyncio.Event().wait()

        async def stop(self) -> None:
            await asyncio.Event().wait()

    async def handle(records: Sequence[MemoryRecord]) -> None:
        handled.extend(records)

    handled: list[MemoryRecord] = []
    lanes = {"bulk": Silent({P0: [b"a"]}), "batch": Silent({P1: [b"b"]})}
    limits = replace(LIMITS, leave_s=0.01)
    slots = Slots(9, {"bulk": 1, "batch": 1})
    pump: Pump[MemoryRecord] = Pump("test", lanes, handle, Poisoned(), slots, limits)
    await pump.start()
    await until(lambda: len(handled) == 2)
    assert await pump.stop(5) is True


async def test_a_full_partition_is_not_read_on() -> None:
    source = MemorySource({P0: [b"x"] * 50})
    gate = asyncio.Event()

    async def handle(records: Sequence[MemoryRecord]) -> None:
        await gate.wait()

    async with pumping(source, handle, replace(LIMITS, span_max=20, under_way_max=100)) as (pump, _):
        await until(lambda: pump.backlog >= 20)
        assert pump.backlog <= 30
        gate.set()
        await until(lambda: source.committed.get(P0) == 50)


async def test_readiness_names_a_part_that_is_away() -> None:
    source = MemorySource({P0: [b"a"]})

    async def handle(records: Sequence[MemoryRecord]) -> None:
        raise Away

    async with pumping(source, handle) as (pump, _):
        await until(lambda: "away" in (pump.stalled(0.0) or ""))


async def test_what_gathers_on_several_partitions_goes_in_one_batch() -> None:
    source = MemorySource({P0: [b"first"], P1: []})
    gate = asyncio.Event()
    batches: list[list[tuple[int, bytes]]] = []

    async def handle(records: Sequence[MemoryRecord]) -> None:
        batches.append([(record.partition, record.value) for record in records])
        await gate.wait()

    async with pumping(source, handle, replace(LIMITS, under_way_max=1)) as (pump, _):
        await until(lambda: len(batches) == 1)
        source.append(P0, b"a", b"b")
        source.append(P1, b"c")
        await until(lambda: pump.backlog == 4)
        gate.set()
        await until(lambda: source.committed == {P0: 3, P1: 1})
    assert sorted(batches[1]) == [(0, b"a"), (0, b"b"), (1, b"c")]


async def test_a_batch_that_waits_for_slots_loses_what_is_revoked_meanwhile() -> None:
    source = MemorySource({P0: [b"busy"], P1: [b"taken away"]})
    gate = asyncio.Event()
    handled: list[bytes] = []

    async def handle(records: Sequence[MemoryRecord]) -> None:
        handled.extend(record.value for record in records)
        await gate.wait()

    async with pumping(source, handle, replace(LIMITS, batch_max=1), slots=1) as (pump, _):
        await until(lambda: len(handled) == 1 and pump.backlog == 2)
        other = P1 if handled == [b"busy"] else P0
        await source.take(other)
        gate.set()
        await until(lambda: pump.slots.in_use == 0 and len(source.committed) == 1)
    assert len(handled) == 1


async def test_a_tenant_of_few_records_is_served_in_the_first_rounds_of_a_flood() -> None:
    flood: list[bytes | None] = [b"flood"] * 1_000
    source = MemorySource({P0: [*flood, b"few", b"few"], P1: [*flood, b"few", b"few", b"few"]})
    everything = asyncio.Event()
    handled: list[bytes] = []

    async def handle(records: Sequence[MemoryRecord]) -> None:
        await everything.wait()
        handled.extend(record.value for record in records)

    limits = replace(LIMITS, batch_max=1, span_max=2_000)
    async with pumping(source, handle, limits, 1, BY_VALUE) as (pump, _):
        await until(lambda: pump.backlog == 2_005)
        everything.set()
        await until(lambda: source.committed == {P0: 1_002, P1: 1_003})
    assert handled[:20].count(b"few") == 5
    assert len(handled) == 2_005


async def test_behind_a_flood_beyond_the_read_ahead_a_record_waits_for_the_rest_of_it() -> None:
    source = MemorySource({P0: [*[b"flood"] * 300, b"few"]})
    everything = asyncio.Event()
    handled: list[bytes] = []

    async def handle(records: Sequence[MemoryRecord]) -> None:
        await everything.wait()
        handled.extend(record.value for record in records)

    limits = replace(LIMITS, batch_max=1, span_max=100)
    async with pumping(source, handle, limits, 1, BY_VALUE) as (pump, _):
        await until(lambda: pump.backlog == 100)
        everything.set()
        await until(lambda: source.committed == {P0: 301})
    assert 200 < handled.index(b"few") < 220
