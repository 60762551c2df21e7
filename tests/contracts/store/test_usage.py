"""Bills and counts."""

import pytest
from sqlalchemy import insert

from broker.store.database import Database
from broker.store.parking import Parking
from broker.store.settlement import Settlements
from broker.store.tables.identity import applications, organizations, projects
from broker.store.usage import BILL_BY, BillBy, BillRow, Usage
from schemas.envelope import Tags
from schemas.outcomes import Conflict, Dead, Expired
from schemas.reasons import Failure
from tests.contracts.store.builders import HOLD, charge, parked, settle, settlement, state


async def _spend(database: Database) -> None:
    async with database.begin() as connection:
        await connection.execute(insert(organizations).values(id=2, name="acme", created_ms=0))
        for id_, name in ((3, "web"), (4, "lab")):
            row = {"id": id_, "organization_id": 2, "name": name, "settings": {}, "created_ms": 0}
            await connection.execute(insert(projects).values(row))
        shop = {"id": 1, "project_id": 3, "name": "shop", "created_ms": 0}
        await connection.execute(insert(applications).values(shop))
    day = HOLD.model_copy(update={"day": 20_001})
    await settle(
        Settlements(database),
        settlement(0, state(charges=(charge(1, verdict="failed", usage=None), charge(2)))),
        settlement(1, state(tags=Tags(department="sales"), model="small", charges=(charge(nanodollars=5),))),
        settlement(2, state(tags=Tags(), project_id=4, charges=(charge(hold=day, nanodollars=7),))),
        settlement(3, state(Expired(stage="retry"))),
    )


@pytest.mark.parametrize(
    ("by", "rows"),
    [
        ("organization", [BillRow(("acme",), 3, 4, 240, 60, 8_412)]),
        ("project", [BillRow(("acme/web",), 2, 3, 160, 40, 8_405), BillRow(("acme/lab",), 1, 1, 80, 20, 7)]),
        ("application", [BillRow(("shop",), 3, 4, 240, 60, 8_412)]),
        ("key", [BillRow(("key-1",), 3, 4, 240, 60, 8_412)]),
        (
            "department",
            [
                BillRow(("research",), 1, 2, 80, 20, 8_400),
                BillRow((None,), 1, 1, 80, 20, 7),
                BillRow(("sales",), 1, 1, 80, 20, 5),
            ],
        ),
        ("user", [BillRow(("ann",), 1, 2, 80, 20, 8_400), BillRow((None,), 2, 2, 160, 40, 12)]),
        ("model", [BillRow(("gpt-4o",), 2, 3, 160, 40, 8_407), BillRow(("small",), 1, 1, 80, 20, 5)]),
        ("month", [BillRow(("2024-10",), 3, 4, 240, 60, 8_412)]),
        ("day", [BillRow(("2024-10-04",), 2, 3, 160, 40, 8_405), BillRow(("2024-10-05",), 1, 1, 80, 20, 7)]),
    ],
)
async def test_a_bill_sums_what_was_settled(database: Database, by: BillBy, rows: list[BillRow]) -> None:
    await _spend(database)
    assert await Usage(database).bill([by]) == rows


@pytest.mark.parametrize("by", BILL_BY)
async def test_every_bill_has_the_same_total(database: Database, by: BillBy) -> None:
    await _spend(database)
    assert sum(row.nanodollars for row in await Usage(database).bill([by])) == 8_412


async def test_a_bill_may_be_broken_down_by_several(database: Database) -> None:
    await _spend(database)
    assert await Usage(database).bill(["department", "project"]) == [
        BillRow(("research", "acme/web"), 1, 2, 80, 20, 8_400),
        BillRow((None, "acme/lab"), 1, 1, 80, 20, 7),
        BillRow(("sales", "acme/web"), 1, 1, 80, 20, 5),
    ]
    by_day = await Usage(database).bill(["organization", "project", "day"])
    assert [(row.labels, row.nanodollars) for row in by_day] == [
        (("acme", "acme/web", "2024-10-04"), 8_405),
        (("acme", "acme/lab", "2024-10-05"), 7),
    ]


async def test_a_bill_may_be_of_some_days(database: Database) -> None:
    await _spend(database)
    assert await Usage(database).bill(["project"], days=range(20_002, 20_009)) == []
    assert [row.labels for row in await Usage(database).bill(["project"], days=range(20_001, 20_002))] == [
        ("acme/lab",)
    ]


async def test_a_bill_may_be_of_one_project_or_application(database: Database) -> None:
    await _spend(database)
    bill = Usage(database).bill
    assert await bill(["application"], project_id=4) == [BillRow(("shop",), 1, 1, 80, 20, 7)]
    assert sum(row.nanodollars for row in await bill(["user"], application_id=1)) == 8_412
    assert await bill(["user"], application_id=2) == []


async def test_what_is_named_no_more_stays_on_the_bill(database: Database) -> None:
    await settle(Settlements(database), settlement(0, state(charges=(charge(),))))
    for by in ("organization", "project", "application"):
        assert await Usage(database).bill([by]) == [BillRow((None,), 1, 1, 80, 20, 4_200)]


async def test_sums_stay_whole_numbers(database: Database) -> None:
    large = charge(nanodollars=2**60)
    await settle(Settlements(database), *(settlement(n, state(charges=(large,))) for n in range(3)))
    (row,) = await Usage(database).bill(["lane"])
    assert row.nanodollars == 3 * 2**60
    assert isinstance(row.nanodollars, int)


async def test_nothing_spent_is_an_empty_bill(database: Database) -> None:
    assert await Usage(database).bill(["department"]) == []


async def test_counts(database: Database) -> None:
    await settle(
        Settlements(database),
        settlement(0),
        settlement(1),
        settlement(2, state(Dead(reason=Failure.TIMEOUT, dead_letter="dead/0/3"))),
        settlement(3, state(Conflict())),
    )
    await Parking(database).park([parked(1)])
    counts = await Usage(database).counts()
    assert counts.terminals == {"answered": 2, "dead": 1}
    assert counts[1:] == (4, 1, 1)


async def test_what_was_charged_by_its_hold_is_told_apart(database: Database) -> None:
    await settle(
        Settlements(database),
        settlement(0, state(charges=(charge(1, usage=None, estimated=True, nanodollars=5), charge(2)))),
        settlement(1, state(model="small")),
    )
    rows = await Usage(database).bill(["model"])
    assert [(row.nanodollars, row.estimated_nanodollars) for row in rows] == [(4_205, 5), (4_200, 0)]
