"""The gate on a real Redis: `python -m benchmarks.gate`.

Each verb in batches of 1, 10 and 100, a few batches under way at a time, through all three levels of the
budget tree with every limit set, for many keys of many projects of one organization. The floor, measured in
the same run, is a pipeline that runs a script returning 1 once a request and does nothing else. CPU is that
of this process and that of the main thread of Redis; what one Redis core could take follows from the latter.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import uvloop
from pydantic import SecretStr
from redis.asyncio import Redis
from rich.console import Console
from rich.table import Table

from benchmarks import report
from broker.errors import GateClosed
from broker.quota.budget import Budget
from broker.quota.gate import Granted, ReserveRequest, Settlement, StartRequest
from broker.quota.ledger_source import LedgerSource
from broker.quota.limits import Limits
from broker.quota.redis_gate import RedisGate
from broker.settings import DatabaseSettings, RedisSettings
from broker.store.database import Database
from broker.store.tables.base import metadata
from schemas.state import Hold
from tests.services import RedisServer

BATCHES = (1, 10, 100)
UNDER_WAY = 4
ORGANIZATION, PROJECTS, KEYS_OF_PROJECT = 1, 20, 3
LIMITS = Limits(
    nanodollars_per_day=10**15,
    nanodollars_per_month=10**15,
    requests_per_minute=10**9,
    tokens_per_minute=10**12,
    tokens_per_day=10**12,
    tokens_per_month=10**12,
    jobs_in_flight=10**9,
)
HOLD_NANODOLLARS = 12_345
RESERVE_CPU_US_MAX = 40.0
RESERVE_PER_CORE_S_MIN = 12_000.0
NOTHING = "return 1"

Send = Callable[[Sequence[Any]], Awaitable[list[Any]]]


@dataclass(frozen=True)
class Measured:
    name: str
    batch: int
    per_s: float
    cpu_us: float
    redis_us: float

    @property
    def per_redis_core_s(self) -> float:
        return 1e6 / self.redis_us


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gate", description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000, help="requests a row")
    parser.add_argument("--json", type=Path, default=Path("build/gate.json"), help="where the figures go")
    options = parser.parse_args()
    with RedisServer() as server:
        rows = uvloop.run(_measure(server.url, options.requests))
    _show(rows)
    figures = [asdict(row) | {"per_redis_core_s": row.per_redis_core_s} for row in rows]
    report.save({"levels": 3, "rows": figures, "reserve": _against_targets(rows)}, options.json)
    print(json.dumps(figures))


async def _measure(url: str, count: int) -> list[Measured]:
    gate = await RedisGate.open(RedisSettings(url=SecretStr(url)), lambda _: "Europe/Berlin")
    budgets = [_budget(project, key) for project in range(PROJECTS) for key in range(KEYS_OF_PROJECT)]
    rows = []
    async with Redis.from_url(url) as client:
        meter = _Meter(client)
        await _open(gate, budgets[0])
        for batch in BATCHES:
            floor = await _floor(client)
            rows.append((await meter.run("floor", batch, range(count), floor))[0])
            rows += await _verbs(gate, meter, batch, _spread(budgets, count))
    await gate.close()
    return rows


async def _open(gate: RedisGate, budget: Budget) -> None:
    """An empty ledger opens the gate."""
    url = SecretStr("sqlite+aiosqlite://")
    database = await Database.open(DatabaseSettings(url=url))
    try:
        await gate.reserve([_request("first", budget)])
    except GateClosed:
        async with database.begin() as connection:
            await connection.run_sync(metadata.create_all)
        await gate.rebuild(LedgerSource(database))
    finally:
        await database.close()


async def _floor(client: Redis) -> Send:
    sha = await client.script_load(NOTHING)

    async def send(items: Sequence[Any]) -> list[Any]:
        async with client.pipeline(transaction=False) as pipeline:
            for _ in items:
                pipeline.evalsha(sha, 0)
            return await pipeline.execute()

    return send


def _budget(project_id: int, key: int) -> Budget:
    return Budget(ORGANIZATION, project_id, f"{project_id:08x}{key:08x}", LIMITS, LIMITS, LIMITS)


def _spread(budgets: Sequence[Budget], count: int) -> list[Budget]:
    """Of which key each request is."""
    return [budgets[number % len(budgets)] for number in range(count)]


async def _verbs(gate: RedisGate, meter: "_Meter", batch: int, spread: Sequence[Budget]) -> list[Measured]:
    requests = [_request(f"{batch:04d}{number:028x}", budget) for number, budget in enumerate(spread)]
    reserved, answers = await meter.run("reserve", batch, requests, gate.reserve)
    holds = [_held(answer) for answer in answers]
    starts = [StartRequest(hold, budget) for hold, budget in zip(holds, spread, strict=True)]
    started, _ = await meter.run("start", batch, starts, gate.start)

    async def settle(items: Sequence[Settlement]) -> list[Any]:
        await gate.settle(items)
        return []

    settlements = [
        Settlement(hold, ORGANIZATION, budget.project_id, budget.key_id, 99, 700)
        for hold, budget in zip(holds, spread, strict=True)
    ]
    settled, _ = await meter.run("settle", batch, settlements, settle)
    return [reserved, started, settled]


class _Meter:
    def __init__(self, client: Redis) -> None:
        self._client = client

    async def run(
        self, name: str, batch: int, items: Sequence[Any], send: Send
    ) -> tuple[Measured, list[Any]]:
        """Send all items in batches, UNDER_WAY at a time; answers in order."""
        batches = [items[start : start + batch] for start in range(0, len(items), batch)]
        answers: list[list[Any]] = [[] for _ in batches]
        turns = iter(range(len(batches)))

        async def sender() -> None:
            for turn in turns:
                answers[turn] = await send(batches[turn])

        redis_s, cpu_s, began_s = await self._redis_s(), time.process_time(), time.perf_counter()
        await asyncio.gather(*(sender() for _ in range(UNDER_WAY)))
        elapsed_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
        redis_s, count = await self._redis_s() - redis_s, len(items)
        measured = Measured(name, batch, count / elapsed_s, cpu_s / count * 1e6, redis_s / count * 1e6)
        return measured, [answer for answered in answers for answer in answered]

    async def _redis_s(self) -> float:
        cpu = await self._client.info("cpu")
        return float(cpu["used_cpu_user_main_thread"]) + float(cpu["used_cpu_sys_main_thread"])


def _request(hold_id: str, budget: Budget) -> ReserveRequest:
    return ReserveRequest(hold_id, budget, HOLD_NANODOLLARS, 300, 1_000, 900_000)


def _held(answer: Any) -> Hold:
    if not isinstance(answer, Granted):
        raise RuntimeError(f"refused in the benchmark: {answer}")
    return answer.hold


def _against_targets(rows: Sequence[Measured]) -> list[dict[str, Any]]:
    """A reservation by batch: what it costs a worker, what one core of Redis takes, whether that will do."""
    return [
        {
            "batch": row.batch,
            "cpu_us": row.cpu_us,
            "cpu_us_max": RESERVE_CPU_US_MAX,
            "per_redis_core_s": row.per_redis_core_s,
            "per_redis_core_s_min": RESERVE_PER_CORE_S_MIN,
            "will_do": row.cpu_us <= RESERVE_CPU_US_MAX and row.per_redis_core_s >= RESERVE_PER_CORE_S_MIN,
        }
        for row in rows
        if row.name == "reserve"
    ]


def _show(rows: Sequence[Measured]) -> None:
    table = Table(title="The gate, a request through three levels", title_justify="left")
    for column in ("verb", "batch", "requests/s", "worker CPU µs", "Redis CPU µs", "requests/s a Redis core"):
        table.add_column(column, justify="left" if column == "verb" else "right")
    for row in rows:
        figures = (
            f"{row.per_s:,.0f}",
            f"{row.cpu_us:.1f}",
            f"{row.redis_us:.1f}",
            f"{row.per_redis_core_s:,.0f}",
        )
        table.add_row(row.name, str(row.batch), *figures)
    Console(width=100).print(table)
    for found in _against_targets(rows):
        print(
            f"reserve in batches of {found['batch']}: {found['cpu_us']:.1f} µs of a worker's CPU "
            f"(at most {RESERVE_CPU_US_MAX:.0f}), {found['per_redis_core_s']:,.0f}/s on a core of Redis "
            f"(at least {RESERVE_PER_CORE_S_MIN:,.0f})"
        )


if __name__ == "__main__":
    main()
