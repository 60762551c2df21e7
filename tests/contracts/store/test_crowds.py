"""Parked jobs that wait for room, found by project."""

from typing import Any

from broker.store.crowds import Waiting
from broker.store.database import Database
from broker.store.parking import CROWDED, ParkedRow, Parking
from tests.contracts.store.builders import parked


def waiting(offset: int, **fields: Any) -> ParkedRow:
    return parked(offset, **{"reason": CROWDED, **fields})


async def test_projects_with_jobs_that_wait_for_room_are_named_once_and_in_order(database: Database) -> None:
    await Parking(database).park(
        [
            *(waiting(offset, project_id=project_id) for offset, project_id in enumerate([9, 3, 9, 7, 3])),
            parked(10, project_id=1),
            parked(11, project_id=8),
        ]
    )
    assert await Waiting(database).projects() == [3, 7, 9]


async def test_without_any_there_is_none(database: Database) -> None:
    await Parking(database).park([parked(1)])
    jobs = Waiting(database)
    assert await jobs.projects() == []
    assert await jobs.first(3, [0], 10) == []


async def test_the_best_lane_comes_first_then_of_equal_age_the_first_in_the_topic(database: Database) -> None:
    await Parking(database).park(
        [
            waiting(1, lane="bulk"),
            waiting(5, lane="standard"),
            waiting(4, lane="standard", due_ms=99),
            parked(3, lane="standard"),
            waiting(2, lane="standard", project_id=8),
            waiting(6, lane="standard", partition=1),
        ]
    )
    jobs = Waiting(database)
    assert [row.offset for row in await jobs.first(3, [0], 10)] == [4, 5, 1]
    assert [row.offset for row in await jobs.first(3, [0, 1], 3)] == [4, 5, 6]
    assert await jobs.first(3, [], 10) == []


async def test_who_was_woken_in_vain_is_not_behind_those_that_came_later(database: Database) -> None:
    """Its record is behind theirs in the topic, but its job is older."""
    await Parking(database).park(
        [
            waiting(4, appended_ms=30),
            waiting(5, appended_ms=20),
            waiting(6, appended_ms=10),
            waiting(7, appended_ms=20),
            waiting(8, appended_ms=5, lane="bulk"),
        ]
    )
    assert [row.offset for row in await Waiting(database).first(3, [0], 10)] == [6, 5, 7, 4, 8]
    assert [row.offset for row in await Waiting(database).first(3, [0], 2)] == [6, 5]


async def test_a_row_is_as_it_was_parked(database: Database) -> None:
    row = waiting(4)
    await Parking(database).park([row])
    assert await Waiting(database).first(row.project_id, [0], 1) == [row]
