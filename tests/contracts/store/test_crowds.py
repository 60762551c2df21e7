"""Parked jobs that wait in line for room."""

from typing import Any

from broker.store.crowds import Waiting
from broker.store.database import Database
from broker.store.parking import Line, ParkedRow, Parking, Place
from tests.contracts.store.builders import parked

MINE = "2/p3"


def waiting(offset: int, **fields: Any) -> ParkedRow:
    return parked(offset, **{"reason": "jobs_in_flight", "line": MINE, **fields})


async def offsets(database: Database, limit: int = 10, partitions: tuple[int, ...] = (0,)) -> list[int]:
    return [row.offset for row in await Waiting(database).first(MINE, partitions, limit)]


async def test_lines_in_which_jobs_wait_are_named_once_and_in_order(database: Database) -> None:
    lines = ["2/p9", MINE, "2/p9", "2/o", "1/k0a", MINE]
    rows = [waiting(offset, line=line) for offset, line in enumerate(lines)]
    await Parking(database).park([*rows, parked(10, project_id=1)])
    assert await Waiting(database).lines() == ["1/k0a", "2/o", MINE, "2/p9"]


async def test_without_any_there_is_none(database: Database) -> None:
    await Parking(database).park([parked(1)])
    assert await Waiting(database).lines() == []
    assert await offsets(database) == []


async def test_the_best_lane_comes_first_then_the_oldest_then_the_first_in_the_topic(
    database: Database,
) -> None:
    await Parking(database).park(
        [
            waiting(1, lane="bulk"),
            waiting(5, lane="standard"),
            waiting(4, lane="standard", due_ms=99),
            parked(3, lane="standard"),
            waiting(2, lane="standard", line="2/p8"),
            waiting(6, lane="standard", partition=1),
        ]
    )
    assert await offsets(database) == [4, 5, 1]
    assert await offsets(database, partitions=(0, 1)) == [4, 5, 6, 1]
    assert await offsets(database, partitions=()) == []


async def test_nobody_in_another_partition_is_overtaken(database: Database) -> None:
    """An organization's line is in many partitions, which several workers look after."""
    ages = {(0, 1): 30, (1, 1): 10, (0, 2): 20, (1, 2): 40}
    await Parking(database).park(
        [waiting(offset, partition=partition, appended_ms=age) for (partition, offset), age in ages.items()]
    )
    assert await offsets(database, 1) == []
    assert await offsets(database, 2) == [2]
    assert await offsets(database, 3) == [2, 1]


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
    assert await offsets(database) == [6, 5, 7, 4, 8]
    assert await offsets(database, 2) == [6, 5]


async def test_a_row_is_as_it_was_parked(database: Database) -> None:
    row = waiting(4)
    await Parking(database).park([row])
    assert await Waiting(database).first(MINE, [0], 1) == [row]


async def test_who_is_moved_stands_in_the_other_line_by_age(database: Database) -> None:
    parking = Parking(database)
    await parking.park([waiting(1, appended_ms=10), waiting(2, line="2/o", appended_ms=20)])
    await parking.move({Place(0, 2): Line(MINE, "jobs_in_flight")})
    await parking.move({})
    assert await offsets(database) == [1, 2]
    await parking.move({Place(0, 1): Line("2/o", "organization_jobs_in_flight")})
    [moved] = await Waiting(database).first("2/o", [0], 9)
    assert (moved.offset, moved.reason) == (1, "organization_jobs_in_flight")
    assert await offsets(database) == [2]
