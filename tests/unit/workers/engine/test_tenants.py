"""Deficit round robin, held to its rules under any costs, weights and order of events."""

from collections import Counter, defaultdict, deque
from collections.abc import Callable
from fractions import Fraction
from itertools import combinations, cycle
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.workers.engine.thorough import THOROUGH
from workers.engine.tenants import Tenant, Tenants

KEYS = "abcd"
COST_MAX = 20
keys = st.sampled_from(KEYS)
costs = st.integers(1, COST_MAX)
quanta = st.integers(1, 30)
weights = st.fixed_dictionaries(dict.fromkeys(KEYS, st.integers(1, 5)))
cost_cycles = st.fixed_dictionaries(dict.fromkeys(KEYS, st.lists(costs, min_size=1, max_size=6)))


class Item(NamedTuple):
    key: str
    cost: int
    flow: int
    number: int


class Push(NamedTuple):
    key: str
    cost: int
    flow: int


class Drop(NamedTuple):
    flow: int


TAKE = "take"
flows = st.integers(0, 2)
histories = st.lists(
    st.one_of(st.builds(Push, keys, costs, flows), st.just(TAKE), st.builds(Drop, flows)), max_size=80
)


def push(tenants: Tenants[Item], item: Item) -> None:
    tenants.push(Tenant(item.key, item.cost), item)


def of_flow(flow: int) -> Callable[[Item], bool]:
    return lambda item: item.flow == flow


@THOROUGH
@given(histories, quanta, weights)
def test_each_tenant_is_first_in_first_out_and_a_drop_takes_its_own_alone(
    history: list[Push | Drop | str], quantum: int, weight: dict[str, int]
) -> None:
    tenants: Tenants[Item] = Tenants(quantum, COST_MAX, lambda key: weight[str(key)])
    model: dict[str, deque[Item]] = defaultdict(deque)

    def take() -> None:
        head = tenants.head()
        assert tenants.take() is head
        assert model[head.key].popleft() is head

    for number, event in enumerate(history):
        match event:
            case Push(key, cost, flow):
                item = Item(key, cost, flow, number)
                push(tenants, item)
                model[key].append(item)
            case Drop(dropped):
                tenants.drop(of_flow(dropped))
                for key, queue in model.items():
                    model[key] = deque(item for item in queue if item.flow != dropped)
            case _ if tenants:
                take()
        assert bool(tenants) == any(model.values())
    while tenants:
        take()
    assert not any(model.values())
    with pytest.raises(IndexError):
        tenants.take()


@THOROUGH
@given(cost_cycles, quanta, weights, st.integers(20, 150))
def test_shares_come_out_as_weighted_while_all_wait(
    cost_cycle: dict[str, list[int]], quantum: int, weight: dict[str, int], takes: int
) -> None:
    tenants = backlogged(cost_cycle, quantum, weight, takes)
    served: Counter[str] = Counter()
    lowest: dict[tuple[str, str], Fraction] = defaultdict(Fraction)
    highest: dict[tuple[str, str], Fraction] = defaultdict(Fraction)
    for _ in range(takes):
        item = tenants.take()
        served[item.key] += item.cost
        for pair in combinations(KEYS, 2):
            one, other = (Fraction(served[key], weight[key]) for key in pair)
            assert abs(one - other) <= quantum + COST_MAX
            lowest[pair] = min(lowest[pair], one - other)
            highest[pair] = max(highest[pair], one - other)
    for pair, low in lowest.items():
        assert highest[pair] - low <= quantum + 2 * COST_MAX


def backlogged(
    cost_cycle: dict[str, list[int]], quantum: int, weight: dict[str, int], takes: int
) -> Tenants[Item]:
    """Nobody runs empty within `takes`."""
    tenants: Tenants[Item] = Tenants(quantum, COST_MAX, lambda key: weight[str(key)])
    for key in KEYS:
        for number, cost in zip(range(takes + 1), cycle(cost_cycle[key]), strict=False):
            push(tenants, Item(key, cost, 0, number))
    return tenants


@THOROUGH
@given(cost_cycles, quanta, weights, costs, st.integers(0, 30))
def test_nobody_starves_behind_floods(
    cost_cycle: dict[str, list[int]], quantum: int, weight: dict[str, int], cost: int, takes: int
) -> None:
    tenants = backlogged(cost_cycle, quantum, weight, takes)
    for _ in range(takes):
        tenants.take()
    late = Item("late", cost, 0, 0)
    weight["late"] = 1
    push(tenants, late)
    turns = -(-cost // quantum)
    served_before_max = sum(turns * quantum * weight[key] + COST_MAX for key in KEYS)
    served_before = 0
    while (item := tenants.take()) is not late:
        served_before += item.cost
        push(tenants, item)
        assert served_before <= served_before_max


@THOROUGH
@given(st.lists(costs, min_size=1, max_size=20), st.lists(costs, min_size=1, max_size=5), quanta)
def test_an_emptied_tenant_keeps_no_deficit(mine: list[int], others: list[int], quantum: int) -> None:
    tenants: Tenants[Item] = Tenants(quantum, COST_MAX)
    affordable = (min(cost, quantum) for cost in cycle(others))
    theirs = (Item("b", cost, 0, number) for number, cost in enumerate(affordable))
    push(tenants, next(theirs))
    for number, cost in enumerate(mine):
        push(tenants, Item("a", cost, 0, number))
    left = len(mine)
    while left:
        push(tenants, next(theirs))
        left -= tenants.take().key == "a"
    for number in range(quantum + 1):
        push(tenants, Item("a", 1, 0, number))
    while tenants.head().key != "a":
        push(tenants, next(theirs))
        tenants.take()
    push(tenants, next(theirs))
    run = 0
    while tenants.take().key == "a":
        run += 1
    assert run == quantum


def test_a_claim_beyond_the_bound_counts_as_the_bound() -> None:
    tenants: Tenants[str] = Tenants(quantum=1, cost_max=3)
    tenants.push(Tenant("a", 10**18), "huge")
    for _ in range(5):
        tenants.push(Tenant("b", -7), "small")
    order = [tenants.take() for _ in range(6)]
    assert order.index("huge") == 2


@pytest.mark.parametrize(("quantum", "cost_max"), [(0, 1), (1, 0)])
def test_a_bound_below_one_is_refused(quantum: int, cost_max: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Tenants(quantum, cost_max)


def test_a_weight_below_one_is_refused() -> None:
    tenants: Tenants[str] = Tenants(1, 1, lambda _: 0)
    with pytest.raises(ValueError, match="weight"):
        tenants.push(Tenant("a", 1), "x")
