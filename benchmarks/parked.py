"""A million parked jobs: `python -m benchmarks.parked`.

On a real PostgreSQL and Redis. The index of what is parked gets a million rows, of a thousand projects, none
of them due; a fiftieth of the projects have jobs that wait in line for room that they do not get. Measured
are the tables, each statement of RETRY and RESERVE about them (by EXPLAIN, and by the rows that it reads on
connections whose plans were made when the index was empty), what a round of both costs with and without the
million, and how soon a job of one more project goes on when its budget is raised. No Kafka is in it: the
records that are read and published are in memory.
"""

import argparse
import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple, cast

import uvloop
from pydantic import SecretStr
from sqlalchemy import text

from benchmarks import report
from benchmarks.plant import say
from broker.identity.directory import Directory, ProjectSettings
from broker.kafka.producing import Producer
from broker.kafka.reading import CoordinateReader
from broker.ops import budgets
from broker.ops.bootstrap import bootstrap
from broker.ops.projects import Address
from broker.quota.gate import Gate
from broker.quota.ledger_source import LedgerSource
from broker.quota.redis_gate import RedisGate
from broker.quota.self_opening import SelfOpeningGate
from broker.records import Incoming, Outgoing, Sealer
from broker.settings import DatabaseSettings, RedisSettings, ReserveSettings
from broker.store.cancels import Cancels
from broker.store.crowds import Waiting
from broker.store.database import Database
from broker.store.migrate import upgrade
from broker.store.parking import ParkedRow, Parking
from broker.store.reviews import Reviews
from broker.telemetry.metrics import Metrics
from schemas import topics
from schemas.topics import Coordinate
from tests.services import PostgresServer, RedisServer
from tests.unit.workers.memory import SEAL_KEY, MemoryProducer, received, state
from workers.crowds import Crowds, Room
from workers.outlets import Outlets, wall_clock_ms
from workers.review import Rulings
from workers.tombstones import Tombstones
from workers.tools import Tools
from workers.waker import Waker

PROJECTS, LINES, PARTITIONS = 1_000, 20, 6
ROUNDS, WARMING = 40, 8
READ_MAX = 1_000
TRIED = budgets.Subject("project", "acme/tried")
_KEK = bytes(32)
_HOUR_MS = 3_600_000
_STATEMENT_MS_MAX = 300_000

_PROJECTS = f"""
INSERT INTO projects (id, organization_id, name, settings, created_ms)
SELECT 1000 + n, (SELECT id FROM organizations), 'p' || n,
  CAST(CASE WHEN n <= {LINES} THEN '{{"jobs_in_flight": 0}}' ELSE '{{}}' END AS json), 0
FROM generate_series(1, {PROJECTS}) AS n
"""  # noqa: S608  # numbers of ours
_ROWS = f"""
INSERT INTO parked
SELECT p % {PARTITIONS}, n, 1, gen_random_uuid(), 1, 1, 1000 + p,
  CASE WHEN r < 0.05 THEN 'interactive' WHEN r < 0.3 THEN 'standard' ELSE 'bulk' END,
  CAST(:now AS bigint) + {_HOUR_MS} + CAST(random() * 6 * 24 * {_HOUR_MS} AS bigint),
  CASE WHEN p <= {LINES} THEN 'jobs_in_flight' ELSE 'nanodollars_per_day' END,
  CAST(:now AS bigint) - CAST(random() * {_HOUR_MS} AS bigint), 2000,
  CASE WHEN p <= {LINES} THEN '1/p' || 1000 + p END
FROM (SELECT n, random() AS r, 1 + CAST(floor(power(random(), 2) * {PROJECTS}) AS integer) AS p
  FROM generate_series(1, :rows) AS n) AS rows
"""  # noqa: S608  # numbers of ours
_SIZES = text(
    "SELECT relname, pg_relation_size(oid) AS bytes FROM pg_class WHERE relname = 'parked' OR oid IN"
    " (SELECT indexrelid FROM pg_index WHERE indrelid = 'parked'::regclass) ORDER BY relkind DESC, relname"
)
_READ = text(
    "SELECT coalesce(sum(seq_tup_read) + sum(idx_tup_fetch), 0) + (SELECT coalesce(sum(idx_tup_read), 0)"
    " FROM pg_stat_user_indexes WHERE relname = 'parked') FROM pg_stat_user_tables WHERE relname = 'parked'"
)
_EXPLAINED = {
    "due": "SELECT * FROM parked WHERE lane = 'bulk' AND due_ms <= {now} AND partition IN (0, 1, 2)"
    ' ORDER BY due_ms, appended_ms, partition, "offset" LIMIT 500',
    "next line": "SELECT min(line) FROM parked WHERE line IS NOT NULL AND line > '1/p1003'",
    "first in line": "SELECT * FROM parked WHERE line = '1/p1003' AND lane = 'bulk'"
    ' ORDER BY appended_ms, partition, "offset" LIMIT 500',
    "count": "SELECT count(*) FROM (SELECT partition FROM parked LIMIT 10000) AS counted",
    "wake of a project": "UPDATE parked SET due_ms = {now} WHERE project_id = 1999 AND due_ms > {now}"
    " AND line IS NULL AND reason <> 'review'",
}


class Round(NamedTuple):
    cpu_ms: float
    elapsed_ms: float


class _Memory:
    """The topic `parked`, with the one job whose budget is raised."""

    def __init__(self) -> None:
        self.records: dict[Coordinate, Incoming] = {}

    async def read(self, places: Collection[Coordinate]) -> Mapping[Coordinate, Incoming]:
        return {at: self.records[at] for at in places if at in self.records}


class _Producer(MemoryProducer):
    def __init__(self) -> None:
        super().__init__()
        self.published = asyncio.Event()

    async def send_all(self, records: Sequence[Outgoing]) -> list[Coordinate]:
        self.published.set()
        return await super().send_all(records)


class _Yard:
    """What RETRY and RESERVE do about parked jobs, and what they do it with."""

    def __init__(self, database: Database, directory: Directory, gate: Gate) -> None:
        """All statements go by the one connection of `database`, which keeps their plans."""
        self.database = database
        self.memory, self.producer = _Memory(), _Producer()
        self.parking, self.waiting = Parking(database), Waiting(database)
        metrics, self.sealer = Metrics(), Sealer(SEAL_KEY)
        tombstones = Tombstones(Cancels(database), 1_000, wall_clock_ms, metrics)
        outlets = Outlets(self.sealer, wall_clock_ms)
        producer = cast(Producer, self.producer)
        kit = Tools(producer, self.sealer, outlets, wall_clock_ms, metrics, tombstones)
        room = Room(self.waiting, gate, directory, ReserveSettings())
        reader = cast(CoordinateReader, self.memory)
        rulings = Rulings(kit, Reviews(database))
        self.waker = Waker(kit, self.parking, reader, room, rulings, 1.0, lambda: range(PARTITIONS))
        self.crowds = Crowds(room, 1.0, metrics)

    @property
    def works(self) -> dict[str, Callable[[], Awaitable[object]]]:
        now_ms = wall_clock_ms()
        return {
            "due": lambda: self.parking.due(range(PARTITIONS), now_ms, 500),
            "lines": self.waiting.lines,
            "first in line": lambda: self.waiting.first("1/p1003", range(PARTITIONS), 500),
            "wake of a project": lambda: self.parking.wake(999),
        }

    async def idle(self) -> Round:
        """A round of each, of which there is one a second."""
        cpu_s, began_s = time.process_time(), time.perf_counter()
        for _ in range(ROUNDS):
            await self.waker.wake()
            await self.crowds.refresh()
        cpu_s, elapsed_s = time.process_time() - cpu_s, time.perf_counter() - began_s
        return Round(cpu_s / ROUNDS * 1e3, elapsed_s / ROUNDS * 1e3)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parked", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="parked jobs")
    parser.add_argument("--json", type=Path, default=Path("build/parked.json"), help="where the figures go")
    options = parser.parse_args()
    figures = uvloop.run(_measure(options.rows))
    report.show(f"{options.rows:,} parked jobs", _shown(figures))
    report.save(figures, options.json)


async def _measure(rows: int) -> dict[str, Any]:
    with PostgresServer() as postgres, RedisServer() as redis:
        async with postgres.fresh_database() as url, AsyncExitStack() as stack:
            await upgrade(url)
            database, beside = [await _opened(stack, url, connections) for connections in (1, 2)]
            address = Address("acme", "tried")
            await bootstrap(database, _KEK, address, "tried", ProjectSettings(nanodollars_per_day=1))
            async with database.begin() as connection:
                await connection.execute(text(_PROJECTS))
            directory = await stack.enter_async_context(Directory(beside, _KEK, 1_000))
            settings = RedisSettings(url=SecretStr(redis.url))
            gate = await RedisGate.open(settings, directory.time_zone)
            stack.push_async_callback(gate.close)
            return await _trial(
                _Yard(database, directory, SelfOpeningGate(gate, LedgerSource(beside), lambda: None)), rows
            )


async def _opened(stack: AsyncExitStack, url: str, connections: int) -> Database:
    settings = DatabaseSettings(
        url=SecretStr(url), pool_size=connections, statement_timeout_ms=_STATEMENT_MS_MAX
    )
    database = await Database.open(settings)
    stack.push_async_callback(database.close)
    return database


async def _trial(yard: _Yard, rows: int) -> dict[str, Any]:
    say("rounds with nothing parked")
    for _ in range(WARMING):
        for work in yard.works.values():
            await work()
    empty = await yard.idle()
    say(f"{rows:,} rows")
    async with yard.database.begin() as connection:
        await connection.execute(text(_ROWS), {"now": wall_clock_ms(), "rows": rows})
    read = {name: await _rows_read(yard, work) for name, work in yard.works.items()}
    full = await yard.idle()
    say("plans")
    async with yard.database.connect() as connection:
        await connection.execute(text("VACUUM ANALYZE parked"))
        sizes = {row.relname: row.bytes for row in await connection.execute(_SIZES)}
    return {
        "rows": rows,
        "empty": empty._asdict(),
        "full": full._asdict(),
        "bytes": sizes,
        "rows_read_by_old_plans": read,
        "plans": await _plans(yard.database),
        "raised_s": await _raised_s(yard),
    }


async def _rows_read(yard: _Yard, work: Callable[[], Awaitable[object]]) -> int:
    before = await _counted(yard.database)
    await work()
    return await _counted(yard.database) - before


async def _counted(database: Database) -> int:
    """A connection's counters reach the view when it says so, in the next transaction."""
    async with database.connect() as connection:
        await connection.execute(text("SELECT pg_stat_force_next_flush()"))
        await connection.execute(text("SELECT 1"))
        return int((await connection.execute(_READ)).scalar_one())


async def _plans(database: Database) -> dict[str, dict[str, Any]]:
    """Of each statement which index it goes by, and how long it takes; nothing stays changed."""
    found: dict[str, dict[str, Any]] = {}
    for name, statement in _EXPLAINED.items():
        explained = f"EXPLAIN (ANALYZE, BUFFERS) {statement.format(now=wall_clock_ms())}"
        async with database.begin() as connection:
            lines = list(await connection.scalars(text(explained)))
            await connection.rollback()
        plan = "\n".join(lines)
        found[name] = {
            "ms": float(re.findall(r"Execution Time: ([\d.]+)", plan)[0]),
            "by": sorted(set(re.findall(r"(?:using|on) ((?:ix|pk)_\w+)", plan))),
            "is_whole": "Seq Scan" in plan,
            "plan": plan,
        }
    return found


async def _raised_s(yard: _Yard) -> float:
    """From the change of a limit to the publish of the first job that waited for it."""
    found = await budgets.find(yard.database, TRIED)
    parked_job = state(project_id=found.project_id, deadline_ms=wall_clock_ms() + _HOUR_MS, hold=None)
    at = Coordinate(topics.PARKED, 0, 2**40)
    yard.memory.records[at] = received(yard.sealer.seal(topics.PARKED, parked_job, b"{}"), 0, at.offset)
    row = ParkedRow(
        partition=at.partition,
        offset=at.offset,
        application_id=1,
        job_id=parked_job.job_id,
        run=1,
        attempt=1,
        project_id=parked_job.project_id,
        lane="standard",
        due_ms=wall_clock_ms() + _HOUR_MS,
        reason="nanodollars_per_day",
        appended_ms=parked_job.appended_ms,
        record_bytes=2,
    )
    await yard.parking.park([row])
    running = asyncio.create_task(yard.waker.run())
    began_s = time.perf_counter()
    await budgets.set_limits(yard.database, TRIED, {"nanodollars_per_day": 10**12})
    async with asyncio.timeout(60):
        await yard.producer.published.wait()
    elapsed_s = time.perf_counter() - began_s
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return elapsed_s


def _shown(figures: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    empty, full = figures["empty"], figures["full"]
    rows = [
        ("a round's CPU of a worker", f"{full['cpu_ms']:.1f} ms", f"{empty['cpu_ms']:.1f} ms with none"),
        ("a round, elapsed", f"{full['elapsed_ms']:.1f} ms", f"{empty['elapsed_ms']:.1f} ms with none"),
        ("a raised budget's first job after", f"{figures['raised_s']:.1f} s", ""),
    ]
    for name, size in figures["bytes"].items():
        rows.append((name, f"{size / 2**20:.0f} MiB", f"{size / figures['rows']:.0f} bytes a job"))
    for name, plan in figures["plans"].items():
        by = "the whole table" if plan["is_whole"] else ", ".join(map(str, plan["by"]))
        rows.append((name, f"{plan['ms']:.2f} ms", by))
    for name, number in figures["rows_read_by_old_plans"].items():
        rows.append((f"{name}, by a plan from when it was empty", f"{number} rows", f"at most {READ_MAX}"))
    return rows


if __name__ == "__main__":
    main()
