"""Many workers at once: the cap holds at every instant, and nothing leaks that would refuse others later."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

from broker.errors import GateClosed
from broker.quota.calendar import DAY_MS
from broker.quota.gate import Granted, Over, StartRequest
from broker.quota.limits import Limits
from broker.quota.rebuild import Unsettled
from broker.quota.redis_gate import RedisGate
from schemas.state import Hold
from tests.contracts.quota.harness import (
    KEY,
    NOON_MS,
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


async def taken(bench: Bench) -> int:
    counters = await bench.counters()
    return counters.get(SPENT, 0) + counters.get(HELD, 0)


async def test_the_cap_holds_while_reservers_race_and_die(bench: Bench) -> None:
    random, watching = Random(5), True
    seen: list[int] = []

    async def watch() -> None:
        while watching:
            seen.append(await taken(bench))

    async def work(number: int, dies: bool, cost: int) -> int:
        gate = bench.gates[number % len(bench.gates)]
        (answer,) = await gate.reserve([request(f"h{number}", ESTIMATE, LIMITS)])
        if isinstance(answer, Over) or dies:
            return 0
        hold = granted(answer)
        await gate.start([StartRequest(hold, budget_of(LIMITS))])
        await gate.settle([settle_of(hold, cost)])
        return cost

    watcher = asyncio.create_task(watch())
    costs = await asyncio.gather(
        *(work(n, random.random() < 0.2, random.randint(0, ESTIMATE)) for n in range(WORKERS))
    )
    watching = False
    await watcher
    assert max(seen) <= CAP
    assert (await bench.counters())[SPENT] == sum(costs)

    bench.clock.now_ms += 60_000
    left = CAP - sum(costs)
    over, last = await bench.gate.reserve([request("x", left + 1, LIMITS), request("y", left, LIMITS)])
    assert isinstance(over, Over)
    assert isinstance(last, Granted)
    assert await taken(bench) == CAP


@dataclass
class Books(MemoryLedger):
    """The ledger, and what is truly owed at each instant: calls under way at their bound, and costs."""

    owed: int = 0
    owed_max: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[MemoryLedger]:
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
