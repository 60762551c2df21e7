"""PostgreSQL keeps plans that it made while tables were small: they must go by key when these have grown."""

from collections.abc import Awaitable, Callable

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from broker.settings import DatabaseSettings
from broker.store.attempts import Attempts
from broker.store.cancels import CancelRow, Cancels
from broker.store.crowds import Waiting
from broker.store.database import Database
from broker.store.jobs import Jobs
from broker.store.migrate import upgrade
from broker.store.parking import Line, Parking, Place
from broker.store.settlement import Settlements
from schemas.outcomes import Repeat
from tests.contracts.store.builders import intent, job, settle, settlement, state, verdict

GROWN = 20_000
HANDFUL = 1_000
PLANS_KEPT_AFTER = 5
"""Uses of a prepared statement, after which PostgreSQL may keep its plan."""

_READ = text(
    "SELECT sum(seq_tup_read) + sum(idx_tup_fetch)"
    " + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes) FROM pg_stat_user_tables"
)
_GROWTH = {
    "jobs": "'a', 'b', 'c', 3, 1, 1",
    "cancels": "'k', 'o', 1, 1, 1",
    "attempts": "1, 1, 'o', 3, 't', 'm', '{}', 'v', 1",
    "verdicts": "1, 1, 'failed', 'r', '{}', 1, 1",
    "terminals": "1, 'answered', NULL, 'o', 'd', 1, 1, 1",
    "waiters": "1, 'replies.shop', 1",
    "parked": "1, 1, 3, 'bulk', 99, 'jobs_in_flight', n, 1, CASE WHEN n % 2 = 0 THEN '2/p3' END",
}
"""What stands after application and job id in every row."""


@pytest.mark.parametrize("analyzed", [False, True])
async def test_no_statement_of_the_hot_path_reads_a_table_that_has_grown(
    database_url: str, *, analyzed: bool
) -> None:
    await upgrade(database_url)
    settings = DatabaseSettings(url=SecretStr(database_url)).model_copy(update={"pool_size": 1})
    database = await Database.open(settings)
    try:
        if analyzed:
            await _execute(database, "VACUUM ANALYZE")
        for work in _works(database):
            for _ in range(PLANS_KEPT_AFTER + 2):
                await work()
        for table, rest in _GROWTH.items():
            first = "0, n, 1" if table == "parked" else "1"
            rows = f"SELECT {first}, gen_random_uuid(), {rest} FROM generate_series(100, {GROWN}) AS n"
            await _execute(database, f"INSERT INTO {table} {rows}")
        for work in _works(database):
            before = await _rows_read(database)
            await work()
            assert await _rows_read(database) - before < HANDFUL, work
    finally:
        await database.close()


def _works(database: Database) -> list[Callable[[], Awaitable[object]]]:
    jobs, attempts, settlements = Jobs(database), Attempts(database), Settlements(database)
    parking, waiting, cancels = Parking(database), Waiting(database), Cancels(database)
    called_off = [CancelRow(1, row.job_id, "k", "o", 1, 2**52) for row in (job() for _ in range(10))]
    known = [job() for _ in range(10)]
    begun = [intent() for _ in range(10)]

    async def end() -> None:
        next_offset = (await settlements.position("outcomes.standard", 0)).next_offset
        ends = [settlement(next_offset + n) for n in range(10)]
        repeats = [settlement(next_offset + 10 + n, state(Repeat())) for n in range(10)]
        await settle(settlements, *ends, *repeats)
        await settle(settlements, *ends, *repeats)

    return [
        lambda: jobs.register(known),
        lambda: attempts.begin(begun),
        lambda: attempts.record_verdicts([verdict(row) for row in begun]),
        lambda: attempts.facts([row.key for row in begun]),
        end,
        lambda: cancels.enter(called_off),
        lambda: cancels.beyond(1),
        lambda: parking.hasten([row.key for row in known]),
        lambda: parking.unpark([Place(0, 1), Place(0, 2)]),
        lambda: parking.due([0, 1], 1, 10),
        lambda: waiting.first("2/p3", [0, 1], 10),
        waiting.lines,
        lambda: parking.move({Place(0, 1): Line("2/o", "organization_jobs_in_flight")}),
        lambda: parking.wake(4),
    ]


async def _rows_read(database: Database) -> int:
    # The counters of a connection reach the view when it says so, in the next transaction.
    await _execute(database, "SELECT pg_stat_force_next_flush()")
    async with database.connect() as connection:
        await connection.execute(text("SELECT 1"))
        return int((await connection.execute(_READ)).scalar_one())


async def _execute(database: Database, statement: str) -> None:
    async with database.connect() as connection:
        await connection.exec_driver_sql(statement)
