"""The register of jobs."""

import asyncio
from uuid import uuid4

from broker.store.database import Database
from broker.store.jobs import Jobs, Seen
from tests.contracts.store.builders import job


async def test_a_job_that_was_never_seen_is_new(database: Database) -> None:
    assert await Jobs(database).register([job(), job()]) == [Seen.NEW, Seen.NEW]


async def test_the_same_record_again_is_a_redelivery(database: Database) -> None:
    row = job()
    await Jobs(database).register([row])
    assert await Jobs(database).register([row]) == [Seen.REDELIVERED]


async def test_the_same_value_from_elsewhere_is_a_repeat(database: Database) -> None:
    first = job()
    await Jobs(database).register([first])
    again = job(job_id=first.job_id, origin="jobs.bulk/3/9")
    assert await Jobs(database).register([again]) == [Seen.REPEAT]


async def test_another_value_is_a_conflict_wherever_it_comes_from(database: Database) -> None:
    first = job()
    await Jobs(database).register([first])
    other = job(job_id=first.job_id, value_sha256="22" * 32)
    elsewhere = job(job_id=first.job_id, value_sha256="22" * 32, origin="jobs.bulk/3/9")
    assert await Jobs(database).register([other, elsewhere]) == [Seen.CONFLICT, Seen.CONFLICT]


async def test_the_first_value_stays_the_job_s(database: Database) -> None:
    first = job()
    await Jobs(database).register([first])
    await Jobs(database).register([job(job_id=first.job_id, value_sha256="22" * 32)])
    assert await Jobs(database).register([first]) == [Seen.REDELIVERED]


async def test_another_application_may_use_the_same_id(database: Database) -> None:
    first = job()
    rows = [first, job(job_id=first.job_id, application_id=2, value_sha256="22" * 32)]
    assert await Jobs(database).register(rows) == [Seen.NEW, Seen.NEW]


async def test_of_several_in_one_batch_the_first_counts(database: Database) -> None:
    id_ = uuid4()
    rows = [
        job(job_id=id_, origin="jobs.standard/0/1"),
        job(),
        job(job_id=id_, origin="jobs.standard/0/2"),
        job(job_id=id_, origin="jobs.standard/0/3", value_sha256="22" * 32),
        job(job_id=id_, origin="jobs.standard/0/1"),
    ]
    expected = [Seen.NEW, Seen.NEW, Seen.REPEAT, Seen.CONFLICT, Seen.REDELIVERED]
    assert await Jobs(database).register(rows) == expected


async def test_a_batch_of_old_and_new_is_told_apart(database: Database) -> None:
    old = [job() for _ in range(3)]
    await Jobs(database).register(old)
    seen = await Jobs(database).register([job(), old[0], job(), old[2]])
    assert seen == [Seen.NEW, Seen.REDELIVERED, Seen.NEW, Seen.REDELIVERED]


async def test_nothing_is_nothing(database: Database) -> None:
    assert await Jobs(database).register([]) == []


async def test_two_processes_that_register_the_same_jobs_agree_on_who_was_first(
    database: Database, other: Database
) -> None:
    for _ in range(20):
        here = [job() for _ in range(50)]
        there = [job(job_id=row.job_id, origin="jobs.bulk/1/1") for row in reversed(here)]
        seen_here, seen_there = await asyncio.gather(
            Jobs(database).register(here), Jobs(other).register(there)
        )
        for one, two in zip(seen_here, reversed(seen_there), strict=True):
            assert {one, two} == {Seen.NEW, Seen.REPEAT}
