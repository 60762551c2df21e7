"""Corrections at the gate: counted once, in open windows alone, and not lost with the counters."""

import pytest

from broker.quota.calendar import DAY_MS
from broker.quota.gate import Change, Corrections
from broker.quota.limits import Limits
from schemas.state import month_of
from tests.contracts.quota.harness import (
    KEY,
    NOON_MS,
    ORGANIZATION,
    PROJECT,
    Bench,
    granted,
    request,
    settle_of,
)

TODAY = NOON_MS // DAY_MS
MONTH = month_of(TODAY)


def corrections(number: int, nanodollars: int, tokens: int = 0, day: int = TODAY) -> Corrections:
    change = Change(PROJECT, KEY, day, nanodollars, tokens)
    return Corrections(number, ORGANIZATION, month_of(day), [change])


async def _spend(bench: Bench) -> None:
    (answer,) = await bench.gate.reserve([request("one")])
    await bench.gate.settle([settle_of(granted(answer), 100)])


async def test_every_node_counts_it_in_day_and_month_once(bench: Bench) -> None:
    await _spend(bench)
    assert await bench.gate.correct([corrections(1, -60, -13)]) == [True]
    assert await bench.gates[1].correct([corrections(1, -60, -13), corrections(1, -60, -13)]) == [True, True]
    expected = {f"d:{TODAY}": (40, 0, 20, 0), f"m:{MONTH}": (40, 0, 20, 0)}
    tree = await bench.tree()
    for node in ("o", f"p{PROJECT}", f"k{KEY}"):
        assert {name: tree[node][name] for name in expected} == expected


@pytest.mark.parametrize(("days_ago", "of_day"), [(0, 5), (1, 5), (2, None)])
async def test_a_day_that_is_over_counts_in_its_month_alone(
    bench: Bench, days_ago: int, of_day: int | None
) -> None:
    day = TODAY - days_ago
    assert month_of(day) == MONTH
    assert await bench.gate.correct([corrections(1, 5, day=day)]) == [True]
    found = (await bench.tree())["o"]
    assert found.get(f"d:{day}", (None,))[0] == of_day
    assert found[f"m:{MONTH}"][0] == 5


async def test_a_month_that_is_over_counts_nothing(bench: Bench) -> None:
    assert await bench.gate.correct([corrections(1, 5, day=TODAY - 40)]) == [False]
    assert await bench.tree() == {}


async def test_what_was_freed_may_be_spent_to_the_last_and_no_further(bench: Bench) -> None:
    limits = Limits(nanodollars_per_day=100)
    await _spend(bench)
    await bench.gate.correct([corrections(1, -60)])
    first, second = await bench.gate.reserve([request("two", 60, limits), request("three", 1, limits)])
    assert granted(first).nanodollars == 60
    assert getattr(second, "code", None) == "nanodollars_per_day"


async def test_a_rebuild_has_it_and_does_not_count_it_again(bench: Bench) -> None:
    await _spend(bench)
    await bench.gate.correct([corrections(1, -60)])
    bench.ledger.corrections.append(corrections(1, -60))
    await bench.forget_all()
    await bench.open()
    assert await bench.gate.correct([corrections(1, -60)]) == [True]
    assert (await bench.tree())["o"][f"d:{TODAY}"][0] == -60  # its charge is not in this ledger
