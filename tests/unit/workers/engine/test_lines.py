"""Lines: what waits for a place holds up nothing else, no place is lost, and tenants share as in one line."""

from collections import Counter, defaultdict, deque
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.workers.engine.memory import MemoryPlaces
from tests.unit.workers.engine.thorough import THOROUGH
from workers.engine.lines import Lines
from workers.engine.tenants import Claim, Tenant, Tenants

RESOURCES = ("x", "y")
QUANTUM, COST_MAX = 4, 6


class Item(NamedTuple):
    tenant: str
    resource: str | None
    cost: int
    number: int


class Push(NamedTuple):
    tenant: str
    resource: str | None
    cost: int


class Open(NamedTuple):
    resource: str
    more: int


class Drop(NamedTuple):
    tenant: str


class Busy(NamedTuple):
    """Whether more than one place at a time is of use."""

    is_busy: bool


TAKE, END, HEAD = "take", "end", "head"
Event = Push | Open | Drop | Busy | str
tenants = st.sampled_from("abc")
events = st.one_of(
    st.builds(Push, tenants, st.sampled_from([None, *RESOURCES]), st.integers(1, COST_MAX)),
    st.sampled_from([TAKE, TAKE, END, HEAD]),
    st.builds(Open, st.sampled_from(RESOURCES), st.integers(1, 3)),
    st.builds(Drop, tenants),
    st.builds(Busy, st.booleans()),
)


class Bench:
    def __init__(self, free: Sequence[int] = (0, 0)) -> None:
        self.places = MemoryPlaces(dict(zip(RESOURCES, free, strict=True)))
        self.lines: Lines[Item] = Lines(
            "bulk",
            lambda: Tenants(QUANTUM, COST_MAX),
            self.places,
            lambda: self.woken.append(True),
            lambda: not self.is_busy,
        )
        self.is_busy = False
        self.woken: list[bool] = []
        self.waiting: dict[tuple[str, Hashable], deque[Item]] = defaultdict(deque)
        self.under_way: deque[Item] = deque()
        self._number = 0

    def push(self, tenant: str, resource: str | None, cost: int = 1) -> None:
        self._number += 1
        item = Item(tenant, resource, cost, self._number)
        self.lines.push(Claim(Tenant(tenant, cost), resource), item)
        self.waiting[tenant, resource].append(item)

    def take(self) -> Item | None:
        head = self.lines.head()
        if head is None:
            return None
        item = self.lines.take()
        assert item is head
        assert self.waiting[item.tenant, item.resource].popleft() is item
        self.under_way.append(item)
        return item

    def end(self) -> None:
        if self.under_way and (item := self.under_way.popleft()).resource is not None:
            self.places.leave(item.resource, "bulk")

    def play(self, event: Event) -> None:
        match event:
            case Push():
                self.push(*event)
            case Open(resource, more):
                self.places.open(resource, more)
            case Drop(tenant):
                dropped = self.lines.drop(lambda item: item.tenant == tenant)
                mine = [self.waiting.pop(key) for key in list(self.waiting) if key[0] == tenant]
                assert set(dropped) == {item for queue in mine for item in queue}
            case Busy(is_busy):
                self.is_busy = is_busy
                if is_busy:
                    self.lines.give_back()
            case "end":
                self.end()
            case "head":
                self.lines.head()
            case _:
                self.take()

    def number(self, resource: str | None) -> int:
        return sum(len(queue) for (_, at), queue in self.waiting.items() if at == resource)


@THOROUGH
@given(st.lists(events, max_size=80))
def test_each_has_its_place_and_its_turn_and_no_place_is_lost(course: list[Event]) -> None:
    bench = Bench()
    for event in course:
        bench.play(event)
        for resource in RESOURCES:
            under_way = sum(item.resource == resource for item in bench.under_way)
            assert bench.lines.waiting(resource) == bench.number(resource)
            assert under_way <= bench.places.taken[resource] <= under_way + bench.number(resource)
    bench.is_busy = False
    for resource in RESOURCES:
        bench.places.open(resource, 1)
    while bench.take() is not None or bench.under_way:
        bench.end()
    assert not any(bench.waiting.values())
    assert not bench.lines
    assert bench.places.in_line == {}
    assert not +bench.places.taken


@THOROUGH
@given(st.lists(events, max_size=80))
def test_whatever_can_be_handed_on_is(course: list[Event]) -> None:
    bench = Bench()
    for event in course:
        bench.play(event)
        free = [resource for resource in RESOURCES if bench.places.free[resource] > 0]
        able = [resource for resource in (None, *free) if bench.number(resource)]
        assert bool(bench.lines) or not able
        if event == TAKE and able and bench.take() is None:
            raise AssertionError(able)


@THOROUGH
@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=30), st.integers(0, 40))
def test_what_stands_still_holds_up_nothing(others: list[str], flood: int) -> None:
    bench = Bench((0, 100))
    for _ in range(flood):
        bench.push("a", "x")
    for tenant in others:
        bench.push(tenant, "y")
    served = [bench.take() for _ in others]
    assert {item.resource for item in served if item is not None} == {"y"}
    assert sorted(item.tenant for item in served if item is not None) == sorted(others)
    assert bench.take() is None
    assert len(list(bench.lines.still())) == flood


def test_who_waits_for_one_resource_is_served_in_turn() -> None:
    """As places become free, one by one, behind a flood of another's."""
    bench = Bench((1, 0))
    for _ in range(50):
        bench.push("flood", "x")
    assert bench.take() is not None
    assert bench.take() is None
    for _ in range(3):
        bench.push("few", "x")
    served: list[str] = []
    while len(served) < 14:
        bench.end()
        item = bench.take()
        assert item is not None
        served.append(item.tenant)
    assert served.count("few") == 3


def test_slots_are_shared_as_though_all_stood_in_one_line() -> None:
    """Three tenants of one resource, one of another, and one that takes no place."""
    bench = Bench((1_000, 1_000))
    for tenant, resource in (("a", "x"), ("b", "x"), ("c", "x"), ("d", "y"), ("e", None)):
        for _ in range(100):
            bench.push(tenant, resource)
    served = Counter(item.tenant for _ in range(250) if (item := bench.take()) is not None)
    assert all(abs(served[tenant] - 50) <= QUANTUM + 1 for tenant in "abcde"), served


def test_a_line_that_stood_still_has_saved_nothing_up() -> None:
    bench = Bench((0, 1_000))
    for tenant, resource in (("a", "x"), ("b", "y")):
        for _ in range(200):
            bench.push(tenant, resource)
    for _ in range(100):
        bench.take()
    bench.places.open("x", 1_000)
    served = Counter(item.tenant for _ in range(40) if (item := bench.take()) is not None)
    assert abs(served["a"] - served["b"]) <= 2


def test_while_it_cannot_hand_on_a_lane_keeps_one_place_and_no_more() -> None:
    bench = Bench()
    for _ in range(5):
        bench.push("a", "x")
    assert bench.take() is None
    bench.places.open("x", 3)
    assert bench.places.taken["x"] == 3
    bench.play(Busy(True))
    assert (bench.places.taken["x"], bench.places.free["x"]) == (1, 2)
    bench.is_busy = False
    assert [bench.take() is not None for _ in range(4)] == [True, True, True, False]


def test_what_is_put_back_is_first_of_its_tenant() -> None:
    bench = Bench((5, 0))
    for _ in range(3):
        bench.push("a", "x")
    item = bench.take()
    assert item is not None
    bench.lines.put_back(Claim(Tenant("a", 1), "x"), item)
    assert bench.lines.take() is item


def test_where_nothing_can_be_handed_on_nothing_is_taken() -> None:
    bench = Bench()
    bench.push("a", "x")
    with pytest.raises(IndexError):
        bench.lines.take()
    bench.places.open("x", 1)
    assert bench.woken == [True]
    assert bench.take() is not None
