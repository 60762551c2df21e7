"""What the contract tests of the gate share: a clock to set, a ledger in memory, a look at the counters."""

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from redis.asyncio import Redis

from broker.quota.budget import Budget
from broker.quota.calendar import DAY_MS, OpenWindows
from broker.quota.gate import Corrections, Granted, Over, ReserveRequest, Settled, Settlement
from broker.quota.limits import Limits
from broker.quota.rebuild import (
    CorrectedBatch,
    CorrectedTotal,
    Decided,
    MinuteTotal,
    Overruled,
    SettledHold,
    Total,
    Unsettled,
)
from broker.quota.redis_gate import RedisGate
from schemas.state import Hold, month_of

ORGANIZATION = 7
PROJECT = 1
KEY = "a"
NOON_MS = 20_000 * DAY_MS + DAY_MS // 2
NO_LIMITS = Limits()


class Clock:
    def __init__(self, now_ms: int = NOON_MS) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms


class Charged(NamedTuple):
    """An attempt whose cost is on record."""

    project_id: int
    hold_id: str
    day: int
    minute: int
    nanodollars: int
    tokens: int = 0
    key_id: str = KEY

    @property
    def month(self) -> int:
        return month_of(self.day)


@dataclass
class MemoryLedger:
    """A ledger as a rebuild sees it. `rebuilds` counts how often its lock was taken."""

    charges: list[Charged] = field(default_factory=list)
    intents: list[Unsettled] = field(default_factory=list)
    verdicts: list[Decided] = field(default_factory=list)
    corrections: list[Corrections] = field(default_factory=list)
    tree: tuple[str, ...] = ("o", "p1", "p2", "ka", "kb")
    rebuilds: int = 0

    @asynccontextmanager
    async def exclusive(self, organization_id: int) -> AsyncIterator["MemoryLedger"]:
        self.rebuilds += 1
        yield self

    async def nodes(self, organization_id: int) -> Sequence[str]:
        return self.tree

    async def settled(
        self, organization_id: int, windows: OpenWindows
    ) -> AsyncIterator[Sequence[SettledHold]]:
        for row in self.charges:
            if row.day >= windows.first_day:
                yield [SettledHold(row.hold_id, row.day, row.month, row.minute)]

    async def totals(self, organization_id: int, windows: OpenWindows) -> AsyncIterator[Sequence[Total]]:
        sums: defaultdict[tuple[int, str, int, int], list[int]] = defaultdict(lambda: [0, 0])
        for row in self.charges:
            if row.month >= windows.first_month:
                total = sums[row.project_id, row.key_id, row.day, row.month]
                total[0] += row.nanodollars
                total[1] += row.tokens
        for by, (nanodollars, tokens) in sums.items():
            yield [Total(*by, nanodollars, tokens)]

    async def latest(self, organization_id: int, windows: OpenWindows) -> Sequence[MinuteTotal]:
        return [
            MinuteTotal(row.project_id, row.key_id, row.minute, 1, row.tokens)
            for row in self.charges
            if row.minute >= windows.minute
        ]

    async def corrected(
        self, organization_id: int, windows: OpenWindows
    ) -> AsyncIterator[Sequence[CorrectedTotal]]:
        yield [
            CorrectedTotal(
                change.project_id,
                change.key_id,
                change.day,
                batch.month,
                *_parts(change.nanodollars),
                *_parts(change.tokens),
                is_told=True,
            )
            for batch in self.corrections
            if batch.month >= windows.first_month
            for change in batch.changes
        ]

    async def reconciled(self, organization_id: int, windows: OpenWindows) -> Sequence[CorrectedBatch]:
        found = [batch for batch in self.corrections if batch.month >= windows.first_month]
        return [CorrectedBatch(str(batch.id), batch.month) for batch in found]

    async def decided(self, organization_id: int, windows: OpenWindows) -> AsyncIterator[Sequence[Decided]]:
        yield [row for row in self.verdicts if row.charge.hold.month >= windows.first_month]

    async def overruled(
        self, organization_id: int, windows: OpenWindows
    ) -> AsyncIterator[Sequence[Overruled]]:
        nobody: list[Sequence[Overruled]] = []
        for rows in nobody:
            yield rows

    async def unsettled(self, organization_id: int, windows: OpenWindows) -> Sequence[Unsettled]:
        return [item for item in self.intents if item.hold.month >= windows.first_month]

    async def overtaken(self, organization_id: int, windows: OpenWindows) -> Sequence[Unsettled]:
        return []


def _parts(amount: int) -> tuple[int, int]:
    return max(0, amount), max(0, -amount)


@dataclass
class Bench:
    """A server under test and gates upon it, each with a client of its own as another process would have."""

    kind: str
    client: Redis
    prefix: str
    clock: Clock
    ledger: MemoryLedger
    gates: list[RedisGate]

    @property
    def gate(self) -> RedisGate:
        return self.gates[0]

    async def open(self) -> None:
        """Each gate learns that it is closed, and the first to come opens it."""
        for gate in self.gates:
            await rebuilt(gate, self.ledger)

    async def tree(self) -> dict[str, dict[str, tuple[int, ...]]]:
        """The numbers of each window of each node, as `prelude.lua` orders them, and of `jobs`; without those
        that are zero.
        """
        found: dict[str, dict[str, tuple[int, ...]]] = {}
        for key in await self.keys():
            _, is_node, name = key.decode().partition(":node:")
            if is_node:
                fields: dict[Any, Any] = await self.client.hgetall(key.decode())
                numbers = {each.decode(): tuple(map(int, text.split())) for each, text in fields.items()}
                found[name] = {each: amounts for each, amounts in numbers.items() if any(amounts)}
        return {name: fields for name, fields in found.items() if fields}

    async def counters(self, project_id: int = PROJECT) -> dict[str, int]:
        """Dollars of days and requests of minutes of a project, where they are not zero."""
        found: dict[str, int] = {}
        for name, numbers in (await self.tree()).get(f"p{project_id}", {}).items():
            if name.startswith("d:"):
                found |= {f"{name}:spent": numbers[0], f"{name}:held": numbers[1]}
            elif name.startswith("i:"):
                found[f"{name}:requests"] = numbers[0]
        return {name: number for name, number in found.items() if number}

    async def jobs(self, project_id: int = PROJECT) -> int:
        return int(await self.client.hget(self._node(project_id), "jobs") or 0)

    async def miscount_jobs(self, number: int, project_id: int = PROJECT) -> None:
        await self.client.hincrby(self._node(project_id), "jobs", number)

    def _node(self, project_id: int) -> str:
        return f"{self.prefix}:{{o{ORGANIZATION}}}:node:p{project_id}"

    async def keys(self) -> list[bytes]:
        return sorted([key async for key in self.client.scan_iter(f"{self.prefix}:*")])

    async def forget_all(self) -> None:
        """What FLUSHALL does, to this test's keys."""
        keys = await self.keys()
        if keys:
            await self.client.delete(*keys)


async def rebuilt(gate: RedisGate, ledger: MemoryLedger) -> None:
    gate._runner.closed.add(ORGANIZATION)
    await gate.rebuild(ledger)


def budget_of(
    limits: Limits = NO_LIMITS,
    *,
    organization_id: int = ORGANIZATION,
    project_id: int = PROJECT,
    key_id: str = KEY,
    organization: Limits = NO_LIMITS,
    key: Limits = NO_LIMITS,
) -> Budget:
    """`limits` are the project's."""
    return Budget(organization_id, project_id, key_id, organization, limits, key)


def request(
    hold_id: str, nanodollars: int = 100, limits: Limits | None = None, **changes: Any
) -> ReserveRequest:
    """`changes` of the request, or of `budget_of`."""
    values: dict[str, Any] = {
        "hold_id": hold_id,
        "nanodollars": nanodollars,
        "input_tokens": 11,
        "output_tokens": 22,
        "ttl_ms": 60_000,
    }
    own = {name: value for name, value in changes.items() if name in ReserveRequest.__dataclass_fields__}
    if "budget" not in own:
        rest = {name: value for name, value in changes.items() if name not in own}
        own["budget"] = budget_of(limits or NO_LIMITS, **rest)
    return ReserveRequest(**values | own)


def settle_of(hold: Hold, nanodollars: int, tokens: int = 33, **changes: Any) -> Settlement:
    values: dict[str, Any] = {"organization_id": ORGANIZATION, "project_id": PROJECT, "key_id": KEY}
    return Settlement(hold, nanodollars=nanodollars, tokens=tokens, **values | changes)


def granted(answer: Granted | Over | Settled) -> Hold:
    assert isinstance(answer, Granted), answer
    return answer.hold
