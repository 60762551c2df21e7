"""Three levels, seven limits: each limit on each level, and what one refusal says of several."""

from typing import Any

import pytest

from broker.errors import GateClosed
from broker.quota.budget import Budget
from broker.quota.calendar import DAY_MS, MINUTE_MS
from broker.quota.gate import Granted, Over, Release, StartRequest
from broker.quota.limits import LEVELS, NUMBER_MAX, Level, Limits, Reason
from broker.quota.rebuild import Unsettled
from schemas.state import Hold, month_of
from tests.contracts.quota.harness import (
    KEY,
    NOON_MS,
    PROJECT,
    Bench,
    Charged,
    MemoryLedger,
    budget_of,
    granted,
    rebuilt,
    request,
    settle_of,
)

DAY, MINUTE = NOON_MS // DAY_MS, NOON_MS // MINUTE_MS
NEXT_MINUTE_MS, TOMORROW_MS = (MINUTE + 1) * MINUTE_MS, (DAY + 1) * DAY_MS
NOVEMBER_MS = 20_028 * DAY_MS
"""Day 20,000 is 2024-10-04."""
NODES = ("o", f"p{PROJECT}", f"k{KEY}")
TURNS: list[tuple[Reason, int, int, bool]] = [
    ("nanodollars_per_day", 100, TOMORROW_MS, True),
    ("requests_per_minute", 1, NEXT_MINUTE_MS, False),
    ("jobs_in_flight", 1, NOON_MS, True),
    ("tokens_per_minute", 33, NEXT_MINUTE_MS, False),
    ("tokens_per_day", 33, TOMORROW_MS, True),
    ("tokens_per_month", 33, NOVEMBER_MS, True),
    ("nanodollars_per_month", 100, NOVEMBER_MS, True),
]
"""Each limit: what one request takes of it, when it is free again, and whether settling frees it before."""


def limited(level: Level, **limits: int) -> Budget:
    mine = Limits.model_validate(limits)
    match level:
        case "organization":
            return budget_of(organization=mine)
        case "project":
            return budget_of(mine)
        case "key":
            return budget_of(key=mine)


def on_all_levels(fields: dict[str, tuple[int, ...]]) -> dict[str, dict[str, tuple[int, ...]]]:
    return {name: fields for name in NODES}  # noqa: C420 - each compared, none changed


async def reserve(bench: Bench, hold_id: str, budget: Budget, **changes: Any) -> Granted | Over:
    (answer,) = await bench.gate.reserve([request(hold_id, budget=budget, **changes)])
    assert isinstance(answer, Granted | Over)
    return answer


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("reason", "amount", "turns_ms", "held"), TURNS)
async def test_each_limit_holds_on_each_level(
    bench: Bench, level: Level, reason: Reason, amount: int, turns_ms: int, held: bool
) -> None:
    """As much as the cap fits and not one more; whoever is on no such node passes; nothing is taken then."""
    budget = limited(level, **{reason: 2 * amount})
    answers = [await reserve(bench, name, budget) for name in "abc"]
    over = Over(reason, level, turns_ms, never=False, held=held)
    assert [type(answer) for answer in answers] == [Granted, Granted, Over]
    assert answers[2] == over
    before = await bench.tree()
    assert await reserve(bench, "d", budget) == over
    assert await bench.tree() == before
    assert isinstance(await reserve(bench, "e", budget_of(project_id=2, key_id="b")), Granted)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("reason", "amount", "turns_ms", "held"), TURNS)
async def test_each_limit_is_free_again_when_its_window_turns(
    bench: Bench, level: Level, reason: Reason, amount: int, turns_ms: int, held: bool
) -> None:
    budget = limited(level, **{reason: amount})
    hold = granted(await reserve(bench, "a", budget))
    await bench.gate.start([StartRequest(hold, budget)])
    await bench.gate.settle([settle_of(hold, 100)])
    if reason != "jobs_in_flight":
        bench.clock.now_ms = turns_ms - 1
        assert await reserve(bench, "b", budget) == Over(reason, level, turns_ms, never=False, held=False)
    bench.clock.now_ms = max(turns_ms, bench.clock.now_ms)
    assert isinstance(await reserve(bench, "b", budget), Granted)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("reason", "amount", "turns_ms", "held"), TURNS)
async def test_what_alone_exceeds_a_limit_never_fits(
    bench: Bench, level: Level, reason: Reason, amount: int, turns_ms: int, held: bool
) -> None:
    answer = await reserve(bench, "a", limited(level, **{reason: amount - 1}))
    assert answer == Over(reason, level, turns_ms, never=True, held=False)
    assert await bench.tree() == {}


@pytest.mark.parametrize("level", LEVELS)
async def test_a_limit_set_later_finds_what_was_spent_before(bench: Bench, level: Level) -> None:
    hold = granted(await reserve(bench, "a", budget_of()))
    await bench.gate.settle([settle_of(hold, 70, 20)])
    assert isinstance(await reserve(bench, "b", limited(level, nanodollars_per_month=169)), Over)
    assert isinstance(await reserve(bench, "b", limited(level, tokens_per_day=52)), Over)
    both = limited(level, nanodollars_per_month=170, tokens_per_day=53)
    assert isinstance(await reserve(bench, "b", both), Granted)


async def test_every_level_counts_the_same_hold_the_same(bench: Bench) -> None:
    hold = granted(await reserve(bench, "a", budget_of()))
    assert hold == Hold(id="a", nanodollars=100, input_tokens=11, output_tokens=22, day=DAY, minute=MINUTE)
    day, month, minute = f"d:{DAY}", f"m:{month_of(DAY)}", f"i:{MINUTE}"
    taken = {day: (0, 100, 0, 33), month: (0, 100, 0, 33), minute: (1, 33), "jobs": (1,)}
    assert await bench.tree() == on_all_levels(taken)
    await bench.gate.settle([settle_of(hold, 70, 20)])
    spent = {day: (70, 0, 20, 0), month: (70, 0, 20, 0), minute: (1, 20)}
    assert await bench.tree() == on_all_levels(spent)


async def test_released_and_expired_holds_leave_what_reserving_used_up(bench: Bench) -> None:
    await reserve(bench, "a", budget_of())
    await bench.gate.release([Release("a", 7)])
    await reserve(bench, "b", budget_of(), ttl_ms=1)
    bench.clock.now_ms += 1
    assert await bench.gate.jobs_in_flight([]) == []
    (answer,) = await bench.gate.reserve([request("c", NUMBER_MAX + 1)])
    assert isinstance(answer, Over)
    assert await bench.tree() == on_all_levels({f"i:{MINUTE}": (2, 66)})


async def test_of_several_levels_that_refuse_the_one_that_lasts_is_told(bench: Bench) -> None:
    full = Limits(requests_per_minute=1)
    budget = budget_of(full, organization=Limits(nanodollars_per_day=150), key=Limits(tokens_per_month=40))
    await reserve(bench, "a", budget)
    told = [
        await reserve(bench, "b", budget),
        await reserve(bench, "b", budget, input_tokens=0, output_tokens=1),
        await reserve(bench, "b", budget, nanodollars=1, input_tokens=0, output_tokens=1),
        await reserve(bench, "b", budget, nanodollars=151, input_tokens=0, output_tokens=1),
    ]
    assert told == [
        Over("tokens_per_month", "key", NOVEMBER_MS, never=False, held=True),
        Over("nanodollars_per_day", "organization", TOMORROW_MS, never=False, held=True),
        Over("requests_per_minute", "project", NEXT_MINUTE_MS, never=False, held=False),
        Over("nanodollars_per_day", "organization", TOMORROW_MS, never=True, held=False),
    ]


async def test_of_equal_refusals_that_of_the_highest_level_is_told(bench: Bench) -> None:
    same = Limits(requests_per_minute=0)
    over = await reserve(bench, "a", budget_of(same, organization=same, key=same))
    assert over == Over("requests_per_minute", "organization", NEXT_MINUTE_MS, never=True, held=False)


async def test_siblings_share_what_is_above_them_and_nothing_else(bench: Bench) -> None:
    each, all_together = Limits(nanodollars_per_day=100), Limits(nanodollars_per_day=250)
    budgets = [
        budget_of(project_id=project_id, key_id=key_id, organization=all_together, key=each)
        for project_id, key_id in [(1, "a"), (1, "b"), (2, "c")]
    ]
    answers = await bench.gate.reserve(
        [request(f"h{number}", budget=budgets[number % 3]) for number in range(6)]
    )
    assert [type(answer) for answer in answers] == [Granted, Granted, Over, Over, Over, Over]
    levels = [answer.level for answer in answers if isinstance(answer, Over)]
    assert levels == ["organization"] * 4
    tree = await bench.tree()
    assert [tree[name][f"d:{DAY}"][1] for name in ("o", "p1", "ka", "kb")] == [200, 200, 100, 100]
    assert "p2" not in tree


async def test_a_bound_of_jobs_in_flight_is_the_projects_and_stands_beside_its_own(bench: Bench) -> None:
    budget = budget_of(Limits(jobs_in_flight=2))
    answers = await bench.gate.reserve(
        [
            request("a", budget=budget, jobs_in_flight_max=1),
            request("b", budget=budget, jobs_in_flight_max=1),
            request("c", budget=budget),
            request("d", budget=budget, jobs_in_flight_max=9),
            request("e", budget=budget_of(project_id=2), jobs_in_flight_max=1),
        ]
    )
    assert [type(answer) for answer in answers] == [Granted, Over, Granted, Over, Granted]
    assert answers[1] == answers[3] == Over("jobs_in_flight", "project", NOON_MS, never=False, held=True)


async def test_tokens_found_to_be_less_are_free_again_while_their_minute_lasts(bench: Bench) -> None:
    budget = limited("project", tokens_per_minute=70)
    first, second = [granted(await reserve(bench, name, budget)) for name in "ab"]
    assert isinstance(await reserve(bench, "c", budget), Over)
    await bench.gate.settle([settle_of(first, 1, 4), settle_of(first, 1, 4)])
    assert (await bench.tree())["o"][f"i:{MINUTE}"] == (2, 37)
    assert isinstance(await reserve(bench, "c", budget), Granted)
    bench.clock.now_ms = NEXT_MINUTE_MS
    await reserve(bench, "d", budget)
    await bench.gate.settle([settle_of(second, 1, 4)])
    assert (await bench.tree())["o"][f"i:{MINUTE + 1}"] == (1, 33)


async def test_a_call_over_midnight_at_the_end_of_a_month_settles_in_its_own_windows(bench: Bench) -> None:
    bench.clock.now_ms = NOVEMBER_MS - 1
    hold = granted(await reserve(bench, "a", budget_of()))
    await bench.gate.start([StartRequest(hold, budget_of())])
    bench.clock.now_ms = NOVEMBER_MS
    await reserve(bench, "b", budget_of(), nanodollars=5, ttl_ms=10**10)
    await bench.gate.settle([settle_of(hold, 70, 20), settle_of(hold, 70, 20)])
    of_key = (await bench.tree())["ka"]
    october, november = month_of(20_027), month_of(20_028)
    assert (of_key["d:20027"], of_key[f"m:{october}"]) == ((70, 0, 20, 0), (70, 0, 20, 0))
    assert (of_key["d:20028"], of_key[f"m:{november}"]) == ((0, 5, 0, 33), (0, 5, 0, 33))
    bench.clock.now_ms = NOVEMBER_MS + DAY_MS
    await reserve(bench, "c", budget_of())
    assert set((await bench.tree())["ka"]) >= {"d:20028", "d:20029", f"m:{november}"}
    assert not {"d:20027", f"m:{october}"} & set((await bench.tree())["ka"])


async def test_what_is_settled_days_later_counts_in_its_month_once(bench: Bench) -> None:
    """Its day is closed, so no id tells that it was settled: the record of the hold does."""
    hold = granted(await reserve(bench, "a", budget_of()))
    await bench.gate.start([StartRequest(hold, budget_of())])
    bench.clock.now_ms += 5 * DAY_MS
    month = f"m:{month_of(DAY)}"
    for _ in range(2):
        await bench.gate.settle([settle_of(hold, 70, 20), settle_of(hold, 70, 20)])
        assert await bench.tree() == on_all_levels({month: (70, 0, 20, 0)})


async def test_an_old_call_that_no_rebuild_lost_still_counts_in_its_month(bench: Bench) -> None:
    hold = granted(await reserve(bench, "a", budget_of()))
    await bench.gate.start([StartRequest(hold, budget_of())])
    bench.clock.now_ms += 5 * DAY_MS
    bench.ledger.intents = [Unsettled(PROJECT, KEY, hold)]
    await bench.forget_all()
    await rebuilt(bench.gate, bench.ledger)
    month = f"m:{month_of(DAY)}"
    assert await bench.tree() == on_all_levels({month: (0, 100, 0, 33), "jobs": (1,)})
    for _ in range(2):
        await bench.gate.settle([settle_of(hold, 70, 20)])
        assert await bench.tree() == on_all_levels({month: (70, 0, 20, 0)})


async def test_a_rebuild_makes_the_counters_that_were_there(bench: Bench) -> None:
    """On all levels, of this month and of this minute; but for holds that never started."""
    other = budget_of(project_id=2, key_id="b")
    bench.clock.now_ms = NOON_MS - 3 * DAY_MS
    old = granted(await reserve(bench, "old", budget_of()))
    await bench.gate.settle([settle_of(old, 60, 7)])
    bench.clock.now_ms = NOON_MS
    spent, held = granted(await reserve(bench, "a", budget_of())), granted(await reserve(bench, "b", other))
    await bench.gate.start([StartRequest(held, other)])
    await bench.gate.settle([settle_of(spent, 40, 9)])
    before = await bench.tree()
    bench.ledger = MemoryLedger(
        [
            Charged(PROJECT, each.id, each.day, each.minute, *cost)
            for each, cost in [(old, (60, 7)), (spent, (40, 9))]
        ],
        [Unsettled(2, "b", held)],
    )
    await bench.forget_all()
    await rebuilt(bench.gate, bench.ledger)
    assert await bench.tree() == before
    assert set(before) == {"o", "p1", "p2", "ka", "kb"}


async def test_counters_of_an_earlier_layout_are_not_believed(bench: Bench) -> None:
    gate = f"{bench.prefix}:{{o7}}:gate"
    epoch: Any = await bench.client.hget(gate, "epoch")
    run_id, slash, _ = epoch.partition(b"/")
    assert slash
    await bench.client.hset(gate, "epoch", run_id)
    with pytest.raises(GateClosed):
        await reserve(bench, "a", budget_of())


async def test_amounts_of_a_month_are_kept_to_the_nanodollar(bench: Bench) -> None:
    budget = limited("organization", nanodollars_per_month=NUMBER_MAX)
    hold = granted(await reserve(bench, "a", budget, nanodollars=NUMBER_MAX))
    await bench.gate.settle([settle_of(hold, NUMBER_MAX - 1)])
    assert (await bench.tree())["o"][f"m:{month_of(DAY)}"][0] == NUMBER_MAX - 1
    assert isinstance(await reserve(bench, "b", budget, nanodollars=2), Over)
    assert isinstance(await reserve(bench, "b", budget, nanodollars=1), Granted)
