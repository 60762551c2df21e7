"""Any number of rows in one statement: they come back as they went in."""

import dataclasses
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from pydantic import SecretStr
from sqlalchemy import select

from broker.settings import DatabaseSettings
from broker.store.bulk import Look, insert_rows, select_by_keys, update_all
from broker.store.database import Database
from broker.store.jobs import JobRow
from broker.store.keys import ATTEMPT_COLUMNS, JOB_COLUMNS
from broker.store.settlement_rows import charge_rows
from broker.store.tables import ledger
from broker.store.tables.audit import audit, positions
from tests.contracts.store.builders import HOLD, charge, intent, job, settlement, state

TEXTS = [
    "",
    "plain",
    'it\'s "quoted" \\ and {braced}',
    "tab\t newline\n return\r",
    "ünïcödé ✓ \N{GRINNING FACE} \N{RIGHT-TO-LEFT OVERRIDE}",
    "'); DROP TABLE jobs; --",
    ":rows $1 %s ?",
]
JSONS: list[Any] = [
    {"nested": {"list": [1, 2.5, None, True], "text": "ünïcödé"}, "big": 2**62},
    [],
    {},
    "only a text",
]


@pytest.mark.parametrize("value", TEXTS)
async def test_texts(database: Database, value: str) -> None:
    row = job(origin=value)
    async with database.connect() as connection:
        await insert_rows(connection, ledger.jobs, [row])
        (found,) = await connection.execute(select(ledger.jobs.c.origin))
    assert found == (value,)


@pytest.mark.parametrize("value", JSONS)
async def test_json_arrives_as_json(database: Database, value: Any) -> None:
    row = {"topic": "t", "partition": 0, "position": 0, "entry": value, "hash": "0" * 64}
    async with database.connect() as connection:
        await insert_rows(connection, audit, [row])
        (found,) = await connection.execute(select(audit.c.entry))
        by_key = await select_by_keys(connection, audit, ["topic"], [["t"]], ["entry"])
    assert found == (value,)
    assert by_key == [found]


async def test_models_in_json_columns(database: Database) -> None:
    async with database.connect() as connection:
        await insert_rows(connection, ledger.attempts, [intent()])
        (found,) = await connection.execute(select(ledger.attempts.c.hold))
    assert found == (HOLD.model_dump(),)


@pytest.mark.parametrize("number", [0, -1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63)])
async def test_whole_numbers_stay_whole(database: Database, number: int) -> None:
    async with database.connect() as connection:
        await insert_rows(connection, ledger.jobs, [job(deadline_ms=number)])
        (found,) = await connection.execute(select(ledger.jobs.c.deadline_ms))
    assert found == (number,)


async def test_truths_and_nulls(database: Database) -> None:
    rows = list(charge_rows(settlement(0, state(charges=(charge(1, estimated=True, usage=None), charge(2))))))
    columns = ["attempt", "estimated", "input_tokens"]
    async with database.connect() as connection:
        found = await insert_rows(connection, ledger.charges, rows, columns)
    assert sorted(found) == [(1, True, None), (2, False, 80)]


async def test_ids_come_back_equal_and_as_the_library_reads_them(database: Database) -> None:
    row = job()
    async with database.connect() as connection:
        ((application_id, job_id),) = await insert_rows(connection, ledger.jobs, [row], JOB_COLUMNS)
        plain = select(ledger.jobs.c.origin).where(ledger.jobs.c.job_id == row.job_id)
        assert (await connection.execute(plain)).scalar_one() == row.origin
    assert isinstance(job_id, UUID)
    assert {(application_id, job_id): 1} == {(row.application_id, row.job_id): 1}


async def test_rows_that_stand_already_are_left_out(database: Database) -> None:
    old, new = job(origin="old"), job()
    async with database.connect() as connection:
        await insert_rows(connection, ledger.jobs, [old])
        rows = [job(job_id=old.job_id), new, new]
        assert await insert_rows(connection, ledger.jobs, rows, ["job_id"]) == [(new.job_id,)]
        origins = set(await connection.scalars(select(ledger.jobs.c.origin)))
    assert origins == {"old", new.origin}


async def test_rows_whose_key_stands_elsewhere_are_left_out(database: Database) -> None:
    here, gone = intent(), intent()
    terminal = settlement(0, state(job_id=gone.job_id))
    async with database.connect() as connection:
        ends = [{"application_id": 1, "job_id": gone.job_id, "run": 1} | _end(terminal.value_sha256)]
        await insert_rows(connection, ledger.terminals, ends)
        inserted = await insert_rows(
            connection, ledger.attempts, [here, gone], ATTEMPT_COLUMNS, unless_in=ledger.terminals
        )
    assert inserted == [tuple(here.key)]


async def test_rows_are_found_by_any_of_their_columns(database: Database) -> None:
    rows = [job(lane=lane, origin=lane) for lane in ("a", "b", "b", "c")]
    async with database.connect() as connection:
        await insert_rows(connection, ledger.jobs, rows)
        found = await select_by_keys(connection, ledger.jobs, ["lane"], [["b"], ["c"], ["z"]], ["origin"])
    assert sorted(found) == [("b",), ("b",), ("c",)]


async def test_a_key_asked_for_twice_is_found_once(database: Database) -> None:
    row = job()
    async with database.connect() as connection:
        await insert_rows(connection, ledger.jobs, [row])
        found = await select_by_keys(connection, ledger.jobs, JOB_COLUMNS, [row.key, row.key], ["lane"])
    assert found == [("standard",)]


async def test_no_rows_are_no_statement(database: Database) -> None:
    async with database.connect() as connection:
        assert await insert_rows(connection, ledger.jobs, [], ["job_id"]) == []
        assert await select_by_keys(connection, ledger.jobs, JOB_COLUMNS, [], ["lane"]) == []


async def test_what_cannot_be_put_in_json_is_an_error(database: Database) -> None:
    with pytest.raises(TypeError, match="complex"):
        async with database.connect() as connection:
            await insert_rows(connection, ledger.jobs, [dataclasses.asdict(job()) | {"origin": 1j}])


def _end(value_sha256: str) -> dict[str, Any]:
    return {
        "kind": "answered",
        "outcome": "o/0/0",
        "value_sha256": value_sha256,
        "attempts": 1,
        "nanodollars": 1,
        "at_ms": 1,
    }


def _position(partition: int, seen: int, goal: int) -> dict[str, Any]:
    place = {"topic": "t", "partition": partition, "chain_head": "0" * 64, "chain_length": 0}
    return {**place, "next_offset": goal, "seen_offset": seen}


def _entry(position: int) -> dict[str, Any]:
    return {"topic": "t", "partition": 0, "position": position, "entry": {}, "hash": "0" * 64}


def _waiter(item: JobRow) -> dict[str, Any]:
    return {"application_id": 1, "job_id": item.job_id, "run": 1, "reply_to": "replies.shop/1/a", "at_ms": 1}


@pytest_asyncio.fixture
async def postgresql(postgresql_url: str) -> AsyncIterator[Database]:
    opened = await Database.open(DatabaseSettings(url=SecretStr(postgresql_url)))
    yield opened
    await opened.close()


@pytest.mark.parametrize(
    ("moves", "new", "is_done"),
    [
        ([(0, 0, 5), (1, 0, 7)], [1], True),
        ([(0, 0, 5), (1, 3, 7)], [1], False),
        ([(0, 0, 5), (2, 0, 7)], [1], False),
        ([(0, 0, 5), (1, 0, 7)], [1, 0], False),
        ([(0, 0, 5), (1, 0, 7)], [], True),
    ],
    ids=["as seen", "moved by another", "not there", "one is not new", "nothing new"],
)
async def test_all_rows_are_written_or_none(
    postgresql: Database, moves: list[tuple[int, int, int]], new: list[int], is_done: bool
) -> None:
    match = {"topic": "topic", "partition": "partition", "next_offset": "seen_offset"}
    starts = [_position(0, 0, 0), _position(1, 0, 0)]
    there = [{name: row[name] for name in row if name != "seen_offset"} for row in starts]
    async with postgresql.ledger() as connection:
        await insert_rows(connection, positions, there)
        await insert_rows(connection, audit, [_entry(0)])
        rows = [_position(*move) for move in moves]
        news = {audit: [_entry(position) for position in new]}
        beside = {ledger.waiters: [_waiter(job())]}
        look = Look(audit, ("topic", "partition"), ("topic", "partition", "position"), of=audit)
        found = await update_all(connection, positions, rows, match, news, beside, look)
        at = await select_by_keys(connection, positions, ["topic"], [["t"]], ["next_offset"])
        audited = await select_by_keys(connection, audit, ["topic"], [["t"]], ["position"])
        waiting = await select_by_keys(connection, ledger.waiters, ["run"], [[1]], ["run"])
    before = [("t", 0, 0, 1)] if new else []
    assert found == (before if is_done else None)
    assert sorted(row.next_offset for row in at) == ([5, 7] if is_done else [0, 0])
    assert sorted(row.position for row in audited) == ([0, *new] if is_done else [0])
    assert len(waiting) == is_done
