"""The index over the topic `parked`."""

from broker.store.database import Database
from broker.store.parking import Parking, Place
from tests.contracts.store.builders import parked

LATE_MS = 9_000_000_000_000


async def _offsets(parking: Parking, at_ms: int = LATE_MS, limit: int = 100) -> list[int]:
    return [row.offset for row in await parking.due([0], at_ms, limit)]


async def test_what_is_due_comes_as_it_was_parked(database: Database) -> None:
    row = parked(7, due_ms=1_000)
    await Parking(database).park([row])
    assert await Parking(database).due([0], 1_000, 10) == [row]
    assert await Parking(database).due([0], 999, 10) == []


async def test_the_best_lane_comes_first_then_the_longest_due_then_the_oldest_job(
    database: Database,
) -> None:
    parking = Parking(database)
    await parking.park(
        [
            parked(7, lane="bulk", due_ms=1, appended_ms=1_600_000_000_000),
            parked(1, lane="bulk", due_ms=1),
            parked(2, lane="standard", due_ms=9),
            parked(3, lane="interactive", due_ms=30),
            parked(4, lane="standard", due_ms=5),
            parked(6, lane="interactive", due_ms=20),
            parked(5, lane="interactive", due_ms=20),
        ]
    )
    assert await _offsets(parking) == [5, 6, 3, 4, 2, 7, 1]
    assert await _offsets(parking, limit=4) == [5, 6, 3, 4]
    assert await _offsets(parking, limit=2) == [5, 6]


async def test_only_the_partitions_asked_for_are_looked_at(database: Database) -> None:
    parking = Parking(database)
    await parking.park([parked(1, partition=0), parked(1, partition=1), parked(1, partition=2)])
    assert [row.partition for row in await parking.due([0, 2], LATE_MS, 10)] == [0, 2]
    assert await parking.due([], LATE_MS, 10) == []


async def test_a_record_that_is_delivered_again_changes_nothing(database: Database) -> None:
    parking = Parking(database)
    row = parked(1, due_ms=5)
    await parking.park([row])
    await parking.park([parked(1, job_id=row.job_id, due_ms=99)])
    assert await parking.due([0], LATE_MS, 10) == [row]


async def test_a_job_parked_anew_before_the_old_row_is_gone_is_not_lost(database: Database) -> None:
    parking = Parking(database)
    old = parked(1)
    await parking.park([old])
    await parking.park([parked(2, job_id=old.job_id)])
    await parking.unpark([old.place])
    assert await _offsets(parking) == [2]


async def test_what_is_on_its_way_again_is_forgotten(database: Database) -> None:
    parking = Parking(database)
    await parking.park([parked(1), parked(2), parked(3), parked(2, partition=1)])
    await parking.unpark([Place(0, 1), Place(0, 2), Place(0, 99)])
    assert await parking.due([0, 1], LATE_MS, 10) == [
        *await parking.due([0], LATE_MS, 10),
        *await parking.due([1], LATE_MS, 10),
    ]
    assert await parking.count() == 2
    await parking.unpark([])
    assert await parking.count() == 2


async def test_a_raised_budget_makes_no_room(database: Database) -> None:
    """Who waits for room would only be sent back."""
    parking = Parking(database)
    await parking.park(
        [parked(1, due_ms=LATE_MS, reason="jobs_in_flight", line="2/p3"), parked(2, due_ms=LATE_MS)]
    )
    assert await parking.wake(3) == 1
    assert await _offsets(parking, at_ms=LATE_MS - 1) == [2]


async def test_a_project_whose_budget_was_raised_is_due_at_once(database: Database) -> None:
    parking = Parking(database)
    await parking.park(
        [parked(1, due_ms=LATE_MS), parked(2, due_ms=1), parked(3, due_ms=LATE_MS, project_id=4)]
    )
    assert await parking.wake(3) == 1
    assert await _offsets(parking, at_ms=LATE_MS - 1) == [2, 1]
