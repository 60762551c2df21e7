"""The gate notices every way in which Redis can lose what it knew, and opens only on the ledger's word."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from broker.errors import DatabaseUnavailable, GateClosed, RedisDamaged
from broker.quota.calendar import DAY_MS, MINUTE_MS, Calendar, OpenWindows
from broker.quota.gate import Granted, Over, Release, Settled, StartRequest
from broker.quota.limits import NUMBER_MAX, Limits
from broker.quota.rebuild import Unsettled, rebuild_organization
from broker.quota.redis_gate import RedisGate
from broker.quota.self_opening import SelfOpeningGate
from schemas.state import Hold
from tests.contracts.quota.harness import (
    KEY,
    NOON_MS,
    ORGANIZATION,
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
SPENT, HELD, REQUESTS = f"d:{DAY}:spent", f"d:{DAY}:held", f"i:{MINUTE}:requests"


def hold_of(hold_id: str, nanodollars: int = 100, day: int = DAY, minute: int = MINUTE) -> Hold:
    return Hold(id=hold_id, nanodollars=nanodollars, input_tokens=1, output_tokens=2, day=day, minute=minute)


async def every_verb(gate: RedisGate) -> None:
    hold = hold_of("a")
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: gate.reserve([request("a")]),
        lambda: gate.start([StartRequest(hold, budget_of())]),
        lambda: gate.settle([settle_of(hold, 1)]),
        lambda: gate.release([Release("a", ORGANIZATION)]),
    ]
    for call in calls:
        with pytest.raises(GateClosed):
            await call()


async def test_an_empty_server_lets_nothing_through_by_any_verb(closed_bench: Bench) -> None:
    await every_verb(closed_bench.gate)
    assert closed_bench.gate.closed == {ORGANIZATION}
    assert await closed_bench.keys() == []


async def test_lost_keys_close_the_gate_until_they_are_rebuilt(bench: Bench) -> None:
    hold = granted((await bench.gate.reserve([request("a")]))[0])
    await bench.gate.start([StartRequest(hold, budget_of())])
    await bench.gate.reserve([request("never started")])
    await bench.forget_all()
    await every_verb(bench.gate)
    bench.ledger.intents = [Unsettled(PROJECT, KEY, hold)]
    bench.ledger.charges = [Charged(PROJECT, "b", DAY, MINUTE, 40), Charged(PROJECT, "c", DAY, MINUTE - 5, 2)]
    await bench.gate.rebuild(bench.ledger)
    assert bench.gate.closed == frozenset()
    assert await bench.counters() == {SPENT: 42, HELD: 100, REQUESTS: 2}
    assert await bench.gate.reserve([request("a")]) == [Granted(hold, started=True)]
    assert isinstance((await bench.gate.reserve([request("b")]))[0], Settled)
    await bench.gate.settle([settle_of(hold, 60)])
    assert await bench.counters() == {SPENT: 102, REQUESTS: 2}


async def test_counters_of_another_redis_process_are_not_believed(bench: Bench) -> None:
    await bench.gate.reserve([request("a")])
    # A snapshot loaded by a restarted server, or a replica that took over, looks just so.
    await bench.client.hset(f"{bench.prefix}:{{o{ORGANIZATION}}}:gate", "epoch", "0" * 40)
    await every_verb(bench.gate)
    await bench.gate.rebuild(bench.ledger)
    assert await bench.counters() == {}


@pytest.mark.parametrize("closed_bench", ["redis"], indirect=True)  # nobody else reaches the embedded one
@pytest.mark.parametrize(
    "damage",
    [
        lambda client, gate: client.set(f"{gate}node:p{PROJECT}", "7"),
        lambda client, gate: client.set(f"{gate}holds", "7"),
        lambda client, gate: client.hset(f"{gate}node:p{PROJECT}", f"d:{DAY}", "much"),
        lambda client, gate: client.hset(f"{gate}node:p{PROJECT}", "jobs", "many"),
        lambda client, gate: client.hset(f"{gate}holds", "a", "whatever"),
        lambda client, gate: client.hset(f"{gate}settled:{DAY}", "a", "whatever"),
        lambda client, gate: client.hset(f"{gate}gate", "stamp", "late"),
    ],
)
async def test_what_no_script_wrote_is_not_believed_until_an_operator_closes_the_gate(
    bench: Bench, damage: Callable[[Redis, str], Awaitable[object]]
) -> None:
    base = f"{bench.prefix}:{{o{ORGANIZATION}}}:"
    await bench.client.delete(f"{base}node:p{PROJECT}", f"{base}holds", f"{base}settled:{DAY}")
    await damage(bench.client, base)
    for _ in range(2):
        with pytest.raises(RedisDamaged):
            await bench.gate.reserve([request("a")])
    await bench.client.delete(f"{base}gate")
    with pytest.raises(GateClosed):
        await bench.gate.reserve([request("a")])
    await bench.gate.rebuild(bench.ledger)
    assert await bench.counters() == {}
    assert isinstance((await bench.gate.reserve([request("a")]))[0], Granted)


async def test_an_older_snapshot_put_back_in_place_is_not_believed(bench: Bench) -> None:
    snapshot = {key: await bench.client.dump(key) for key in await bench.keys()}
    await bench.gate.reserve([request("a")])
    await bench.forget_all()
    for key, value in snapshot.items():
        assert value is not None
        await bench.client.restore(key, 0, value)
    await every_verb(bench.gate)
    await bench.gate.rebuild(bench.ledger)
    await bench.gate.reserve([request("b")])


async def test_a_rebuild_leaves_nothing_of_what_was_there_before(bench: Bench) -> None:
    await bench.gate.reserve([request("a"), request("b", project_id=2)])
    await bench.gate.settle([settle_of(hold_of("c"), 9)])
    await bench.client.hdel(f"{bench.prefix}:{{o{ORGANIZATION}}}:gate", "epoch")
    with pytest.raises(GateClosed):
        await bench.gate.reserve([request("a")])
    await bench.gate.rebuild(bench.ledger)
    assert await bench.counters() == {}
    assert await bench.counters(2) == {}
    bench.clock.now_ms += 120_000
    (answer,) = await bench.gate.reserve([request("c")])
    assert isinstance(answer, Granted)


async def test_what_belongs_to_closed_days_is_not_brought_back(bench: Bench) -> None:
    await bench.forget_all()
    bench.ledger.charges = [
        Charged(PROJECT, "old", DAY - 2, MINUTE - 2880, 1),
        Charged(PROJECT, "yesterday", DAY - 1, MINUTE - 1440, 2),
    ]
    bench.ledger.intents = [Unsettled(PROJECT, KEY, hold_of("stale", 50, DAY - 2, MINUTE - 2880))]
    await rebuilt(bench.gate, bench.ledger)
    assert await bench.counters() == {f"d:{DAY - 1}:spent": 2}


async def test_the_cap_holds_over_a_rebuild(bench: Bench) -> None:
    limits = Limits(nanodollars_per_day=100)
    await bench.forget_all()
    bench.ledger.intents = [Unsettled(PROJECT, KEY, hold_of("a", 60))]
    bench.ledger.charges = [Charged(PROJECT, "b", DAY, MINUTE, 30)]
    await rebuilt(bench.gate, bench.ledger)
    over, fits = await bench.gate.reserve([request("c", 11, limits), request("d", 10, limits)])
    assert isinstance(over, Over)
    assert isinstance(fits, Granted)


async def test_of_several_gates_one_rebuilds_and_the_others_find_it_open(bench: Bench) -> None:
    await bench.forget_all()
    ledger = LockedLedger([Charged(PROJECT, f"h{n}", DAY, MINUTE, 1) for n in range(9)])
    outcomes = await asyncio.gather(
        *(gate.reserve([request("a")]) for gate in bench.gates), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [GateClosed] * len(bench.gates)
    await asyncio.gather(*(gate.rebuild(ledger) for gate in (*bench.gates, *bench.gates)))
    assert (ledger.rebuilds, ledger.read) == (len(bench.gates), 1)
    assert await bench.counters() == {SPENT: 9, REQUESTS: 9}


async def test_a_rebuild_that_another_overtook_changes_nothing_any_more(bench: Bench) -> None:
    await bench.forget_all()
    bench.ledger.charges = [Charged(PROJECT, "a", DAY, MINUTE, 5), Charged(PROJECT, "b", DAY, MINUTE, 6)]
    overtaken = OvertakenLedger(bench.ledger.charges, bench.gates[1])
    with pytest.raises(GateClosed):
        await rebuilt(bench.gate, overtaken)
    assert await bench.counters() == {SPENT: 11, REQUESTS: 2}
    await bench.gate.rebuild(bench.ledger)
    assert await bench.counters() == {SPENT: 11, REQUESTS: 2}


async def test_keys_lost_during_the_rebuild_leave_the_gate_closed(bench: Bench) -> None:
    await bench.forget_all()
    ledger = LosingLedger([Charged(PROJECT, "a", DAY, MINUTE, 5)], bench=bench)
    with pytest.raises(GateClosed):
        await rebuilt(bench.gate, ledger)
    await every_verb(bench.gate)
    await bench.gate.rebuild(bench.ledger)
    assert await bench.counters() == {}


async def test_a_ledger_that_is_away_leaves_the_gate_closed(bench: Bench) -> None:
    await bench.forget_all()
    with pytest.raises(DatabaseUnavailable):
        await rebuilt(bench.gate, AwayLedger())
    await every_verb(bench.gate)
    assert bench.gate.closed == {ORGANIZATION}


async def test_rebuilding_what_is_open_does_nothing(bench: Bench) -> None:
    await bench.gate.reserve([request("a")])
    rebuilds = bench.ledger.rebuilds
    await bench.gate.rebuild(bench.ledger)
    assert bench.ledger.rebuilds == rebuilds
    assert (await bench.counters())[HELD] == 100


async def test_a_call_of_the_rebuild_that_is_sent_again_counts_once(bench: Bench) -> None:
    await bench.forget_all()
    bench.ledger.intents = [Unsettled(PROJECT, KEY, hold_of("a"))]
    bench.ledger.charges = [Charged(PROJECT, "b", DAY, MINUTE, 30)]
    once = bench.gate._rebuild_call(ORGANIZATION)

    async def twice(batch: Any) -> list[int]:
        await once(batch)
        return await once(batch)

    with pytest.raises(GateClosed):
        await rebuild_organization(twice, ORGANIZATION, Calendar(), bench.ledger)
    assert await bench.counters() == {SPENT: 30, HELD: 100, REQUESTS: 2}
    assert isinstance((await bench.gate.reserve([request("b")]))[0], Settled)


async def test_a_server_whose_clock_lies_behind_the_last_one_opens(bench: Bench) -> None:
    bench.gate._runner._seen[ORGANIZATION] += 3_600_000_000
    await every_verb(bench.gate)
    await bench.gate.rebuild(bench.ledger)
    for gate in bench.gates:
        assert isinstance((await gate.reserve([request("a")]))[0], Granted)


async def test_more_than_a_chunk_is_rebuilt_exactly(bench: Bench) -> None:
    await bench.forget_all()
    bench.ledger.intents = [
        Unsettled(PROJECT, KEY, hold_of(f"h{n}", NUMBER_MAX // 4096)) for n in range(2_500)
    ]
    await rebuilt(bench.gate, bench.ledger)
    assert await bench.counters() == {HELD: NUMBER_MAX // 4096 * 2_500, REQUESTS: 2_500}


async def test_a_gate_that_opens_itself_lets_its_caller_notice_nothing(closed_bench: Bench) -> None:
    noticed: list[str] = []
    gate = SelfOpeningGate(closed_bench.gate, closed_bench.ledger, lambda: noticed.append("closed"))
    hold = granted((await gate.reserve([request("a")]))[0])
    await gate.release([Release("a", ORGANIZATION)])
    await gate.start([StartRequest(hold, budget_of())])
    await closed_bench.forget_all()
    await gate.settle([settle_of(hold, 30)])
    assert await closed_bench.counters() == {SPENT: 30}
    assert noticed == ["closed", "closed"]


class LockedLedger(MemoryLedger):
    """Its lock is one that waits; `read` counts the rebuilds that came to read."""

    def __init__(self, charges: list[Charged]) -> None:
        super().__init__(charges)
        self.read = 0
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def exclusive(self, organization_id: int) -> AsyncIterator[MemoryLedger]:
        async with self._lock:
            self.rebuilds += 1
            yield self

    async def nodes(self, organization_id: int) -> Sequence[str]:
        self.read += 1
        return await super().nodes(organization_id)


class OvertakenLedger(MemoryLedger):
    """While it is read, another gate rebuilds from it too, as could happen to one whose lock was lost."""

    def __init__(self, charges: list[Charged], other: RedisGate) -> None:
        super().__init__(charges)
        self._other = other

    async def unsettled(self, organization_id: int, windows: OpenWindows) -> Sequence[Unsettled]:
        await rebuilt(self._other, MemoryLedger(self.charges))
        return []


class LosingLedger(MemoryLedger):
    """While it is read, Redis loses its keys once more."""

    def __init__(self, charges: list[Charged], bench: Bench) -> None:
        super().__init__(charges)
        self._bench = bench

    async def unsettled(self, organization_id: int, windows: OpenWindows) -> Sequence[Unsettled]:
        await self._bench.forget_all()
        return []


class AwayLedger(MemoryLedger):
    async def unsettled(self, organization_id: int, windows: OpenWindows) -> Sequence[Unsettled]:
        raise DatabaseUnavailable("the database is away")
