"""What a rebuild reads from the ledger, on SQLite and on PostgreSQL, and the lock under which it reads."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import pytest
from pydantic import SecretStr
from sqlalchemy import Table, insert, text

from broker.quota.ledger_source import LedgerSource
from broker.quota.limits import DAY_MS, day_of
from broker.quota.rebuild import CHUNK_ROWS, Charged, Unsettled
from broker.settings import DatabaseSettings
from broker.store import tables
from broker.store.database import Database
from broker.store.migrate import upgrade
from schemas.state import Charge, Hold
from tests.contracts.quota.harness import NOON_MS, ORGANIZATION, PROJECT, Bench

SIBLING, STRANGER = 2, 3
TODAY = day_of(NOON_MS)
FIRST_DAY = TODAY - 1
_NAMES = UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/ledger.db"
    return str(request.getfixturevalue("database_url"))


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    database = await opened(url)
    yield database
    await database.close()


async def opened(url: str) -> Database:
    await upgrade(url)
    database = await Database.open(DatabaseSettings(url=SecretStr(url)))
    await put(database, tables.organizations, id=ORGANIZATION, name="ours", created_ms=1)
    await put(database, tables.organizations, id=ORGANIZATION + 1, name="theirs", created_ms=1)
    for project_id, organization_id in [(PROJECT, 7), (SIBLING, 7), (STRANGER, 8)]:
        row = {"id": project_id, "organization_id": organization_id, "name": f"p{project_id}"}
        await put(database, tables.projects, **row, settings={}, created_ms=1)
    return database


async def put(database: Database, table: Table, **row: Any) -> None:
    async with database.begin() as connection:
        await connection.execute(insert(table), row)


def key_of(name: str) -> dict[str, Any]:
    return {"application_id": 5, "job_id": uuid5(_NAMES, name), "run": 1, "attempt": 1}


def hold_of(name: str, day: int = TODAY) -> Hold:
    return Hold(id=name, nanodollars=100, input_tokens=1, output_tokens=2, day=day, minute=day * 1440 + 9)


async def intent(database: Database, name: str, project_id: int = PROJECT, day: int = TODAY) -> None:
    facts = {"owner": "w", "target": "t", "model": "m", "price_version": "1", "started_ms": day * DAY_MS + 9}
    hold = hold_of(name, day).model_dump(mode="json")
    await put(database, tables.attempts, **key_of(name), **facts, project_id=project_id, hold=hold)


async def verdict(database: Database, name: str, nanodollars: int, day: int = TODAY) -> None:
    charge = Charge(
        attempt=1,
        verdict="failed",
        hold=hold_of(name, day),
        nanodollars=nanodollars,
        price_version="1",
        target="t",
    )
    facts = {"kind": "failed", "reason": "timeout", "charge": charge.model_dump(mode="json"), "at_ms": 1}
    await put(database, tables.verdicts, **key_of(name), **facts)


async def terminal(database: Database, name: str) -> None:
    key = {column: value for column, value in key_of(name).items() if column != "attempt"}
    facts = {"kind": "expired", "outcome": "o/0/0", "value_sha256": "0" * 64}
    await put(database, tables.terminals, **key, **facts, attempts=1, nanodollars=0, at_ms=1)


def charge_row(name: str, nanodollars: int, project_id: int = PROJECT, day: int = TODAY) -> dict[str, Any]:
    return key_of(name) | {
        "organization_id": ORGANIZATION,
        "project_id": project_id,
        "key_id": "k",
        "model": "m",
        "target": "t",
        "lane": "bulk",
        "verdict": "answered",
        "hold_id": name,
        "hold_nanodollars": 100,
        "nanodollars": nanodollars,
        "estimated": False,
        "price_version": "1",
        "day": day,
        "minute": day * 1440 + 9,
        "latency_ms": 1,
        "at_ms": 1,
    }


async def read(database: Database) -> tuple[list[Charged], list[Unsettled]]:
    async with LedgerSource(database).exclusive() as ledger:
        charged = [row async for rows in ledger.charged(ORGANIZATION, FIRST_DAY) for row in rows]
        return charged, list(await ledger.unsettled(ORGANIZATION, FIRST_DAY))


async def test_all_projects_of_the_organization_are_named(database: Database) -> None:
    async with LedgerSource(database).exclusive() as ledger:
        assert sorted(await ledger.project_ids(ORGANIZATION)) == [PROJECT, SIBLING]


async def test_charges_of_the_open_days_are_read(database: Database) -> None:
    await put(database, tables.charges, **charge_row("today", 30))
    await put(database, tables.charges, **charge_row("sibling", 31, SIBLING))
    await put(database, tables.charges, **charge_row("yesterday", 32, day=TODAY - 1))
    await put(database, tables.charges, **charge_row("before", 33, day=TODAY - 2))
    await put(database, tables.charges, **charge_row("stranger", 34, STRANGER))
    charged, unsettled = await read(database)
    assert sorted(charged, key=lambda row: row.nanodollars) == [
        Charged(PROJECT, "today", TODAY, TODAY * 1440 + 9, 30),
        Charged(SIBLING, "sibling", TODAY, TODAY * 1440 + 9, 31),
        Charged(PROJECT, "yesterday", TODAY - 1, TODAY * 1440 - 1440 + 9, 32),
    ]
    assert unsettled == []


async def test_an_intent_is_unsettled_until_a_verdict_a_charge_or_the_end_of_its_run(
    database: Database,
) -> None:
    for name in ("calling", "failed", "charged", "both", "ended"):
        await intent(database, name)
    await verdict(database, "failed", 12)
    await put(database, tables.charges, **charge_row("charged", 30))
    await verdict(database, "both", 13)
    await put(database, tables.charges, **charge_row("both", 13))
    await terminal(database, "ended")
    await intent(database, "stale", day=TODAY - 2)
    await intent(database, "yesterday", SIBLING, day=TODAY - 1)
    await intent(database, "stranger", STRANGER)
    charged, unsettled = await read(database)
    assert sorted((row.hold_id, row.nanodollars) for row in charged) == [
        ("both", 13),
        ("charged", 30),
        ("failed", 12),
    ]
    assert sorted(unsettled, key=lambda item: item.hold.id) == [
        Unsettled(PROJECT, hold_of("calling")),
        Unsettled(SIBLING, hold_of("yesterday", TODAY - 1)),
    ]


async def test_a_hold_of_a_closed_day_is_left_out_though_its_call_began_later(database: Database) -> None:
    await intent(database, "calling", day=TODAY - 1)
    await intent(database, "failed", day=TODAY - 1)
    await verdict(database, "failed", 12, day=TODAY - 1)
    async with LedgerSource(database).exclusive() as ledger:
        assert [rows async for rows in ledger.charged(ORGANIZATION, TODAY) if rows] == []
        assert await ledger.unsettled(ORGANIZATION, TODAY) == []


async def test_charges_come_in_chunks(database: Database) -> None:
    rows = [charge_row(f"h{n}", n) for n in range(CHUNK_ROWS + 1)]
    async with database.begin() as connection:
        await connection.execute(insert(tables.charges), rows)
    async with LedgerSource(database).exclusive() as ledger:
        sizes = [len(found) async for found in ledger.charged(ORGANIZATION, FIRST_DAY)]
    assert sizes == [CHUNK_ROWS, 1]


async def test_one_rebuild_waits_for_another(database: Database) -> None:
    locked, go = asyncio.Event(), asyncio.Event()

    async def rebuild() -> None:
        async with LedgerSource(database).exclusive():
            locked.set()
            await go.wait()

    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        tasks.create_task(rebuild())
        await locked.wait()
        reading = tasks.create_task(read(database))
        await somebody_waits(database)
        assert not reading.done()
        go.set()


async def test_on_postgresql_what_is_charged_while_it_is_read_stays_unsettled(database_url: str) -> None:
    """Else it would be in neither list, and missing from the counters until its settlement comes."""
    database = await opened(database_url)
    await intent(database, "calling")
    async with asyncio.timeout(30), LedgerSource(database).exclusive() as ledger:
        assert [rows async for rows in ledger.charged(ORGANIZATION, FIRST_DAY) if rows] == []
        await verdict(database, "calling", 12)
        [left] = await ledger.unsettled(ORGANIZATION, FIRST_DAY)
        assert left.hold.id == "calling"
    await database.close()


async def test_a_lost_gate_comes_back_from_the_database(database: Database, closed_bench: Bench) -> None:
    await put(database, tables.charges, **charge_row("charged", 30))
    await intent(database, "calling")
    gate = closed_bench.gate
    gate._closed.add(ORGANIZATION)
    await gate.rebuild(LedgerSource(database))
    assert await closed_bench.counters() == {f"d:{TODAY}:spent": 30, f"d:{TODAY}:held": 100}


async def somebody_waits(database: Database) -> None:
    """On SQLite the one connection of the process is taken, which needs no looking."""
    waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    while database.dialect == "postgresql":
        async with database.connect() as connection:
            if await connection.scalar(waiting):
                return
