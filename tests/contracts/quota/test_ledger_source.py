"""What a rebuild reads from the ledger, on SQLite and on PostgreSQL, and the lock under which it reads."""

import asyncio
from collections.abc import AsyncIterator
from datetime import date
from typing import Any
from uuid import UUID, uuid5

import pytest
from pydantic import SecretStr
from sqlalchemy import Table, insert, text, update

from broker.quota.calendar import DAY_MS, MINUTE_MS, Calendar
from broker.quota.ledger_source import LedgerSource
from broker.quota.rebuild import (
    CHUNK_ROWS,
    Decided,
    MinuteTotal,
    SettledHold,
    Total,
    Unsettled,
)
from broker.settings import DatabaseSettings
from broker.store.database import Database
from broker.store.tables import identity
from broker.store.tables.ledger import attempts, charges, terminals, verdicts
from schemas.state import Charge, Hold, month_of
from tests.contracts.quota.harness import KEY, NOON_MS, ORGANIZATION, PROJECT, Bench, settle_of

SIBLING, STRANGER = 2, 3
TODAY = NOON_MS // DAY_MS
YESTERDAY = TODAY - 1
OLD = TODAY - 2
MONTH = month_of(TODAY)
LAST_MONTH = TODAY - date.fromordinal(date(1970, 1, 1).toordinal() + TODAY).day
MINUTE = NOON_MS // MINUTE_MS
WINDOWS = Calendar().open_at(NOON_MS)
_NAMES = UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    database = await opened(url)
    yield database
    await database.close()


async def opened(url: str) -> Database:
    database = await Database.open(DatabaseSettings(url=SecretStr(url)))
    await put(database, identity.organizations, id=ORGANIZATION, name="ours", created_ms=1)
    await put(database, identity.organizations, id=ORGANIZATION + 1, name="theirs", created_ms=1)
    for project_id, organization_id in [(PROJECT, 7), (SIBLING, 7), (STRANGER, 8)]:
        row = {"id": project_id, "organization_id": organization_id, "name": f"p{project_id}"}
        await put(database, identity.projects, **row, settings={}, created_ms=1)
        application = {"id": project_id, "project_id": project_id, "name": f"a{project_id}"}
        await put(database, identity.applications, **application, created_ms=1)
        key = {"id": f"key-{project_id}", "application_id": project_id, "secret_wrapped": b""}
        await put(database, identity.keys, **key, created_ms=1)
    return database


async def put(database: Database, table: Table, **row: Any) -> None:
    async with database.begin() as connection:
        await connection.execute(insert(table), row)


def key_of(name: str) -> dict[str, Any]:
    return {"application_id": 5, "job_id": uuid5(_NAMES, name), "run": 1, "attempt": 1}


def hold_of(name: str, day: int = TODAY) -> Hold:
    return Hold(id=name, nanodollars=100, input_tokens=1, output_tokens=2, day=day, minute=day * 1440 + 9)


async def intent(
    database: Database,
    name: str,
    project_id: int = PROJECT,
    day: int = TODAY,
    key_id: str | None = KEY,
) -> None:
    facts = {"owner": "w", "target": "t", "model": "m", "price_version": "1", "started_ms": day * DAY_MS + 9}
    hold = hold_of(name, day).model_dump(mode="json")
    whose = {"project_id": project_id, "key_id": key_id}
    await put(database, attempts, **key_of(name), **facts, **whose, hold=hold)


def charge_of(name: str, nanodollars: int, day: int = TODAY) -> Charge:
    return Charge(
        attempt=1,
        verdict="failed",
        hold=hold_of(name, day),
        nanodollars=nanodollars,
        price_version="1",
        target="t",
    )


async def verdict(database: Database, name: str, nanodollars: int, day: int = TODAY) -> None:
    charge = charge_of(name, nanodollars, day).model_dump(mode="json")
    facts = {"kind": "failed", "reason": "timeout", "charge": charge, "at_ms": 1}
    await put(database, verdicts, **key_of(name), **facts)


async def terminal(database: Database, name: str) -> None:
    key = {column: value for column, value in key_of(name).items() if column != "attempt"}
    facts = {"kind": "expired", "outcome": "o/0/0", "value_sha256": "0" * 64}
    await put(database, terminals, **key, **facts, attempts=1, nanodollars=0, at_ms=1)


def charge_row(name: str, nanodollars: int, day: int = TODAY, **fields: Any) -> dict[str, Any]:
    return (
        key_of(name)
        | {
            "organization_id": ORGANIZATION,
            "project_id": PROJECT,
            "key_id": KEY,
            "model": "m",
            "target": "t",
            "lane": "bulk",
            "verdict": "answered",
            "hold_id": name,
            "hold_nanodollars": 100,
            "nanodollars": nanodollars,
            "estimated": False,
            "tokens": 3,
            "price_version": "1",
            "day": day,
            "month": month_of(day),
            "minute": day * 1440 + 9,
            "latency_ms": 1,
            "at_ms": 1,
        }
        | fields
    )


async def read(database: Database) -> tuple[list[Decided], list[Unsettled]]:
    async with LedgerSource(database).exclusive(ORGANIZATION) as ledger:
        decided = [row async for rows in ledger.decided(ORGANIZATION, WINDOWS) for row in rows]
        return decided, list(await ledger.unsettled(ORGANIZATION, WINDOWS))


async def test_all_nodes_of_the_organization_are_named(database: Database) -> None:
    async with LedgerSource(database).exclusive(ORGANIZATION) as ledger:
        assert set(await ledger.nodes(ORGANIZATION)) == {"o", "p1", "p2", "kkey-1", "kkey-2"}


async def test_charges_are_summed_by_key_and_day_as_far_as_their_windows_are_open(database: Database) -> None:
    rows: list[tuple[str, int, dict[str, Any]]] = [
        ("one", 30, {}),
        ("two", 31, {"tokens": 4}),
        ("of another key", 32, {"key_id": "b"}),
        ("of a sibling", 33, {"project_id": SIBLING}),
        ("yesterday", 34, {"day": YESTERDAY}),
        ("this month", 35, {"day": OLD}),
        ("last month", 36, {"day": LAST_MONTH}),
        ("ahead", 37, {"day": TODAY + 1}),
        ("of a stranger", 38, {"organization_id": ORGANIZATION + 1, "project_id": STRANGER}),
    ]
    for name, nanodollars, fields in rows:
        await put(database, charges, **charge_row(name, nanodollars, **fields))
    async with LedgerSource(database).exclusive(ORGANIZATION) as ledger:
        totals = [row async for rows in ledger.totals(ORGANIZATION, WINDOWS) for row in rows]
        settled = [row async for rows in ledger.settled(ORGANIZATION, WINDOWS) for row in rows]
    assert sorted(totals) == [
        Total(PROJECT, KEY, OLD, MONTH, 35, 3),
        Total(PROJECT, KEY, YESTERDAY, MONTH, 34, 3),
        Total(PROJECT, KEY, TODAY, MONTH, 61, 7),
        Total(PROJECT, KEY, TODAY + 1, MONTH, 37, 3),
        Total(PROJECT, "b", TODAY, MONTH, 32, 3),
        Total(SIBLING, KEY, TODAY, MONTH, 33, 3),
    ]
    assert {row.hold_id for row in settled} == {
        *("one", "two", "of another key", "of a sibling", "yesterday", "ahead")
    }
    assert SettledHold("yesterday", YESTERDAY, MONTH, YESTERDAY * 1440 + 9) in settled


async def test_on_the_first_of_a_month_the_last_one_is_open_too(database: Database) -> None:
    first = LAST_MONTH + 1
    await put(database, charges, **charge_row("last day", 30, day=LAST_MONTH))
    await put(database, charges, **charge_row("its first", 31, day=LAST_MONTH - 29))
    await put(database, charges, **charge_row("before", 32, day=LAST_MONTH - 30))
    await intent(database, "calling", day=LAST_MONTH - 29)
    await intent(database, "long ago", day=LAST_MONTH - 30)
    windows = Calendar().open_at(first * DAY_MS)
    async with LedgerSource(database).exclusive(ORGANIZATION) as ledger:
        totals = [row async for rows in ledger.totals(ORGANIZATION, windows) for row in rows]
        unsettled = await ledger.unsettled(ORGANIZATION, windows)
    assert sorted(total.nanodollars for total in totals) == [30, 31]
    assert [item.hold.id for item in unsettled] == ["calling"]


async def test_the_present_minute_is_summed_apart(database: Database) -> None:
    for name, minute, tokens in [("a", MINUTE, 5), ("b", MINUTE, 6), ("c", MINUTE - 1, 7)]:
        await put(database, charges, **charge_row(name, 1, minute=minute, tokens=tokens))
    async with LedgerSource(database).exclusive(ORGANIZATION) as ledger:
        assert list(await ledger.latest(ORGANIZATION, WINDOWS)) == [MinuteTotal(PROJECT, KEY, MINUTE, 2, 11)]


async def test_an_intent_is_unsettled_until_a_verdict_a_charge_or_the_end_of_its_run(
    database: Database,
) -> None:
    for name in ("calling", "failed", "charged", "both", "ended"):
        await intent(database, name)
    await verdict(database, "failed", 12)
    await put(database, charges, **charge_row("charged", 30))
    await verdict(database, "both", 13)
    await put(database, charges, **charge_row("both", 13))
    await terminal(database, "ended")
    await intent(database, "last month", day=LAST_MONTH)
    await intent(database, "this month", SIBLING, day=OLD)
    await intent(database, "before keys", key_id=None)
    await intent(database, "stranger", STRANGER)
    decided, unsettled = await read(database)
    assert decided == [Decided(PROJECT, KEY, charge_of("failed", 12))]
    assert sorted(unsettled, key=lambda item: item.hold.id) == [
        Unsettled(PROJECT, None, hold_of("before keys")),
        Unsettled(PROJECT, KEY, hold_of("calling")),
        Unsettled(SIBLING, KEY, hold_of("this month", OLD)),
    ]


async def test_a_hold_of_a_closed_month_is_left_out_though_its_call_began_later(database: Database) -> None:
    """The call was begun at midnight, under a hold of the day before."""
    for name in ("calling", "failed"):
        await intent(database, name, day=LAST_MONTH)
        begun = attempts.c.job_id == key_of(name)["job_id"]
        async with database.begin() as connection:
            await connection.execute(
                update(attempts).where(begun).values(started_ms=(LAST_MONTH + 1) * DAY_MS)
            )
    await verdict(database, "failed", 12, day=LAST_MONTH)
    assert await read(database) == ([], [])


async def test_ids_come_in_chunks(database: Database) -> None:
    rows = [charge_row(f"h{n}", n) for n in range(CHUNK_ROWS + 1)]
    async with database.begin() as connection:
        await connection.execute(insert(charges), rows)
    async with LedgerSource(database).exclusive(ORGANIZATION) as ledger:
        sizes = [len(found) async for found in ledger.settled(ORGANIZATION, WINDOWS)]
    assert sizes == [CHUNK_ROWS, 1]


async def test_one_rebuild_waits_for_another(database: Database) -> None:
    locked, go = asyncio.Event(), asyncio.Event()

    async def rebuild() -> None:
        async with LedgerSource(database).exclusive(ORGANIZATION):
            locked.set()
            await go.wait()

    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        tasks.create_task(rebuild())
        await locked.wait()
        reading = tasks.create_task(read(database))
        await somebody_waits(database)
        assert not reading.done()
        go.set()


async def test_on_postgresql_a_rebuild_keeps_neither_other_organizations_nor_checks_waiting(
    postgresql_url: str,
) -> None:
    database = await opened(postgresql_url)
    source = LedgerSource(database)
    async with asyncio.timeout(30), source.exclusive(ORGANIZATION):
        async with source.exclusive(ORGANIZATION + 1) as other:
            assert await other.nodes(ORGANIZATION + 1) == ["o", f"p{STRANGER}", f"kkey-{STRANGER}"]
        async with source.reading() as checked:
            assert "o" in await checked.nodes(ORGANIZATION)
    await database.close()


async def test_on_postgresql_what_is_charged_while_it_is_read_stays_unsettled(postgresql_url: str) -> None:
    """Else it would be in neither list, and missing from the counters until its settlement comes."""
    database = await opened(postgresql_url)
    await intent(database, "calling")
    async with asyncio.timeout(30), LedgerSource(database).exclusive(ORGANIZATION) as ledger:
        assert [rows async for rows in ledger.decided(ORGANIZATION, WINDOWS) if rows] == []
        await verdict(database, "calling", 12)
        [left] = await ledger.unsettled(ORGANIZATION, WINDOWS)
        assert left.hold.id == "calling"
    await database.close()


async def test_a_lost_gate_comes_back_from_the_database(database: Database, closed_bench: Bench) -> None:
    """On every level, in every window; a verdict counts as its charge will, which then counts no more."""
    await put(database, charges, **charge_row("charged", 30, key_id="b"))
    await put(database, charges, **charge_row("this month", 7, day=OLD, project_id=SIBLING))
    await put(database, charges, **charge_row("just now", 2, minute=MINUTE, tokens=5))
    await intent(database, "calling")
    await intent(database, "failed")
    await verdict(database, "failed", 12)
    gate = closed_bench.gate
    gate._runner.closed.add(ORGANIZATION)
    await gate.rebuild(LedgerSource(database))
    today, month, minute = f"d:{TODAY}", f"m:{MONTH}", f"i:{MINUTE}"
    expected = {
        "o": {today: (44, 100, 8, 3), month: (51, 100, 11, 3), minute: (1, 5), "jobs": (1,)},
        "p1": {today: (44, 100, 8, 3), month: (44, 100, 8, 3), minute: (1, 5), "jobs": (1,)},
        "p2": {month: (7, 0, 3, 0)},
        "ka": {today: (14, 100, 5, 3), month: (21, 100, 8, 3), minute: (1, 5), "jobs": (1,)},
        "kb": {today: (30, 0, 3, 0), month: (30, 0, 3, 0)},
    }
    assert await closed_bench.tree() == expected
    await gate.settle([settle_of(hold_of("failed"), 12, 0), settle_of(hold_of("charged"), 30, 3, key_id="b")])
    assert await closed_bench.tree() == expected


async def somebody_waits(database: Database) -> None:
    """On SQLite the one connection of the process is taken, which needs no looking."""
    waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    while database.dialect == "postgresql":
        async with database.connect() as connection:
            if await connection.scalar(waiting):
                return
