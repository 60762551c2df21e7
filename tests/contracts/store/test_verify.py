"""The gate is held against the ledger: silent where they agree, and blind to nothing that was planted."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

import pytest
import pytest_asyncio
from fakeredis import FakeAsyncRedis
from sqlalchemy import insert

from broker.ops.ledger import verify
from broker.quota.budget import Budget
from broker.quota.calendar import DAY_MS
from broker.quota.gate import ReserveRequest, Settlement, StartRequest
from broker.quota.redis_gate import RedisGate
from broker.store.attempts import Attempts
from broker.store.database import Database
from broker.store.ledger_check import Difference
from broker.store.settlement import Settlements
from broker.store.tables import organizations, projects
from schemas.state import Hold
from tests.contracts.quota.harness import granted
from tests.contracts.store.builders import charge, intent, settle, settlement, state

ORGANIZATION, PROJECT, KEY = 2, 3, "key-1"
JOB = UUID(int=1)
NOON_MS = 20_000 * DAY_MS + DAY_MS // 2
BUDGET = Budget(ORGANIZATION, PROJECT, KEY)


@dataclass
class Bench:
    database: Database
    redis: FakeAsyncRedis
    gate: RedisGate

    async def start(self, hold_id: str) -> Hold:
        """A hold of 9,000 nanodollars and 150 tokens, started."""
        request = ReserveRequest(hold_id, BUDGET, 9_000, 100, 50, 60_000)
        (answer,) = await self.gate.reserve([request])
        hold = granted(answer)
        await self.gate.start([StartRequest(hold, BUDGET)])
        return hold

    async def settle(self, hold: Hold) -> None:
        await self.gate.settle([Settlement(hold, ORGANIZATION, PROJECT, KEY, 4_200, 100)])

    async def found(self) -> list[Difference]:
        looked = verify(self.database, self.gate, {ORGANIZATION: "UTC"}, patience_s=0)
        return [each async for each in looked]


@pytest_asyncio.fixture
async def bench(database: Database) -> AsyncIterator[Bench]:
    async with database.begin() as connection:
        row = {"id": ORGANIZATION, "name": "acme", "created_ms": 0, "settings": {}}
        await connection.execute(insert(organizations).values(row))
        project = {"id": PROJECT, "organization_id": ORGANIZATION, "name": "web", "settings": {}}
        await connection.execute(insert(projects).values(project | {"created_ms": 0}))
    redis = FakeAsyncRedis()
    gate = RedisGate.embedded(redis, clock=lambda: NOON_MS)
    made = Bench(database, redis, gate)
    await made.found()  # opens the gate
    yield made
    await gate.close()


async def _one_job(bench: Bench) -> Hold:
    """Called, settled and charged; the gate knows it all."""
    hold = await bench.start("a" * 32)
    await Attempts(bench.database).begin(
        [intent(job_id=JOB, project_id=PROJECT, hold=hold, started_ms=NOON_MS)]
    )
    paid = charge(hold=hold)
    await settle(Settlements(bench.database), settlement(0, state(job_id=JOB, charges=(paid,))))
    await bench.settle(hold)
    return hold


async def test_gate_and_ledger_agree(bench: Bench) -> None:
    assert await bench.found() == []
    await _one_job(bench)
    assert await bench.found() == []


async def test_what_is_under_way_is_no_difference(bench: Bench) -> None:
    await _one_job(bench)
    hold = await bench.start("b" * 32)
    row = intent(job_id=UUID(int=2), project_id=PROJECT, hold=hold, started_ms=NOON_MS)
    await Attempts(bench.database).begin([row])
    assert await bench.found() == []


async def test_what_the_gate_lost_is_brought_back(bench: Bench) -> None:
    await _one_job(bench)
    await bench.redis.flushall()
    assert await bench.found() == []


async def test_what_nobody_was_charged_is_found(bench: Bench) -> None:
    await _one_job(bench)
    await bench.settle(await bench.start("b" * 32))
    found = await bench.found()
    assert {each.check for each in found} == {"gate"}
    nodes = {each.where.split(", ")[1] for each in found}
    assert nodes >= {"node o", f"node p{PROJECT}"}
    assert "the gate has 8400 spent, the ledger 4200" in {each.detail for each in found}


async def test_a_charge_that_the_gate_does_not_count_is_found(bench: Bench) -> None:
    hold = await bench.start("a" * 32)
    await Attempts(bench.database).begin(
        [intent(job_id=JOB, project_id=PROJECT, hold=hold, started_ms=NOON_MS)]
    )
    paid = charge(hold=hold)
    await settle(Settlements(bench.database), settlement(0, state(job_id=JOB, charges=(paid,))))
    found = await bench.found()
    assert {each.check for each in found} == {"gate", "hold"}


async def test_a_hold_that_leaked_is_found(bench: Bench) -> None:
    await bench.start("c" * 32)
    (found,) = await bench.found()
    assert (found.check, found.detail) == ("hold", "started, and no attempt has it")


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo"])
async def test_in_the_organization_s_own_time_zone(database: Database, zone: str) -> None:
    redis = FakeAsyncRedis()
    gate = RedisGate.embedded(redis, time_zone_of=lambda _: zone, clock=lambda: NOON_MS)
    async with database.begin() as connection:
        row = {"id": ORGANIZATION, "name": "acme", "created_ms": 0, "settings": {}}
        await connection.execute(insert(organizations).values(row))
    looked = verify(database, gate, {ORGANIZATION: zone}, patience_s=0)
    assert [each async for each in looked] == []
    await gate.close()
