"""Days and months of the organization's own clocks, by the time of Redis."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from broker.quota.gate import Granted, Over, StartRequest
from broker.quota.limits import Limits
from schemas.state import Hold, month_of
from tests.contracts.quota.harness import ORGANIZATION, Bench, budget_of, granted, rebuilt, request, settle_of

NEW_YORK = "America/New_York"
ONE_A_DAY, ONE_A_MONTH = Limits(nanodollars_per_day=100), Limits(nanodollars_per_month=100)
HOUR_MS = 3_600_000


def at(zone: str, *when: int) -> int:
    return int(datetime(*when, tzinfo=ZoneInfo(zone)).timestamp()) * 1000  # type: ignore[arg-type, misc]


@pytest.fixture
async def zones(closed_bench: Bench) -> dict[int, str]:
    """The zone of each organization, to be changed at will."""
    found = {ORGANIZATION: NEW_YORK}
    for gate in closed_bench.gates:
        gate._runner._time_zone_of = lambda organization_id: found.get(organization_id, "UTC")
    await closed_bench.open()
    return found


async def take(bench: Bench, hold_id: str, limits: Limits = ONE_A_DAY) -> Hold | Over:
    (answer,) = await bench.gate.reserve([request(hold_id, 100, limits, ttl_ms=10**10)])
    if isinstance(answer, Granted):
        return answer.hold
    assert isinstance(answer, Over)
    return answer


async def test_the_day_turns_at_midnight_of_the_place(closed_bench: Bench, zones: dict[int, str]) -> None:
    bench, midnight = closed_bench, at(NEW_YORK, 2026, 7, 15)
    bench.clock.now_ms = midnight - 1
    before = await take(bench, "a")
    assert await take(bench, "b") == Over("nanodollars_per_day", "project", midnight, never=False, held=True)
    bench.clock.now_ms = midnight
    after = await take(bench, "b")
    assert isinstance(before, Hold)
    assert isinstance(after, Hold)
    assert after.day == before.day + 1
    assert after.minute == midnight // 60_000


@pytest.mark.parametrize(
    ("day", "hours"), [((2026, 3, 8), 23), ((2026, 11, 1), 25), ((2026, 7, 15), 24)], ids=str
)
async def test_a_day_on_which_the_clocks_change_is_as_long_as_it_is(
    closed_bench: Bench, zones: dict[int, str], day: tuple[int, int, int], hours: int
) -> None:
    bench, begins = closed_bench, at(NEW_YORK, *day)
    turns = begins + hours * HOUR_MS
    bench.clock.now_ms = begins
    await take(bench, "a")
    for now_ms in (begins + HOUR_MS, turns - 1):
        bench.clock.now_ms = now_ms
        over = await take(bench, "b")
        assert isinstance(over, Over)
        assert over.retry_at_ms == turns
    bench.clock.now_ms = turns
    assert isinstance(await take(bench, "b"), Hold)


@pytest.mark.parametrize(
    ("month", "following"),
    [((2026, 2, 1), (2026, 3, 1)), ((2026, 11, 1), (2026, 12, 1)), ((2026, 12, 1), (2027, 1, 1))],
    ids=str,
)
async def test_the_month_turns_at_midnight_before_its_first(
    closed_bench: Bench,
    zones: dict[int, str],
    month: tuple[int, int, int],
    following: tuple[int, int, int],
) -> None:
    bench, turns = closed_bench, at(NEW_YORK, *following)
    bench.clock.now_ms = at(NEW_YORK, *month)
    first = await take(bench, "a", ONE_A_MONTH)
    bench.clock.now_ms = turns - 1
    over = await take(bench, "b", ONE_A_MONTH)
    assert isinstance(over, Over)
    assert (over.reason, over.retry_at_ms) == ("nanodollars_per_month", turns)
    bench.clock.now_ms = turns
    second = await take(bench, "b", ONE_A_MONTH)
    assert isinstance(first, Hold)
    assert isinstance(second, Hold)
    assert second.month == first.month + 1 == month_of(second.day)


async def test_organizations_have_their_own_midnights_in_one_round_trip(
    closed_bench: Bench, zones: dict[int, str]
) -> None:
    bench, other = closed_bench, ORGANIZATION + 1
    zones[other] = "Asia/Tokyo"
    bench.gate._runner.closed.add(other)
    await bench.gate.rebuild(bench.ledger)
    bench.clock.now_ms = at("UTC", 2026, 7, 15, 2)
    ours, theirs = await bench.gate.reserve(
        [request("a"), request("b", budget=budget_of(organization_id=other))]
    )
    assert granted(theirs).day == granted(ours).day + 1


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "Pacific/Honolulu"])
async def test_another_time_zone_settles_nothing_twice_and_spends_nothing_twice(
    closed_bench: Bench, zones: dict[int, str], zone: str
) -> None:
    """The day may begin anew, as its number may change; the month may not, in the middle of it."""
    bench = closed_bench
    bench.clock.now_ms = at(NEW_YORK, 2026, 7, 15, 12)
    hold = await take(bench, "a", ONE_A_MONTH)
    assert isinstance(hold, Hold)
    await bench.gate.start([StartRequest(hold, budget_of())])
    zones[ORGANIZATION] = zone
    for _ in range(2):
        await bench.gate.settle([settle_of(hold, 100, 5)])
    assert (await bench.tree())["o"][f"m:{hold.month}"] == (100, 0, 5, 0)
    assert isinstance(await take(bench, "b", ONE_A_MONTH), Over)


async def test_a_clock_of_redis_that_lies_days_apart_is_followed(closed_bench: Bench) -> None:
    """The calendar that a caller sends goes around its own time; where that is wrong it is told the time."""
    bench = closed_bench
    await bench.open()
    gate = bench.gate
    assert gate._runner._clock is not None
    seconds, _ = await bench.client.time()
    gate._runner._clock = None
    gate._runner._ahead_ms = -40 * 24 * HOUR_MS
    evaluations: list[int] = []
    evaluate = gate._runner._evaluate

    async def counted(script: object, calls: list[object]) -> list[list[int]]:
        evaluations.append(len(calls))
        return await evaluate(script, calls)  # type: ignore[arg-type]

    gate._runner._evaluate = counted  # type: ignore[method-assign, assignment]
    await rebuilt(gate, bench.ledger)
    assert evaluations == [1, 1]
    evaluations.clear()
    hold = granted((await gate.reserve([request("a")]))[0])
    assert hold.day in {seconds // 86_400, seconds // 86_400 + 1}
    assert evaluations == [1]
