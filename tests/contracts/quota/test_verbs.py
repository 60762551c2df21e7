"""What each verb promises, on the embedded server and on Redis."""

import asyncio
from typing import Any

import pytest

from broker.errors import GateClosed
from broker.quota.budget import project_node
from broker.quota.calendar import DAY_MS, MINUTE_MS
from broker.quota.calls import Commands
from broker.quota.counters import NodeOf
from broker.quota.gate import Granted, Over, Release, Settled, StartRequest
from broker.quota.grouping import BATCH_MAX
from broker.quota.limits import NUMBER_MAX, Limits
from schemas.state import Hold
from tests.contracts.quota.harness import (
    NOON_MS,
    ORGANIZATION,
    PROJECT,
    Bench,
    budget_of,
    granted,
    request,
    settle_of,
)

DAY, MINUTE = NOON_MS // DAY_MS, NOON_MS // MINUTE_MS
SPENT, HELD, REQUESTS = f"d:{DAY}:spent", f"d:{DAY}:held", f"i:{MINUTE}:requests"


def start_of(hold: Hold, limits: Limits | None = None) -> StartRequest:
    return StartRequest(hold, budget_of(limits or Limits()))


async def reserve(bench: Bench, hold_id: str, nanodollars: int = 100, limits: Limits | None = None) -> Hold:
    (answer,) = await bench.gate.reserve([request(hold_id, nanodollars, limits)])
    return granted(answer)


async def test_a_hold_says_what_it_holds_and_in_which_windows(bench: Bench) -> None:
    hold = await reserve(bench, "a", 100)
    assert hold == Hold(id="a", nanodollars=100, input_tokens=11, output_tokens=22, day=DAY, minute=MINUTE)
    assert await bench.counters() == {HELD: 100, REQUESTS: 1}


async def test_the_last_nanodollar_can_be_held_and_not_one_more(bench: Bench) -> None:
    limits = Limits(nanodollars_per_day=100)
    answers = await bench.gate.reserve(
        [request("a", 99, limits), request("b", 2, limits), request("c", 1, limits), request("d", 1, limits)]
    )
    over = Over("nanodollars_per_day", "project", (DAY + 1) * DAY_MS, never=False, held=True)
    assert [type(answer) for answer in answers] == [Granted, Over, Granted, Over]
    assert answers[1] == answers[3] == over
    assert await bench.counters() == {HELD: 100, REQUESTS: 2}


async def test_money_already_spent_is_not_freed_by_waiting_for_holds(bench: Bench) -> None:
    limits = Limits(nanodollars_per_day=100)
    await bench.gate.settle([settle_of(await reserve(bench, "a", 100, limits), 60)])
    (answer,) = await bench.gate.reserve([request("b", 41, limits)])
    assert answer == Over("nanodollars_per_day", "project", (DAY + 1) * DAY_MS, never=False, held=False)
    assert isinstance((await bench.gate.reserve([request("b", 40, limits)]))[0], Granted)


async def test_jobs_in_flight_are_bounded_until_they_end(bench: Bench) -> None:
    limits = Limits(jobs_in_flight=2)
    first, second, third = await bench.gate.reserve([request(name, 1, limits) for name in "abc"])
    assert isinstance(first, Granted)
    assert isinstance(second, Granted)
    assert third == Over("jobs_in_flight", "project", bench.clock.now_ms, never=False, held=True)
    await bench.gate.settle([settle_of(first.hold, 1)])
    (again,) = await bench.gate.reserve([request("c", 1, limits)])
    assert isinstance(again, Granted)
    await bench.gate.release([Release("b", ORGANIZATION), Release("b", ORGANIZATION)])
    project, other = (
        NodeOf(ORGANIZATION, project_node(PROJECT)),
        NodeOf(ORGANIZATION, project_node(PROJECT + 1)),
    )
    assert await bench.gate.jobs_in_flight([project, other, project]) == [1, 0, 1]
    bench.clock.now_ms += 10**9
    assert await bench.gate.jobs_in_flight([project]) == [0]
    assert await bench.gate.jobs_in_flight([]) == []


@pytest.mark.parametrize("wrong", [30_000, -30_000])
async def test_a_number_of_jobs_that_cannot_be_is_put_right(bench: Bench, wrong: int) -> None:
    """After workers of two versions counted differently, say: no window ends what is counted too much."""
    limits, project = Limits(jobs_in_flight=2), NodeOf(ORGANIZATION, project_node(PROJECT))
    await bench.miscount_jobs(wrong)
    assert await bench.gate.jobs_in_flight([project]) == [0]
    await bench.miscount_jobs(wrong)
    answers = await bench.gate.reserve([request(name, 1, limits) for name in "abc"])
    assert [type(answer) for answer in answers] == [Granted, Granted, Over]
    assert await bench.gate.jobs_in_flight([project]) == [2]
    assert await bench.jobs() == 2


async def test_a_window_that_is_full_lasts_longer_than_a_crowd(bench: Bench) -> None:
    limits = Limits(requests_per_minute=1, jobs_in_flight=1)
    _, over = await bench.gate.reserve([request("a", 1, limits), request("b", 1, limits)])
    assert over == Over("requests_per_minute", "project", (MINUTE + 1) * MINUTE_MS, never=False, held=False)


async def test_a_request_takes_from_all_limits_or_from_none(bench: Bench) -> None:
    limits = Limits(nanodollars_per_day=100, requests_per_minute=1)
    over_both = request("b", 1, limits)
    await reserve(bench, "a", 100, limits)
    (answer,) = await bench.gate.reserve([over_both])
    assert answer == Over("nanodollars_per_day", "project", (DAY + 1) * DAY_MS, never=False, held=True)
    (answer,) = await bench.gate.reserve([request("c", 1, Limits(requests_per_minute=1))])
    assert answer == Over("requests_per_minute", "project", (MINUTE + 1) * MINUTE_MS, never=False, held=False)
    assert await bench.counters() == {HELD: 100, REQUESTS: 1}


@pytest.mark.parametrize(
    ("nanodollars", "limits", "reason"),
    [
        (101, Limits(nanodollars_per_day=100), "nanodollars_per_day"),
        (NUMBER_MAX + 2, Limits(), "nanodollars_per_month"),
        (1, Limits(requests_per_minute=0), "requests_per_minute"),
        (1, Limits(nanodollars_per_day=0, requests_per_minute=9), "nanodollars_per_day"),
    ],
)
async def test_what_no_window_will_fit_is_said_to_fit_never(
    bench: Bench, nanodollars: int, limits: Limits, reason: str
) -> None:
    (answer,) = await bench.gate.reserve([request("a", nanodollars, limits)])
    assert isinstance(answer, Over)
    assert (answer.reason, answer.never) == (reason, True)


async def test_amounts_up_to_the_greatest_are_kept_to_the_nanodollar(bench: Bench) -> None:
    hold = await reserve(bench, "a", NUMBER_MAX)
    assert hold.nanodollars == NUMBER_MAX
    assert (await bench.counters())[HELD] == NUMBER_MAX
    (again,) = await bench.gate.reserve([request("a")])
    assert granted(again).nanodollars == NUMBER_MAX
    await bench.gate.settle([settle_of(hold, NUMBER_MAX - 1)])
    assert await bench.counters() == {SPENT: NUMBER_MAX - 1, REQUESTS: 1}
    assert isinstance((await bench.gate.reserve([request("b", 2)]))[0], Over)


async def test_the_same_id_again_gets_the_same_hold_and_takes_nothing(bench: Bench) -> None:
    first, twin, other_size = await bench.gate.reserve([request("a"), request("a"), request("a", 999)])
    (later,) = await bench.gates[1].reserve([request("a")])
    assert first == twin == other_size == later
    assert await bench.counters() == {HELD: 100, REQUESTS: 1}


async def test_reserving_again_says_that_the_hold_was_started(bench: Bench) -> None:
    hold = await reserve(bench, "a")
    await bench.gate.start([start_of(hold)])
    assert await bench.gate.reserve([request("a")]) == [Granted(hold, started=True)]


async def test_a_settled_id_takes_nothing_again(bench: Bench) -> None:
    hold = await reserve(bench, "a")
    await bench.gate.settle([settle_of(hold, 30)])
    assert await bench.gate.reserve([request("a")]) == [Settled(hold)]
    assert await bench.gate.start([start_of(hold)]) == [Settled(hold)]
    assert await bench.counters() == {SPENT: 30, REQUESTS: 1}


async def test_settling_moves_from_held_to_spent_once(bench: Bench) -> None:
    hold = await reserve(bench, "a")
    await bench.gate.start([start_of(hold)])
    await bench.gate.settle([settle_of(hold, 30), settle_of(hold, 30)])
    await bench.gates[1].settle([settle_of(hold, 30)])
    assert await bench.counters() == {SPENT: 30, REQUESTS: 1}


async def test_settled_ids_are_kept_while_their_day_is_open_and_not_for_ever(bench: Bench) -> None:
    await bench.gate.settle([settle_of(await reserve(bench, "a"), 30)])
    left_s = await bench.client.ttl(f"{bench.prefix}:{{o{ORGANIZATION}}}:settled:{DAY}")
    assert DAY_MS * 3 // 2 < left_s * 1000 < DAY_MS * 3


async def test_a_hold_nobody_knows_is_settled_all_the_same_once(bench: Bench) -> None:
    hold = Hold(id="lost", nanodollars=100, input_tokens=1, output_tokens=1, day=DAY, minute=MINUTE)
    await bench.gate.settle([settle_of(hold, 30)])
    await bench.gate.settle([settle_of(hold, 30)])
    assert await bench.counters() == {SPENT: 30}


async def test_released_money_is_free_and_the_id_may_reserve_again(bench: Bench) -> None:
    limits = Limits(nanodollars_per_day=100)
    await reserve(bench, "a", 100, limits)
    await bench.gate.release([Release("a", ORGANIZATION), Release("nobody", ORGANIZATION)])
    assert await bench.counters() == {REQUESTS: 1}
    await reserve(bench, "a", 100, limits)
    assert await bench.counters() == {HELD: 100, REQUESTS: 2}


async def test_a_started_hold_cannot_be_released(bench: Bench) -> None:
    hold = await reserve(bench, "a")
    await bench.gate.start([start_of(hold)])
    await bench.gate.release([Release("a", ORGANIZATION)])
    assert await bench.counters() == {HELD: 100, REQUESTS: 1}


async def test_a_hold_that_never_started_expires(bench: Bench) -> None:
    limits = Limits(nanodollars_per_day=100)
    await reserve(bench, "a", 100, limits)
    bench.clock.now_ms += 59_999
    assert isinstance((await bench.gate.reserve([request("b", 100, limits)]))[0], Over)
    bench.clock.now_ms += 1
    await reserve(bench, "b", 100, limits)


async def test_reserving_again_begins_its_time_anew(bench: Bench) -> None:
    await reserve(bench, "a")
    bench.clock.now_ms += 50_000
    await reserve(bench, "a")
    bench.clock.now_ms += 50_000
    (answer,) = await bench.gate.reserve([request("b", 1, Limits(nanodollars_per_day=100))])
    assert isinstance(answer, Over)


async def test_holds_that_a_hand_took_away_keep_nobody_from_theirs(bench: Bench) -> None:
    await reserve(bench, "a")
    [holds] = [key for key in await bench.keys() if key.endswith(b":holds")]
    await bench.client.delete(holds.decode())
    bench.clock.now_ms += 60_000
    await reserve(bench, "b")


async def test_a_started_hold_never_expires(bench: Bench) -> None:
    limits = Limits(nanodollars_per_day=100)
    hold = await reserve(bench, "a", 100, limits)
    await bench.gate.start([start_of(hold)])
    bench.clock.now_ms += DAY_MS // 3
    assert isinstance((await bench.gate.reserve([request("b", 1, limits)]))[0], Over)
    assert await bench.gate.start([start_of(hold)]) == [Granted(hold, started=True)]


async def test_reserving_a_started_hold_again_sets_it_no_time(bench: Bench) -> None:
    limits = Limits(nanodollars_per_day=100)
    hold = await reserve(bench, "a", 100, limits)
    await bench.gate.start([start_of(hold)])
    await reserve(bench, "a", 100, limits)
    bench.clock.now_ms += 120_000
    assert isinstance((await bench.gate.reserve([request("b", 1, limits)]))[0], Over)


@pytest.mark.parametrize("started", [False, True])
async def test_a_settled_hold_has_nothing_left_to_expire(bench: Bench, started: bool) -> None:
    hold = await reserve(bench, "a")
    if started:
        await bench.gate.start([start_of(hold)])
    await bench.gate.settle([settle_of(hold, 30)])
    bench.clock.now_ms += 120_000
    await reserve(bench, "b", 5)
    assert await bench.counters() == {SPENT: 30, HELD: 5, f"i:{MINUTE + 2}:requests": 1}


async def test_an_expired_hold_is_taken_anew_at_its_start(bench: Bench) -> None:
    limits = Limits(nanodollars_per_day=100)
    hold = await reserve(bench, "a", 100, limits)
    bench.clock.now_ms += 120_000
    (answer,) = await bench.gate.start([start_of(hold, limits)])
    assert answer == Granted(hold.model_copy(update={"minute": MINUTE + 2}), started=True)
    assert await bench.counters() == {HELD: 100, f"i:{MINUTE + 2}:requests": 1}


async def test_an_expired_hold_does_not_start_when_its_money_went_to_another(bench: Bench) -> None:
    limits = Limits(nanodollars_per_day=100)
    hold = await reserve(bench, "a", 100, limits)
    bench.clock.now_ms += 60_000
    await reserve(bench, "b", 100, limits)
    (answer,) = await bench.gate.start([start_of(hold, limits)])
    assert answer == Over("nanodollars_per_day", "project", (DAY + 1) * DAY_MS, never=False, held=True)
    assert (await bench.counters())[HELD] == 100


async def test_a_backlog_of_expired_holds_is_swept_in_bounded_steps(bench: Bench) -> None:
    limits = Limits(nanodollars_per_day=1_200)
    answers = await bench.gate.reserve([request(f"h{n}", 1, limits) for n in range(1_200)])
    assert all(isinstance(answer, Granted) for answer in answers)
    bench.clock.now_ms += 60_000
    (first,) = await bench.gate.reserve([request("all", 1_200, limits)])
    assert isinstance(first, Over)
    assert first.held
    await reserve(bench, "all", 1_200, limits)


async def test_the_minute_turns_at_its_boundary(bench: Bench) -> None:
    limits = Limits(requests_per_minute=1)
    bench.clock.now_ms = (MINUTE + 1) * MINUTE_MS - 1
    await reserve(bench, "a", 1, limits)
    assert isinstance((await bench.gate.reserve([request("b", 1, limits)]))[0], Over)
    bench.clock.now_ms += 1
    assert (await reserve(bench, "b", 1, limits)).minute == MINUTE + 1


async def test_the_day_turns_at_midnight_utc_and_calls_settle_in_their_own(bench: Bench) -> None:
    limits = Limits(nanodollars_per_day=100)
    bench.clock.now_ms = (DAY + 1) * DAY_MS - 1
    yesterdays = await reserve(bench, "a", 100, limits)
    await bench.gate.start([start_of(yesterdays)])
    assert isinstance((await bench.gate.reserve([request("b", 1, limits)]))[0], Over)
    bench.clock.now_ms += 1
    todays = await reserve(bench, "b", 100, limits)
    assert (yesterdays.day, todays.day) == (DAY, DAY + 1)
    await bench.gate.settle([settle_of(yesterdays, 70)])
    counters = await bench.counters()
    assert (counters.get(HELD), counters[SPENT], counters[f"d:{DAY + 1}:held"]) == (None, 70, 100)


async def test_closed_windows_are_forgotten_and_settle_into_nothing(bench: Bench) -> None:
    hold = await reserve(bench, "a", 100)
    await bench.gate.start([start_of(hold)])
    bench.clock.now_ms += 2 * DAY_MS
    await reserve(bench, "b", 5)
    await bench.gate.settle([settle_of(hold, 70)])
    later = bench.clock.now_ms // MINUTE_MS
    assert await bench.counters() == {f"d:{DAY + 2}:held": 5, f"i:{later}:requests": 1}


async def test_a_clock_set_back_over_midnight_settles_nothing_twice(bench: Bench) -> None:
    bench.clock.now_ms = (DAY + 2) * DAY_MS
    hold = await reserve(bench, "a", 100)
    bench.clock.now_ms = NOON_MS
    await bench.gate.settle([settle_of(hold, 70)])
    await bench.gate.settle([settle_of(hold, 70)])
    assert (await bench.counters())[f"d:{DAY + 2}:spent"] == 70


async def test_an_id_of_a_closed_day_is_forgotten(bench: Bench) -> None:
    old = await reserve(bench, "a", 100)
    await bench.gate.settle([settle_of(old, 70)])
    bench.clock.now_ms += 2 * DAY_MS
    new = await reserve(bench, "a", 5)
    await bench.gate.settle([settle_of(old.model_copy(update={"id": "b"}), 1), settle_of(new, 5)])
    assert (await bench.counters())[f"d:{DAY + 2}:spent"] == 5


async def test_projects_and_organizations_are_counted_apart(bench: Bench) -> None:
    limits = Limits(nanodollars_per_day=100)
    other = ORGANIZATION + 1
    with pytest.raises(GateClosed):
        await bench.gate.reserve([request("x", organization_id=other)])
    await bench.gate.rebuild(bench.ledger)
    answers = await bench.gate.reserve(
        [
            request("a", 100, limits),
            request("b", 100, limits, organization_id=other),
            request("c", 100, limits, project_id=2),
            request("d", 1, limits),
            request("e", 1, limits, organization_id=other),
            request("f", 1, limits, project_id=2),
        ]
    )
    assert [type(answer) for answer in answers] == [Granted] * 3 + [Over] * 3
    assert [granted(answer).id for answer in answers[:3]] == ["a", "b", "c"]


async def test_a_changed_limit_counts_at_once_even_within_a_batch(bench: Bench) -> None:
    narrow, wide = Limits(nanodollars_per_day=100), Limits(nanodollars_per_day=200)
    answers = await bench.gate.reserve(
        [request("a", 100, narrow), request("b", 100, narrow), request("b", 100, wide)]
    )
    assert [type(answer) for answer in answers] == [Granted, Over, Granted]


async def test_batches_of_any_size_are_answered_in_order(bench: Bench) -> None:
    ids = [f"h{n}" for n in range(2 * BATCH_MAX + 1)]
    answers = await bench.gate.reserve([request(hold_id) for hold_id in ids])
    assert [granted(answer).id for answer in answers] == ids
    started = await bench.gate.start([start_of(granted(answer)) for answer in answers])
    assert [granted(answer).id for answer in started] == ids
    await bench.gate.settle([settle_of(granted(answer), 7) for answer in answers])
    assert await bench.counters() == {SPENT: 7 * len(ids), REQUESTS: len(ids)}


async def test_empty_batches_are_answered_with_nothing(bench: Bench) -> None:
    assert await bench.gate.reserve([]) == []
    assert await bench.gate.start([]) == []
    await bench.gate.settle([])
    await bench.gate.release([])


async def test_scripts_that_the_server_forgot_are_sent_again(bench: Bench) -> None:
    hold = await reserve(bench, "a")
    await bench.client.script_flush()
    (answer,) = await bench.gate.start([start_of(hold)])
    assert isinstance(answer, Granted)


async def test_without_a_clock_given_time_is_the_servers(bench: Bench) -> None:
    seconds, _ = await bench.client.time()
    bench.gate._runner._clock = None
    hold = await reserve(bench, "a")
    assert hold.minute in {seconds // 60, seconds // 60 + 1}
    assert hold.day == hold.minute // 1440


async def test_every_key_carries_the_hash_tag_of_its_organization(bench: Bench) -> None:
    hold = await reserve(bench, "a")
    await reserve(bench, "b")
    await bench.gate.settle([settle_of(hold, 1)])
    names = [key.removeprefix(f"{bench.prefix}:{{o{ORGANIZATION}}}:".encode()) for key in await bench.keys()]
    assert names == [b"gate", b"held", b"holds", b"node:ka", b"node:o", b"node:p1", f"settled:{DAY}".encode()]


async def test_reservations_that_meet_go_to_redis_together(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, sent = bench.gate._runner._calls.run, 0

    async def counted(commands: Commands) -> list[Any]:
        nonlocal sent
        sent += 1
        return await run(commands)

    monkeypatch.setattr(bench.gate._runner._calls, "run", counted)
    asked = [request(f"{number:032x}") for number in range(20)]
    answers = await asyncio.gather(*(bench.gate.reserve([one]) for one in asked))
    assert [granted(answer).id for (answer,) in answers] == [one.hold_id for one in asked]
    assert sent <= 2
