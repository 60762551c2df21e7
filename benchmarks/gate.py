"""The gate on a real Redis: `python -m benchmarks.gate`.

Each verb in batches of 1, 10 and 100, a few batches under way at a time. The floor, measured in the same run,
is a pipeline that runs a script returning 1 once a request and does nothing else. CPU is that of this process
and that of the main thread of Redis; what one Redis core could take follows from the latter.
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
from broker.quota.gate import Granted, ReserveRequest, Settlement, StartRequest
from broker.quota.ledger_source import LedgerSource
from broker.quota.limits import Limits
from broker.quota.redis_gate import RedisGate
from broker.settings import DatabaseSettings, RedisSettings
from broker.store.database import Database
from broker.store.tables import metadata
from schemas.state import Hold
from tests.services import RedisServer

BATCHES = (1, 10, 100)
UNDER_WAY = 4
ORGANIZATION, PROJECTS = 1, 20
LIMITS = Limits(nanodollars_per_day=10**15, requests_per_minute=10**9)
HOLD_NANODOLLARS = 12_345
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
    report.save(
        {"rows": [asdict(row) | {"per_redis_core_s": row.per_redis_core_s} for row in rows]}, options.json
    )
    print(json.dumps([asdict(row) for row in rows]))


async def _measure(url: str, count: int) -> list[Measured]:
    gate = await RedisGate.open(RedisSettings(url=SecretStr(url)))
    rows = []
    async with Redis.from_url(url) as client:
        meter = _Meter(client)
        await _open(gate)
        for batch in BATCHES:
            floor = await _floor(client)
            rows.append((await meter.run("floor", batch, range(count), floor))[0])
            rows += await _verbs(gate, meter, batch, count)
    await gate.close()
    return rows


async def _open(gate: RedisGate) -> None:
    """An empty ledger opens the gate."""
    url = SecretStr("sqlite+aiosqlite://")
    database = await Database.open(DatabaseSettings(url=url))
    try:
        await gate.reserve([_request("first", 0)])
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


async def _verbs(gate: RedisGate, meter: "_Meter", batch: int, count: int) -> list[Measured]:
    requests = [_request(f"{batch:04d}{number:028x}", number % PROJECTS) for number in range(count)]
    reserved, answers = await meter.run("reserve", batch, requests, gate.reserve)
    holds = [_held(answer) for answer in answers]
    starts = [StartRequest(hold, ORGANIZATION, n % PROJECTS, LIMITS) for n, hold in enumerate(holds)]
    started, _ = await meter.run("start", batch, starts, gate.start)

    async def settle(items: Sequence[Settlement]) -> list[Any]:
        await gate.settle(items)
        return []

    settlements = [Settlement(hold, ORGANIZATION, n % PROJECTS, 99) for n, hold in enumerate(holds)]
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


def _request(hold_id: str, project_id: int) -> ReserveRequest:
    return ReserveRequest(hold_id, ORGANIZATION, project_id, HOLD_NANODOLLARS, 300, 1_000, LIMITS, 900_000)


def _held(answer: Any) -> Hold:
    if not isinstance(answer, Granted):
        raise RuntimeError(f"refused in the benchmark: {answer}")
    return answer.hold


def _show(rows: Sequence[Measured]) -> None:
    table = Table(title="The gate, a request", title_justify="left")
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


if __name__ == "__main__":
    main()
