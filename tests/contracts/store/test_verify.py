"""The gate is held against the ledger: silent where they agree, and blind to nothing that was planted."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import product
from uuid import UUID

import pytest
import pytest_asyncio
from fakeredis import FakeAsyncRedis
from sqlalchemy import delete, insert

from broker.ops.ledger import verify
from broker.quota.budget import Budget
from broker.quota.calendar import DAY_MS
from broker.quota.counters import NodeOf
from broker.quota.gate import ReserveRequest, Settlement, StartRequest
from broker.quota.redis_gate import RedisGate
from broker.store.attempts import AttemptRow, Attempts
from broker.store.database import Database
from broker.store.leases import Leases
from broker.store.ledger_check import Difference
from broker.store.settlement import Settlements
from broker.store.tables.identity import applications, keys, organizations, projects
from broker.store.tables.ledger import attempts
from schemas.state import Hold
from tests.contracts.quota.harness import granted
from tests.contracts.store.builders import charge, intent, settle, settlement, state, verdict

ORGANIZATION, PROJECT, KEY = 2, 3, "key-1"
JOB = UUID(int=1)
NOON_MS = 20_000 * DAY_MS + DAY_MS // 2
BUDGET = Budget(ORGANIZATION, PROJECT, KEY)
HOLDS, NODE = (f"hw:{{o{ORGANIZATION}}}:{name}" for name in ("holds", "node:"))


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

    async def settle(self, hold: Hold, tokens: int = 100) -> None:
        await self.gate.settle([Settlement(hold, ORGANIZATION, PROJECT, KEY, 4_200, tokens)])

    async def stored(self, key: str, field: str) -> str:
        found = await self.redis.hget(key, field)
        return found.decode() if isinstance(found, bytes) else found or ""

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
        owner = {"id": 1, "project_id": PROJECT, "name": "shop", "created_ms": 0}
        await connection.execute(insert(applications).values(owner))
        key = {"id": KEY, "application_id": 1, "secret_wrapped": b"", "settings": {}, "created_ms": 0}
        await connection.execute(insert(keys).values(key))
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


NODES = ("o", f"p{PROJECT}", f"k{KEY}")


async def _under_way(bench: Bench) -> Hold:
    """Beside one job that has ended, one whose call goes on, and a hold that is not started."""
    await _one_job(bench)
    hold = await bench.start("b" * 32)
    await bench.gate.reserve([ReserveRequest("c" * 32, BUDGET, 7_000, 100, 50, 60_000)])
    row = intent(job_id=UUID(int=2), project_id=PROJECT, hold=hold, started_ms=NOON_MS)
    await Attempts(bench.database).begin([row])
    assert await bench.found() == []
    return hold


async def test_a_hold_whose_amounts_or_windows_are_not_the_attempt_s_is_found(bench: Bench) -> None:
    hold = await _under_way(bench)
    whole = await bench.stored(HOLDS, hold.id)
    for place in range(2, 8):
        record = whole.split("|")
        record[place] = str(int(record[place]) - 1)
        await bench.redis.hset(HOLDS, hold.id, "|".join(record))
        found = await bench.found()
        assert (found[0].check, found[0].where) == ("hold", f"organization {ORGANIZATION}, hold {hold.id}")
        assert {each.check for each in found} <= {"hold", "held"}


async def test_a_hold_that_counts_on_other_nodes_is_found(bench: Bench) -> None:
    hold = await _under_way(bench)
    record = await bench.stored(HOLDS, hold.id)
    await bench.redis.hset(HOLDS, hold.id, record.replace(f",k{KEY}", ""))
    assert {each.check for each in await bench.found()} == {"hold", "held", "in_flight"}


async def test_a_hold_that_the_gate_lost_is_found(bench: Bench) -> None:
    hold = await _under_way(bench)
    await bench.redis.hdel(HOLDS, hold.id)
    found = {each.where: each for each in await bench.found()}
    lost = found[f"organization {ORGANIZATION}, hold {hold.id}"]
    assert (lost.check, lost.detail) == ("hold", "an attempt is under way with it, and the gate has it not")
    assert {each.check for each in found.values()} == {"hold", "held"}


@pytest.mark.parametrize("node", NODES)
async def test_a_node_that_counts_what_nobody_holds_or_has_spent_is_found(bench: Bench, node: str) -> None:
    await _under_way(bench)
    windows = (await bench.gate.counters([NodeOf(ORGANIZATION, node)]))[0].windows
    fields = (f"d:{windows.day}", f"m:{windows.month}")
    for field, (place, check) in product(fields, enumerate(("gate", "held", "gate", "held"))):
        whole = await bench.stored(NODE + node, field)
        numbers = whole.split()
        numbers[place] = str(int(numbers[place]) + 1)
        await bench.redis.hset(NODE + node, field, " ".join(numbers))
        (found,) = await bench.found()
        assert found.check == check
        assert f"node {node}, " in found.where
        await bench.redis.hset(NODE + node, field, whole)
    assert await bench.found() == []


@pytest.mark.parametrize("node", NODES)
async def test_jobs_in_flight_that_are_not_there_are_found(bench: Bench, node: str) -> None:
    """More than the organization has holds are put right by whoever comes by first."""
    await _under_way(bench)
    where = f"organization {ORGANIZATION}, node {node}, jobs"
    for jobs in (0, 1):
        await bench.redis.hset(NODE + node, "jobs", jobs)
        told = f"the gate counts {jobs}, and its holds come to 2"
        assert await bench.found() == [Difference("in_flight", where, told)]
    await bench.redis.hset(NODE + node, "jobs", 99)
    assert (await bench.gate.inspect(ORGANIZATION, [node])).nodes[node].jobs == 99
    assert await bench.found() == []


async def test_an_intent_that_went_away_is_found(bench: Bench) -> None:
    hold = await _under_way(bench)
    async with bench.database.begin() as connection:
        await connection.execute(delete(attempts).where(attempts.c.job_id == UUID(int=2)))
    (found,) = await bench.found()
    assert (found.check, found.where.split()[-1]) == ("hold", hold.id)


async def test_the_call_of_a_living_worker_whose_job_another_has_ended_is_no_difference(bench: Bench) -> None:
    """A worker that was taken for dead ends the job, while another makes the next attempt."""
    own, others = await bench.start("a" * 32), await bench.start("b" * 32)
    living = await Leases(bench.database).join("host", 1, 60_000)
    known = {"job_id": JOB, "project_id": PROJECT, "started_ms": NOON_MS}
    await Attempts(bench.database).begin(
        [intent(hold=own, **known), intent(attempt=2, hold=others, owner=living, **known)]
    )
    paid = charge(hold=own)
    await settle(Settlements(bench.database), settlement(0, state(job_id=JOB, charges=(paid,))))
    await bench.settle(own)
    assert await bench.found() == []
    await Leases(bench.database).leave(living)
    (found,) = await bench.found()
    assert (found.check, found.where.split()[-1]) == ("hold", others.id)


async def test_a_worker_that_was_given_up_and_came_back_is_no_difference(bench: Bench) -> None:
    """Redis was told of the hold as spent before there was an answer, and keeps that."""
    hold = await bench.start("a" * 32)
    row = intent(job_id=JOB, project_id=PROJECT, hold=hold, started_ms=NOON_MS)
    await Attempts(bench.database).begin([row])
    lost = charge(hold=hold, verdict="unknown", usage=None, nanodollars=hold.nanodollars, estimated=True)
    await Attempts(bench.database).record_verdicts([verdict(row, "unknown", charge=lost)])
    await bench.gate.settle([Settlement(hold, ORGANIZATION, PROJECT, KEY, hold.nanodollars, hold.tokens)])
    came_back = state(job_id=JOB, project_id=PROJECT, charges=(charge(hold=hold),))
    await settle(Settlements(bench.database), settlement(0, came_back))
    await bench.settle(hold)
    assert await bench.found() == []


async def _work(bench: Bench, worker: int, jobs: int) -> None:
    """Two attempts a job, each step as the stages take it."""
    store, ledger = Attempts(bench.database), Settlements(bench.database)
    for number in range(jobs):
        job_id = UUID(int=1_000 * worker + number)
        first = await _attempt(bench, job_id, 1)
        failed = charge(hold=first.hold, verdict="failed", usage=None)
        await store.record_verdicts([verdict(first, charge=failed)])
        await bench.settle(first.hold, tokens=0)
        second = await _attempt(bench, job_id, 2)
        of = state(
            job_id=job_id, project_id=PROJECT, charges=(failed, charge(2, hold=second.hold)), attempt=2
        )
        await settle(ledger, settlement(number, of, partition=worker))
        await bench.settle(second.hold)


async def _attempt(bench: Bench, job_id: UUID, attempt: int) -> AttemptRow:
    request = ReserveRequest(f"{job_id.hex}{attempt}", BUDGET, 9_000, 100, 50, 60_000)
    hold = granted((await bench.gate.reserve([request]))[0])
    row = intent(job_id=job_id, attempt=attempt, project_id=PROJECT, hold=hold, started_ms=NOON_MS)
    await Attempts(bench.database).begin([row])
    await bench.gate.start([StartRequest(hold, BUDGET)])
    return row


async def test_while_workers_go_on_there_is_no_false_alarm(bench: Bench) -> None:
    working = [asyncio.create_task(_work(bench, worker, 12)) for worker in range(1, 5)]
    looks = 0
    while not all(task.done() for task in working):
        looked = verify(bench.database, bench.gate, {ORGANIZATION: "UTC"}, patience_s=60)
        assert [each async for each in looked] == []
        looks += 1
    await asyncio.gather(*working)
    assert looks
    assert await bench.found() == []


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
