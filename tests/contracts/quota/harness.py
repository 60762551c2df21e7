"""What the contract tests of the gate share: a clock to set, a ledger in memory, a look at the counters."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis

from broker.quota.gate import Granted, Over, ReserveRequest, Settled
from broker.quota.limits import DAY_MS, Limits
from broker.quota.rebuild import Charged, Unsettled
from broker.quota.redis_gate import RedisGate
from schemas.state import Hold

ORGANIZATION = 7
PROJECT = 1
NOON_MS = 20_000 * DAY_MS + DAY_MS // 2


class Clock:
    def __init__(self, now_ms: int = NOON_MS) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms


@dataclass
class MemoryLedger:
    """A ledger as a rebuild sees it. `rebuilds` counts how often its lock was taken."""

    charges: list[Charged] = field(default_factory=list)
    intents: list[Unsettled] = field(default_factory=list)
    projects: tuple[int, ...] = (PROJECT, 2)
    rebuilds: int = 0

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator["MemoryLedger"]:
        self.rebuilds += 1
        yield self

    async def project_ids(self, organization_id: int) -> Sequence[int]:
        return self.projects

    async def charged(self, organization_id: int, first_day: int) -> AsyncIterator[Sequence[Charged]]:
        rows = [row for row in self.charges if row.day >= first_day]
        for start in range(0, len(rows), 2):
            yield rows[start : start + 2]

    async def unsettled(self, organization_id: int, first_day: int) -> Sequence[Unsettled]:
        return [item for item in self.intents if item.hold.day >= first_day]


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

    async def counters(self, project_id: int = PROJECT) -> dict[str, int]:
        """Those of windows, where they are not zero."""
        found: dict[Any, Any] = await self.client.hgetall(self._node(project_id))
        numbers = {field.decode(): int(value) for field, value in found.items() if int(value)}
        numbers.pop("jobs", None)
        return numbers

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
    gate._closed.add(ORGANIZATION)
    await gate.rebuild(ledger)


def request(
    hold_id: str, nanodollars: int = 100, limits: Limits | None = None, **changes: Any
) -> ReserveRequest:
    values: dict[str, Any] = {
        "hold_id": hold_id,
        "organization_id": ORGANIZATION,
        "project_id": PROJECT,
        "nanodollars": nanodollars,
        "input_tokens": 11,
        "output_tokens": 22,
        "limits": limits or Limits(),
        "ttl_ms": 60_000,
    }
    return ReserveRequest(**values | changes)


def granted(answer: Granted | Over | Settled) -> Hold:
    assert isinstance(answer, Granted), answer
    return answer.hold
