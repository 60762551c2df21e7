"""Jobs that are called off: on record once, and found by whoever asks for what is new."""

import asyncio
import time
from typing import Any
from uuid import uuid4

from broker.store.cancels import CancelRow, Cancels
from broker.store.database import Database
from broker.store.jobs import Jobs, Seen
from broker.store.keys import JobKey
from broker.store.parking import Parking
from tests.contracts.store.builders import job, parked

NOW_MS = time.time_ns() // 1_000_000
SOON_MS, LATER_MS = NOW_MS + 3_600_000, NOW_MS + 7_200_000


def cancel(**fields: Any) -> CancelRow:
    known: dict[str, Any] = {
        "application_id": 1,
        "job_id": uuid4(),
        "key_id": "key-1",
        "origin": "jobs.interactive/0/9",
        "at_ms": NOW_MS,
        "until_ms": LATER_MS,
    }
    return CancelRow(**known | fields)


async def test_each_commit_is_beyond_the_one_before(database: Database) -> None:
    cancels = Cancels(database)
    first, second, third = cancel(), cancel(), cancel()
    await cancels.enter([first, second])
    seen = await cancels.beyond(0)
    assert {each.key for each in seen} == {first.key, second.key}
    await cancels.enter([third])
    [new] = await cancels.beyond(max(each.revision for each in seen))
    assert new.key == third.key
    assert await cancels.beyond(new.revision) == []


async def test_a_job_is_called_off_until_its_own_deadline(database: Database) -> None:
    row = job(deadline_ms=SOON_MS)
    await Jobs(database).register([row])
    await Cancels(database).enter([cancel(job_id=row.job_id), cancel()])
    found = {each.key: each.until_ms for each in await Cancels(database).beyond(0)}
    assert found.pop(row.key) == SOON_MS
    assert list(found.values()) == [LATER_MS]


async def test_one_whose_time_is_up_is_not_read_again(database: Database) -> None:
    await Cancels(database).enter([cancel(until_ms=NOW_MS - 1)])
    assert await Cancels(database).beyond(0) == []


async def test_the_first_one_counts_and_again_changes_nothing(database: Database) -> None:
    row = cancel()
    await Cancels(database).enter([row, row])
    [before] = await Cancels(database).beyond(0)
    await Cancels(database).enter([cancel(job_id=row.job_id, until_ms=SOON_MS)])
    assert await Cancels(database).beyond(0) == [before]


async def test_a_job_that_comes_afterwards_is_known_as_called_off(database: Database) -> None:
    """Of its own application alone."""
    row, other = job(), job()
    await Cancels(database).enter([cancel(job_id=row.job_id), cancel(job_id=other.job_id, application_id=2)])
    assert await Jobs(database).register([row, other]) == [Seen.CANCELLED, Seen.NEW]
    assert await Jobs(database).register([row, other]) == [Seen.REDELIVERED, Seen.REDELIVERED]


async def test_what_is_parked_is_due_at_once(database: Database) -> None:
    waiting, other = parked(1, due_ms=LATER_MS), parked(2, due_ms=LATER_MS)
    parking = Parking(database)
    await parking.park([waiting, other])
    await Cancels(database).enter([cancel(job_id=waiting.job_id), cancel()])
    [due] = await parking.due([0], int(time.time() * 1000) + 1_000, 10)
    assert due.place == waiting.place


async def test_what_was_parked_meanwhile_can_be_hastened(database: Database) -> None:
    waiting, other = parked(1, due_ms=LATER_MS), parked(2, due_ms=LATER_MS)
    parking = Parking(database)
    await parking.park([waiting, other])
    await parking.hasten([])
    await parking.hasten([JobKey(1, waiting.job_id), JobKey(2, other.job_id)])
    due = await parking.due([0], int(time.time() * 1000) + 1_000, 10)
    assert [each.place for each in due] == [waiting.place]


async def test_many_at_once_by_two_processes_are_all_seen_by_one_that_follows(
    database: Database, other: Database
) -> None:
    """Whoever has seen a revision has seen all up to it, whatever the order of commits."""
    entered = [cancel() for _ in range(60)]
    seen: set[JobKey] = set()
    done = asyncio.Event()

    async def follow() -> None:
        revision, last = 0, False
        while not last:
            last = done.is_set()
            for each in await Cancels(database).beyond(revision):
                revision = max(revision, each.revision)
                seen.add(each.key)

    async def enter(into: Database, rows: list[CancelRow]) -> None:
        for row in rows:
            await Cancels(into).enter([row])

    following = asyncio.create_task(follow())
    await asyncio.gather(enter(database, entered[::2]), enter(other, entered[1::2]))
    done.set()
    await following
    assert seen == {row.key for row in entered}
