"""A pump that lets another have its records: finished when both have done with them, begun at once or not."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import pytest

from tests.unit.workers.engine.memory import MemoryPlaces, MemoryRecord, MemorySource
from tests.unit.workers.engine.test_pump import LIMITS, P0, Away, Poisoned
from tests.unit.workers.engine.turning import until
from workers.engine.pump import Pump
from workers.engine.slots import Slots
from workers.engine.tenants import Claim, Sharing, Tenant

Doing = Callable[[MemoryRecord], Awaitable[Awaitable[None] | None]]


class Pair:
    """A pump that lends all that it reads, and one that borrows and runs `do`. What is not taken is kept."""

    def __init__(
        self, values: Sequence[bytes], do: Doing, slots: int = 9, places: int = 9, span_max: int = 100
    ) -> None:
        self.source, self.other = MemorySource({P0: [*values]}), MemorySource({})
        self.refused: list[int] = []
        self.fails_once = False
        """The lender is to handle its first batch a second time."""
        self.slots = Slots(slots, {"bulk": 1})
        self.poison = Poisoned()
        self.places = MemoryPlaces({"x": places})
        sharing = Sharing(_claim, quantum=8, cost_max=128, places=self.places)
        limits = replace(LIMITS, revoke_wait_s=0.05)
        self.lender: Pump[MemoryRecord] = Pump(
            "lender", {"bulk": self.source}, self._lend, Poisoned(), Slots(9, {"bulk": 1}), limits
        )
        self.borrower: Pump[MemoryRecord] = Pump(
            "borrower",
            {"bulk": self.other},
            lambda records: do(records[0]),
            self.poison,
            self.slots,
            replace(limits, batch_max=1, under_way_max=1000),
            sharing=sharing,
        )

    async def _lend(self, records: Sequence[MemoryRecord]) -> None:
        for record in records:
            if not self.lend(record):
                self.refused.append(record.offset)
        if self.fails_once:
            self.fails_once = False
            raise Away

    def lend(self, record: MemoryRecord) -> bool:
        return self.lender.lend(record, lambda flow: self.borrower.borrow("bulk", flow, record))

    def has_offered(self, count: int) -> bool:
        """Where nothing that is lent ends."""
        return len(self.refused) + self.slots.in_use == count

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await self.borrower.start()
        await self.lender.start()
        try:
            yield
        finally:
            await asyncio.gather(self.lender.stop(5), self.borrower.stop(5))


class Gated:
    """Does nothing until the gate is open."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()

    async def __call__(self, record: MemoryRecord) -> None:
        await self.gate.wait()


def _claim(record: MemoryRecord) -> Claim:
    return Claim(Tenant(b"", 1), "x")


async def test_a_record_is_finished_when_both_pumps_have_done_with_it() -> None:
    gate = asyncio.Event()

    async def do(record: MemoryRecord) -> None:
        if record.value == b"slow":
            await gate.wait()

    pair = Pair([b"slow", b"quick"], do)
    async with pair.running():
        await until(lambda: pair.slots.in_use == 1)
        await until(lambda: bool(pair.source.commits) or pair.lender.backlog == 2)
        assert pair.source.committed.get(P0, 0) == 0
        gate.set()
        await until(lambda: pair.source.committed.get(P0) == 2)
    assert pair.refused == []
    assert not +pair.places.taken


@pytest.mark.parametrize(("slots", "places"), [(2, 9), (9, 2)])
async def test_what_would_wait_is_not_taken(slots: int, places: int) -> None:
    do = Gated()
    pair = Pair([b"a"] * 5, do, slots, places)
    async with pair.running():
        await until(lambda: len(pair.refused) == 3)
        assert pair.slots.in_use == 2
        do.gate.set()
        await until(lambda: pair.source.committed.get(P0) == 5)
    assert pair.places.in_line == {}
    assert not +pair.places.taken


async def test_what_comes_after_those_that_wait_for_a_place_does_not_pass_them() -> None:
    """A place that is free for a moment belongs to who waits in line for it."""
    do = Gated()
    pair = Pair([], do, places=0)
    async with pair.running():
        pair.other.logs[P0] = [b"waits"]
        await pair.other.give(P0)
        await until(lambda: bool(pair.places.in_line))
        pair.places.free["x"] = 1
        pair.source.append(P0, b"later")
        await until(lambda: pair.refused == [0])
        do.gate.set()


async def test_what_is_to_wait_for_something_is_done_again() -> None:
    tries = 0

    async def do(record: MemoryRecord) -> Awaitable[None] | None:
        nonlocal tries
        tries += 1
        return asyncio.sleep(0) if tries < 3 else None

    pair = Pair([b"a"], do)
    async with pair.running():
        await until(lambda: pair.source.committed.get(P0) == 1)
    assert tries == 3


async def test_what_fails_is_poison_to_the_borrower_and_finished() -> None:
    async def do(record: MemoryRecord) -> None:
        raise ZeroDivisionError

    pair = Pair([b"a"], do)
    async with pair.running():
        await until(lambda: pair.source.committed.get(P0) == 1)
    assert [record.offset for record in pair.poison.records] == [0]


async def test_a_revocation_waits_a_while_and_a_late_end_commits_nothing() -> None:
    do = Gated()
    pair = Pair([b"a"], do)
    async with pair.running():
        await until(lambda: pair.slots.in_use == 1)
        await pair.source.take(P0)
        do.gate.set()
        await until(lambda: pair.slots.in_use == 0)
        assert pair.source.committed.get(P0, 0) == 0
    assert pair.source.committed.get(P0, 0) == 0


async def test_a_revocation_commits_what_ends_soon() -> None:
    do = Gated()
    pair = Pair([b"a"], do)
    async with pair.running():
        await until(lambda: pair.slots.in_use == 1)
        revoking = asyncio.create_task(pair.source.take(P0))
        await asyncio.sleep(0)
        do.gate.set()
        await revoking
        assert pair.source.committed == {P0: 1}


async def test_a_revocation_commits_nothing_of_what_was_to_be_done_again() -> None:
    gate = asyncio.Event()

    async def do(record: MemoryRecord) -> Awaitable[None]:
        await gate.wait()
        return asyncio.sleep(0)

    pair = Pair([b"a"], do)
    async with pair.running():
        await until(lambda: pair.slots.in_use == 1)
        revoking = asyncio.create_task(pair.source.take(P0))
        await asyncio.sleep(0)
        gate.set()
        await revoking
        assert pair.source.committed.get(P0, 0) == 0


async def test_nothing_is_lent_of_an_assignment_that_is_over_or_to_a_pump_that_ends() -> None:
    async def do(record: MemoryRecord) -> None: ...

    pair = Pair([b"a"], do)
    async with pair.running():
        await until(lambda: pair.source.committed.get(P0) == 1)
        assert pair.lend(MemoryRecord("another", 0, 0, b"a")) is False
        await pair.borrower.stop(5)
        pair.source.append(P0, b"b")
        await until(lambda: pair.refused == [1])
        await pair.source.take(P0)
        assert pair.lend(MemoryRecord(*P0, 0, b"a")) is False


async def test_nothing_is_lent_of_what_another_had_done_with_before_the_partition_came_back() -> None:
    """Whoever had it may have ended the job, and its record comes no more."""
    do = Gated()
    pair = Pair([b"a"], do)
    async with pair.running():
        await until(lambda: pair.slots.in_use == 1)
        await pair.source.take(P0)
        pair.source.committed[P0] = 1
        pair.source.append(P0, b"b")
        await pair.source.give(P0)
        await until(lambda: pair.slots.in_use == 2)
        assert pair.lend(MemoryRecord(*P0, 0, b"a")) is False
        assert pair.lend(MemoryRecord(*P0, 2, b"c")) is False
        do.gate.set()
        await until(lambda: pair.source.committed[P0] == 2)


async def test_nothing_is_lent_where_much_is_unfinished() -> None:
    """So that calls that last do not bring the reader to a stand by themselves."""
    do = Gated()
    pair = Pair([], do, slots=100, places=100)
    async with pair.running():
        for count in range(1, 81):
            pair.source.append(P0, b"a")
            await until(partial(pair.has_offered, count))
        assert pair.slots.in_use == LIMITS.span_max // 2
        do.gate.set()
        await until(lambda: pair.source.committed.get(P0) == 80)


async def test_what_is_done_behind_a_call_is_no_lag() -> None:
    gate = asyncio.Event()

    async def do(record: MemoryRecord) -> None:
        if record.value == b"slow":
            await gate.wait()

    pair = Pair([b"slow", b"a", b"a", b"slow"], do)
    async with pair.running():
        await until(lambda: pair.slots.in_use == 2)
        await until(lambda: pair.lender.lag("bulk") == 2)
        assert pair.lender.backlog == 4
        gate.set()
        await until(lambda: pair.lender.lag("bulk") == 0)


async def test_what_is_lent_twice_is_finished_when_all_have_done_with_it() -> None:
    gates = [asyncio.Event(), asyncio.Event()]
    begun: list[MemoryRecord] = []

    async def do(record: MemoryRecord) -> None:
        begun.append(record)
        await gates[len(begun) - 1].wait()

    pair = Pair([b"a"], do)
    pair.fails_once = True
    async with pair.running():
        await until(lambda: len(begun) == 2)
        gates[0].set()
        await until(lambda: pair.slots.in_use == 1)
        assert pair.source.committed.get(P0, 0) == 0
        gates[1].set()
        await until(lambda: pair.source.committed.get(P0) == 1)
