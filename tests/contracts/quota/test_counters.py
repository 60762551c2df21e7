"""What the gate says that its nodes count, on the embedded server and on Redis."""

import pytest

from broker.errors import GateClosed
from broker.quota.calendar import DAY_MS, MINUTE_MS
from broker.quota.counters import Amounts, NodeOf
from broker.quota.gate import StartRequest
from broker.quota.inspection import Held
from broker.quota.limits import Limits
from broker.quota.thresholds import Used
from schemas.state import month_of
from tests.contracts.quota.harness import (
    NOON_MS,
    ORGANIZATION,
    Bench,
    budget_of,
    granted,
    request,
    settle_of,
)

DAY, MINUTE = NOON_MS // DAY_MS, NOON_MS // MINUTE_MS
NODES = [NodeOf(ORGANIZATION, name) for name in ("o", "p1", "ka", "p2")]


async def test_every_level_counts_what_is_held_and_what_is_spent(bench: Bench) -> None:
    first, second = [
        granted(each) for each in await bench.gate.reserve([request("a", 100), request("b", 50)])
    ]
    await bench.gate.start([StartRequest(first, budget_of())])
    await bench.gate.settle([settle_of(first, 60)])
    organization, project, key, other = await bench.gate.counters(NODES)
    assert organization == project == key
    assert (project.of_day.nanodollars_spent, project.of_day.nanodollars_held) == (60, 50)
    assert project.of_day.tokens_held == second.input_tokens + second.output_tokens
    assert project.of_month == project.of_day
    assert (project.jobs_in_flight, project.requests_of_minute) == (1, 2)
    assert (other.of_day, other.jobs_in_flight) == (Amounts(), 0)


async def test_the_windows_are_those_of_the_gate_s_clock(bench: Bench) -> None:
    (found,) = await bench.gate.counters(NODES[:1])
    assert found.windows.day == DAY
    assert found.windows.day_ends_ms == (DAY + 1) * DAY_MS
    assert found.windows.month == month_of(DAY)
    assert found.windows.minute == MINUTE
    assert found.windows.month_ends_ms > found.windows.day_ends_ms
    await bench.gate.reserve([request("a", 100)])
    bench.clock.now_ms += DAY_MS
    (tomorrow,) = await bench.gate.counters([NodeOf(ORGANIZATION, "p1")])
    assert (tomorrow.windows.day, tomorrow.of_day) == (DAY + 1, Amounts())


async def test_what_is_used_of_the_limits_that_are_set(bench: Bench) -> None:
    await bench.gate.reserve([request("a", 100)])
    (found,) = await bench.gate.counters(NODES[:1])
    limits = Limits(nanodollars_per_day=200, tokens_per_month=1_000, requests_per_minute=5)
    assert found.used(limits) == {
        "nanodollars_per_day": Used(DAY, 100, 200),
        "tokens_per_month": Used(month_of(DAY), 33, 1_000),
    }
    assert found.amount("requests_per_minute") == 1


async def test_several_organizations_in_one_call_and_in_order(bench: Bench) -> None:
    await bench.gate.reserve([request("a", 100)])
    asked = [NodeOf(ORGANIZATION, "p2"), NodeOf(ORGANIZATION, "p1"), NodeOf(ORGANIZATION, "o")]
    assert [each.of_day.nanodollars for each in await bench.gate.counters(asked)] == [0, 100, 100]
    assert await bench.gate.counters([]) == []


async def test_every_hold_is_told_and_what_the_nodes_count_of_them(bench: Bench) -> None:
    first, second = [
        granted(each) for each in await bench.gate.reserve([request("a", 100), request("b", 50)])
    ]
    await bench.gate.start([StartRequest(first, budget_of())])
    found = await bench.gate.inspect(ORGANIZATION, ["o", "p1", "ka", "p2"])
    assert {name: (each.is_started, each.nodes, each.hold) for name, each in found.holds.items()} == {
        first.id: (True, "o,p1,ka", first),
        second.id: (False, "o,p1,ka", second),
    }
    tokens = first.tokens + second.tokens
    own = Held(2, 150, tokens, 150, tokens)
    assert found.nodes == found.sums() == {"o": own, "p1": own, "ka": own, "p2": Held()}


async def test_nothing_is_told_by_a_gate_that_is_closed(closed_bench: Bench) -> None:
    with pytest.raises(GateClosed):
        await closed_bench.gate.inspect(ORGANIZATION, ["o"])
