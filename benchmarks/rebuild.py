"""How long an organization's gate is closed when Redis was emptied: `python -m benchmarks.rebuild`.

On a real PostgreSQL and Redis, with a million charges of this month in the ledger, spread evenly over its
days, of a hundred keys. The counters are made anew from them; meanwhile nothing of that organization passes,
and no other process rebuilds it.
"""

import argparse
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import uvloop
from pydantic import SecretStr
from redis.asyncio import Redis
from sqlalchemy import text

from benchmarks import report
from benchmarks.plant import say
from broker.errors import GateClosed
from broker.quota.budget import ORGANIZATION_NODE
from broker.quota.calendar import Calendar
from broker.quota.counters import Counters, NodeOf
from broker.quota.ledger_source import LedgerSource
from broker.quota.redis_gate import RedisGate
from broker.settings import DatabaseSettings, RedisSettings
from broker.store.database import Database
from broker.store.migrate import upgrade
from schemas.state import month_of
from tests.services import PostgresServer, RedisServer
from workers.outlets import wall_clock_ms

ORGANIZATION = 1
_STATEMENT_MS_MAX = 300_000
_TREE = (
    "INSERT INTO organizations (id, name, created_ms) VALUES (1, 'acme', 0)",
    "INSERT INTO projects (id, organization_id, name, settings, created_ms) VALUES (1, 1, 'p', '{}', 0)",
    "INSERT INTO applications (id, project_id, name, created_ms) VALUES (1, 1, 'a', 0)",
    """INSERT INTO keys (id, application_id, secret_wrapped, created_ms)
    SELECT 'k' || n, 1, '', 0 FROM generate_series(0, 99) AS n""",
)
_CHARGES = text("""
INSERT INTO charges (application_id, job_id, run, attempt, organization_id, project_id, key_id, model, target,
  lane, verdict, hold_id, hold_nanodollars, nanodollars, estimated, tokens, price_version, day, month, minute,
  latency_ms, at_ms)
SELECT 1, gen_random_uuid(), 1, 1, 1, 1, 'k' || n % 100, 'm', 't', 'bulk', 'answered', md5(CAST(n AS text)),
  900, 700, false, 30, 'v',
  CAST(:first AS integer) + n % (CAST(:last AS integer) - CAST(:first AS integer) + 1),
  CAST(:month AS integer), 0, 1, 0
FROM generate_series(1, :charges) AS n
""")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rebuild", description=__doc__)
    parser.add_argument("--charges", type=int, default=1_000_000, help="of this month")
    parser.add_argument("--json", type=Path, default=Path("build/rebuild.json"), help="where the figures go")
    options = parser.parse_args()
    figures = uvloop.run(_measure(options.charges))
    rows = [
        ("an empty ledger", f"{figures['empty_s']:.2f} s", ""),
        (f"{options.charges:,} charges", f"{figures['full_s']:.2f} s", f"over {figures['days']} days"),
    ]
    report.show("An organization's counters, made anew", rows)
    report.save(figures, options.json)


async def _measure(charges: int) -> dict[str, Any]:
    with PostgresServer() as postgres, RedisServer() as redis:
        async with postgres.fresh_database() as url, Redis.from_url(redis.url) as client:
            await upgrade(url)
            settings = DatabaseSettings(url=SecretStr(url), statement_timeout_ms=_STATEMENT_MS_MAX)
            database = await Database.open(settings)
            gate = await RedisGate.open(RedisSettings(url=SecretStr(redis.url)))
            try:
                return await _trial(database, gate, client, charges)
            finally:
                await gate.close()
                await database.close()


async def _trial(database: Database, gate: RedisGate, client: Redis, charges: int) -> dict[str, Any]:
    last = Calendar().day(wall_clock_ms())
    first = next(day for day in range(last, 0, -1) if month_of(day - 1) != month_of(last))
    async with database.begin() as connection:
        for statement in _TREE:
            await connection.execute(text(statement))
    empty_s, _ = await _rebuilt(database, gate, client)
    say(f"{charges:,} charges")
    async with database.begin() as connection:
        found = {"first": first, "last": last, "month": month_of(last), "charges": charges}
        await connection.execute(_CHARGES, found)
    async with database.connect() as connection:
        await connection.execute(text("VACUUM ANALYZE charges"))
    full_s, counters = await _rebuilt(database, gate, client)
    if counters.of_month.nanodollars_spent != charges * 700:
        raise RuntimeError(f"the gate counts {counters.of_month}")
    return {"charges": charges, "days": last - first + 1, "empty_s": empty_s, "full_s": full_s}


async def _rebuilt(database: Database, gate: RedisGate, client: Redis) -> tuple[float, Counters]:
    """Seconds until the gate is open again, and what the organization counts then."""
    await client.flushall()
    nodes = [NodeOf(ORGANIZATION, ORGANIZATION_NODE)]
    with suppress(GateClosed):
        await gate.counters(nodes)
    began_s = time.perf_counter()
    await gate.rebuild(LedgerSource(database))
    elapsed_s = time.perf_counter() - began_s
    (counters,) = await gate.counters(nodes)
    return elapsed_s, counters


if __name__ == "__main__":
    main()
