"""What SETTLE costs: `python -m benchmarks.settle`.

Outcomes of answered jobs, each with a hold that was started, go through the stage in batches of 1, 10 and
100, one batch at a time: opened, put on record in PostgreSQL, their holds settled in Redis, their replies
published to Kafka and acknowledged. What it costs to fetch records and to commit their offsets is not in it.
The floor, measured in the same run, writes as many bytes by one statement too, runs a script returning 1,
and publishes the same replies, and does nothing else. CPU is that of this process, the least of three tries:
what else runs on the machine only adds to it.
"""

import argparse
import gc
import hashlib
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import orjson
import uvloop
from redis.asyncio import Redis
from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from benchmarks import report
from broker.identity.credential import Credential
from broker.identity.directory import Directory
from broker.quota.gate import Granted, ReserveRequest, StartRequest
from broker.records import Outgoing, ReceivedHeaders
from broker.store.database import Database
from broker.telemetry.metrics import Metrics
from schemas import topics
from schemas.envelope import Tags
from schemas.outcomes import Answered
from schemas.state import Charge, Decision, Estimate, Hold, State, Usage
from schemas.topics import Lane
from tests.services import KafkaServer, PostgresServer, RedisServer
from tests.stack import RealStack
from workers.collector import spare_the_living
from workers.parts import Parts
from workers.settle import Settle

BATCHES = (1, 10, 100)
APPLICATION = "bench"
REPLY_BYTES = 1024
TRIES = 3
ADDED_US_MAX = 120.0
"""Of worker CPU a job, above the floor."""
_RECORD_BYTES = 1400
"""What the rows of a job come to, as they are sent."""
_HOLDS_AT_ONCE = 500
_WARMING, _JOBS_MIN = 200, 400

Send = Callable[[Sequence[Any]], Awaitable[None]]


@dataclass(frozen=True)
class Measured:
    batch: int
    jobs_per_s: float
    cpu_us: float
    floor_cpu_us: float

    @property
    def times_the_floor(self) -> float:
        return self.cpu_us / self.floor_cpu_us

    @property
    def added_us(self) -> float:
        return self.cpu_us - self.floor_cpu_us


class _Fetched(NamedTuple):
    """A record of `outcomes`, as a consumer gives it."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    timestamp_type: int | None
    key: bytes | None
    value: bytes | None
    headers: ReceivedHeaders


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.settle", description=__doc__)
    parser.add_argument(
        "--jobs", type=int, default=2_000, help="a try of batches of 100; fewer in smaller ones"
    )
    parser.add_argument("--json", type=Path, default=Path("build/settle.json"), help="where the figures go")
    options = parser.parse_args()
    rows = uvloop.run(_measure(options.jobs))
    _show(rows)
    figures = [
        asdict(row) | {"times_the_floor": row.times_the_floor, "added_us": row.added_us} for row in rows
    ]
    report.save({"added_us_max": ADDED_US_MAX, "rows": figures}, options.json)


async def _measure(jobs: int) -> list[Measured]:
    with (
        tempfile.TemporaryDirectory(prefix="headworks-bench-") as folder,
        KafkaServer() as kafka,
        PostgresServer() as postgres,
        RedisServer() as redis,
    ):
        async with postgres.fresh_database() as database_url:
            stack = RealStack(kafka.bootstrap_servers, database_url, redis.url, Path(folder))
            await stack.prepare()
            credential = await stack.application(APPLICATION)
            async with (
                Parts.open(stack.settings, Metrics(), with_calls=False, with_prices=False) as parts,
                Redis.from_url(redis.url) as client,
            ):
                database = await Database.open(stack.settings.database)
                try:
                    return await _rows(parts, client, database, credential, jobs)
                finally:
                    await database.close()


async def _rows(
    parts: Parts, client: Redis, database: Database, credential: Credential, jobs: int
) -> list[Measured]:
    settle = Settle(parts.tools, parts.settlement_book, parts.gate, parts.reader)
    floor = await _Floor.prepared(parts, client, database)
    offsets = count()
    rows = []
    for batch in BATCHES:
        for send in (settle.handle, floor.write):
            await _timed(await _prepared(parts, credential, _WARMING, offsets), batch, send)
        floors, found = [], []
        for _ in range(TRIES):
            outcomes = await _prepared(parts, credential, max(jobs * batch // 100, _JOBS_MIN), offsets)
            floors.append(await _timed(outcomes, batch, floor.write))
            found.append(await _timed(outcomes, batch, settle.handle))
        cpu_us, jobs_per_s = min(found)
        rows.append(Measured(batch, jobs_per_s, cpu_us, min(floors)[0]))
    return rows


async def _timed(outcomes: Sequence[_Fetched], batch: int, send: Send) -> tuple[float, float]:
    """CPU of a job in microseconds, and jobs a second."""
    batches = [outcomes[start : start + batch] for start in range(0, len(outcomes), batch)]
    cpu_s, began_s = time.process_time(), time.perf_counter()
    for each in batches:
        await send(each)
    cpu_s, elapsed_s = time.process_time() - cpu_s, time.perf_counter() - began_s
    return cpu_s / len(outcomes) * 1e6, len(outcomes) / elapsed_s


class _Floor:
    def __init__(self, parts: Parts, client: Redis, database: Database, sha: str) -> None:
        self._parts = parts
        self._client = client
        self._database = database
        self._sha = sha
        self._rows = "x" * _RECORD_BYTES

    @classmethod
    async def prepared(cls, parts: Parts, client: Redis, database: Database) -> "_Floor":
        async with database.connect() as connection:
            await connection.execute(text("CREATE TABLE floor (row text)"))
        return cls(parts, client, database, await client.script_load("return 1"))

    async def write(self, outcomes: Sequence[_Fetched]) -> None:
        rows = orjson.dumps([self._rows] * len(outcomes)).decode()
        async with self._database.ledger() as connection:
            await connection.execute(_INSERT, {"rows": rows})
        await self._client.evalsha(self._sha, 0)
        await self._parts.tools.producer.send_all([_reply(each) for each in outcomes])


_INSERT = text("INSERT INTO floor SELECT * FROM json_array_elements_text(CAST(:rows AS json))")


def _reply(outcome: _Fetched) -> Outgoing:
    return Outgoing(topics.replies(APPLICATION), outcome.key, outcome.value or b"", [], partition=0)


async def _prepared(
    parts: Parts, credential: Credential, jobs: int, offsets: Iterator[int]
) -> list[_Fetched]:
    outcomes = [each async for each in _outcomes(parts, credential, jobs, offsets)]
    gc.collect()
    spare_the_living()  # as in a worker, which has no thousands of records in memory
    return outcomes


async def _outcomes(
    parts: Parts, credential: Credential, jobs: int, offsets: Iterator[int]
) -> AsyncIterator[_Fetched]:
    directory = parts.directory
    for start in range(0, jobs, _HOLDS_AT_ONCE):
        states = [
            _state(directory, credential, next(offsets))
            for _ in range(start, min(start + _HOLDS_AT_ONCE, jobs))
        ]
        for state, hold in zip(states, await _started(parts, states), strict=True):
            yield _fetched(parts, _ended(state, hold))


async def _started(parts: Parts, states: Sequence[State]) -> list[Hold]:
    budgets = [parts.directory.budget(state.key_id) for state in states]
    requests = [
        ReserveRequest(state.job_id.hex, budget, 500_000, 400, 600, 900_000)
        for state, budget in zip(states, budgets, strict=True)
    ]
    held = [each.hold for each in await parts.gate.reserve(requests) if isinstance(each, Granted)]
    await parts.gate.start([StartRequest(*pair) for pair in zip(held, budgets, strict=True)])
    return held


def _state(directory: Directory, credential: Credential, number: int) -> State:
    application = directory.applications[APPLICATION]
    project = directory.project(application.project_id)
    return State(
        application=APPLICATION,
        application_id=application.id,
        organization_id=project.organization_id,
        project_id=project.id,
        key_id=credential.key_id,
        job_id=UUID(bytes=hashlib.sha256(number.to_bytes(8, "big")).digest()[:16]),
        lane=Lane.STANDARD,
        origin=f"jobs.standard/0/{number}",
        value_sha256=_digest(number, b"value"),
        appended_ms=1_700_000_000_000,
        deadline_ms=4_000_000_000_000,
        reply_to=f"{topics.replies(APPLICATION)}/0/bench",
        model="gpt-4o-mini",
        tags=Tags(department="research", feature="summaries", user="ann"),
        overrides={"max_tokens": 600},
        estimate=Estimate(
            nanodollars=500_000, input_tokens=400, output_tokens=600, price_version="2026-01", terms="x" * 80
        ),
        decision=Decision(id=_digest(number, b"decision"), revision="r" * 64, effect="allow"),
        due_ms=number,
    )


def _ended(state: State, hold: Hold) -> State:
    usage = Usage(input_tokens=300, output_tokens=200)
    charge = Charge(
        attempt=1,
        verdict="answered",
        hold=hold,
        nanodollars=123_456,
        usage=usage,
        price_version="2026-01",
        target="simulated",
        latency_ms=850,
    )
    return state.model_copy(update={"hold": hold, "charges": (charge,)})


def _fetched(parts: Parts, state: State) -> _Fetched:
    number = state.due_ms or 0
    outcome = Answered(
        model="gpt-4o-mini", request_sha256=_digest(number, b"sent"), response_sha256=_digest(number, b"got")
    )
    sealed = parts.tools.outlets.outcome(state, outcome, b"x" * REPLY_BYTES)
    return _Fetched(
        sealed.topic, 0, number, state.appended_ms, 1, sealed.key, sealed.value, list(sealed.headers)
    )


def _digest(number: int, what: bytes) -> str:
    return hashlib.sha256(what + number.to_bytes(8, "big")).hexdigest()


def _show(rows: Sequence[Measured]) -> None:
    table = Table(title="SETTLE, an answered job", title_justify="left")
    for column in (
        "batch",
        "jobs/s",
        "worker CPU µs",
        "floor µs",
        "times the floor",
        "adds µs",
        "at most 120",
    ):
        table.add_column(column, justify="right")
    for row in rows:
        figures = (f"{row.jobs_per_s:,.0f}", f"{row.cpu_us:.0f}", f"{row.floor_cpu_us:.0f}")
        kept = "yes" if row.added_us <= ADDED_US_MAX else "no"
        table.add_row(str(row.batch), *figures, f"{row.times_the_floor:.1f}", f"{row.added_us:.0f}", kept)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
