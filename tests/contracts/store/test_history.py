"""One job's history, from every table that has something of it."""

import dataclasses
from uuid import uuid4

import pytest
from sqlalchemy import insert

from broker.errors import Conflict, NotFound
from broker.ops import jobs
from broker.store.attempts import Attempts
from broker.store.database import Database
from broker.store.flags import Flags
from broker.store.history import Histories
from broker.store.jobs import Jobs
from broker.store.leases import Leases
from broker.store.parking import Parking
from broker.store.settlement import Settlements
from broker.store.tables.identity import applications, organizations, projects
from schemas.outcomes import Dead
from schemas.reasons import Failure
from tests.contracts.store.builders import (
    charge,
    flag,
    intent,
    job,
    parked,
    settle,
    settlement,
    state,
    verdict,
)

PLACE = "dead/2/7"


@pytest.fixture(autouse=True)
async def named(database: Database) -> None:
    async with database.begin() as connection:
        await connection.execute(insert(organizations).values(id=2, name="acme", created_ms=0))
        project = {"id": 3, "organization_id": 2, "name": "web", "settings": {}, "created_ms": 0}
        await connection.execute(insert(projects).values(project))
        for id_, name in ((1, "shop"), (4, "stock")):
            row = {"id": id_, "project_id": 3, "name": name, "created_ms": 0}
            await connection.execute(insert(applications).values(row))


async def test_all_that_is_on_record_comes_back_as_it_was_written(database: Database) -> None:
    row, other = job(), job()
    first = intent(job_id=row.job_id)
    second = intent(job_id=row.job_id, attempt=2)
    said = verdict(first, charge=charge(1, verdict="failed", usage=None))
    waiting = parked(5, job_id=row.job_id, attempt=2)
    await Jobs(database).register([row, other])
    await Attempts(database).begin([first, second, intent(job_id=other.job_id)])
    await Attempts(database).record_verdicts([said])
    await Parking(database).park([waiting, parked(6, job_id=other.job_id)])
    charges = (charge(1, verdict="failed", usage=None, nanodollars=0), charge(2, verdict="unknown"))
    flagged = flag(job_id=row.job_id)
    for each in (flagged, dataclasses.replace(flagged, found=[]), flag(job_id=other.job_id)):
        await Flags(database).enter(each)
    dead = state(Dead(reason=Failure.TIMEOUT, dead_letter=PLACE), job_id=row.job_id, charges=charges, run=1)
    await settle(Settlements(database), settlement(0, dead))

    [found] = await Histories(database).of(row.job_id)
    assert (found.application, found.project, found.job) == ("shop", "acme/web", row)
    assert list(found.attempts) == [first, second]
    assert list(found.verdicts) == [said]
    assert list(found.parked) == [waiting]
    assert list(found.flags) == [flagged], "what was found first"
    assert [(each.attempt, each.verdict, each.nanodollars) for each in found.charges] == [
        (1, "failed", 0),
        (2, "unknown", 4_200),
    ]
    assert [(each.coordinate, each.reason) for each in found.dead_letters] == [(PLACE, "timeout")]
    [terminal] = found.terminals
    assert (terminal.kind, terminal.reason, terminal.outcome) == ("dead", "timeout", "outcomes.standard/0/0")
    assert found.living == frozenset()


async def test_an_owner_lives_while_its_lease_runs(database: Database) -> None:
    row = job()
    leases = Leases(database)
    alive, gone = await leases.join("host", 1, 60_000), await leases.join("host", 2, 60_000)
    await leases.leave(gone)
    owners = [intent(job_id=row.job_id, attempt=n, owner=o) for n, o in enumerate((alive, gone, "c" * 32), 1)]
    await Jobs(database).register([row])
    await Attempts(database).begin(owners)
    [found] = await Histories(database).of(row.job_id)
    assert found.living == {alive}


async def test_an_id_that_several_used_is_shown_of_the_one_that_is_named(database: Database) -> None:
    row = job()
    await Jobs(database).register([row, dataclasses.replace(row, application_id=4)])
    with pytest.raises(Conflict, match=r"shop, stock each have a job .*--application"):
        await jobs.show(database, row.job_id)
    assert (await jobs.show(database, row.job_id, "stock")).job.application_id == 4
    with pytest.raises(NotFound, match=r"no job .* of application lab"):
        await jobs.show(database, row.job_id, "lab")


async def test_a_job_that_never_came_is_not_found(database: Database) -> None:
    await Jobs(database).register([job()])
    with pytest.raises(NotFound, match="no job"):
        await jobs.show(database, uuid4())
