"""Many workers at once: the cap holds at every instant, and nothing leaks that would refuse others later."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

from broker.errors import GateClosed
from broker.quota.budget import project_node
from broker.quota.calendar import DAY_MS
from broker.quota.counters import NodeOf
from broker.quota.gate import Granted, Over, StartRequest
from broker.quota.limits import Limits
from broker.quota.rebuild import Unsettled
from broker.quota.redis_gate import RedisGate
from schemas.state import Hold, month_of
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
    request,
    settle_of,
)

T = TypeVar("T")
WORKERS, ESTIMATE, CAP = 200, 100, 5_000
LIMITS = Limits(nanodollars_per_day=CAP)
SPENT, HELD = f"d:{NOON_MS // DAY_MS}:spent", f"d:{NOON_MS // DAY_MS}:held"


CAPS = {"o": CAP, "p1": 3_000, "p2": 3_000, "ka": 1_800, "kb": 1_800, "kc": 1_800, "kd": 1_800}
DAY_FIELD = f"d:{NOON_MS // DAY_MS}"
MONTH_FIELD = f"m:{month_of(NOON_MS // DAY_MS)}"


def dollars(cap: int) -> Limits:
    """The same of the month, so that both are held to it."""
    return Limits(nanodollars_per_day=cap, nanodollars_per_month=cap)


BUDGETS = [
    budget_of(
        dollars(CAPS[f"p{project_id}"]),
        project_id=project_id,
        key_id=key_id,
        organization=dollars(CAP),
        key=dollars(CAPS[f"k{key_id}"]),
    )
    for project_id, key_id in [(1, "a"), (1, "b"), (2, "c"), (2, "d")]
]


async def taken(bench: Bench) -> dict[str, int]:
    """Spent and held, of the day and of the month, the greater; by node."""
    found = {}
    for node, fields in (await bench.tree()).items():
        windows = [fields.get(name, (0, 0)) for name in (DAY_FIELD, MONTH_FIELD)]
        found[node] = max(spent + held for spent, held, *_ in windows)
    return found


async def test_the_caps_hold_while_reservers_race_and_die(bench: Bench) -> None:
    """Two hundred at once on three levels; one in five dies between its hold and its settlement."""
    random, watching = Random(5), True
    seen: list[dict[str, int]] = []
    spent: Counter[str] = Counter()

    async def watch() -> None:
        while watching:
            seen.append(await taken(bench))

    async def work(number: int, dies: bool, cost: int) -> None:
        gate, budget = bench.gates[number % len(bench.gates)], BUDGETS[number % len(BUDGETS)]
        (answer,) = await gate.reserve([request(f"h{number}", ESTIMATE, budget=budget)])
        if isinstance(answer, Over) or dies:
            return
        hold = granted(answer)
        await gate.start([StartRequest(hold, budget)])
        await gate.settle([settle_of(hold, cost, project_id=budget.project_id, key_id=budget.key_id)])
        for node in ("o", f"p{budget.project_id}", f"k{budget.key_id}"):
            spent[node] += cost

    watcher = asyncio.create_task(watch())
    await asyncio.gather(
        *(work(n, random.random() < 0.2, random.randint(0, ESTIMATE)) for n in range(WORKERS))
    )
    watching = False
    await watcher
    assert seen
    assert all(amount <= CAPS[node] for sample in seen for node, amount in sample.items())

    bench.clock.now_ms += 60_000
    assert await bench.gate.jobs_in_flight(
        [NodeOf(ORGANIZATION, project_node(1)), NodeOf(ORGANIZATION, project_node(2))]
    ) == [0, 0]
    assert not any(name.endswith((b":held", b":holds")) for name in await bench.keys())
    assert await taken(bench) == spent
    left = CAP - spent["o"]
    rich = budget_of(project_id=3, key_id="z", organization=dollars(CAP))
    over, last = await bench.gate.reserve(
        [request("x", left + 1, budget=rich), request("y", left, budget=rich)]
    )
    assert isinstance(over, Over)
    assert isinstance(last, Granted)
    assert (await taken(bench))["o"] == CAP


@dataclass
class Books(MemoryLedger):
    """The ledger, and what is truly owed at each instant: calls under way at their bound, and costs."""

    owed: int = 0
    owed_max: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @asynccontextmanager
    async def exclusive(self, organization_id: int) -> AsyncIterator[MemoryLedger]:
        async with self.lock:
            self.rebuilds += 1
            yield self

    def called(self, hold: Hold) -> None:
        self.intents.append(Unsettled(PROJECT, KEY, hold))
        self.owed += hold.nanodollars
        self.owed_max = max(self.owed_max, self.owed)

    def charged_for(self, hold: Hold, cost: int) -> None:
        self.intents.remove(Unsettled(PROJECT, KEY, hold))
        self.charges.append(Charged(PROJECT, hold.id, hold.day, hold.minute, cost))
        self.owed -= hold.nanodollars - cost


async def through(gate: RedisGate, books: Books, call: Callable[[], Awaitable[T]]) -> T:
    while True:
        try:
            return await call()
        except GateClosed:
            await gate.rebuild(books)


async def test_the_cap_holds_when_redis_is_emptied_again_and_again(bench: Bench) -> None:
    books, random, done = Books(), Random(6), 0

    async def start(gate: RedisGate, hold: Hold) -> Hold | None:
        async with books.lock:
            (answer,) = await gate.start([StartRequest(hold, budget_of(LIMITS))])
            if isinstance(answer, Granted):
                books.called(answer.hold)
                return answer.hold
        return None

    async def work(number: int, cost: int) -> None:
        nonlocal done
        gate = bench.gates[number % len(bench.gates)]
        one = request(f"h{number}", ESTIMATE, LIMITS)
        (answer,) = await through(gate, books, lambda: gate.reserve([one]))
        hold = None
        if isinstance(answer, Granted):
            held = answer.hold
            hold = await through(gate, books, lambda: start(gate, held))
        if hold is not None:
            books.charged_for(hold, cost)
            settlement = settle_of(hold, cost)
            await through(gate, books, lambda: gate.settle([settlement]))
        done += 1
        if done % 40 == 0:
            await bench.forget_all()

    await asyncio.gather(*(work(n, random.randint(0, ESTIMATE)) for n in range(WORKERS)))
    await through(bench.gate, books, lambda: bench.gate.reserve([]))
    await through(bench.gate, books, lambda: bench.gate.reserve([request("last", CAP + 1, LIMITS)]))
    assert books.rebuilds > 1
    assert books.owed_max <= CAP
    assert books.intents == []
    assert (await bench.counters())[SPENT] == sum(row.nanodollars for row in books.charges) == books.owed
