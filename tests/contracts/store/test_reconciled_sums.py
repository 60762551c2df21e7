"""Every sum has corrections: usage and its bills, forecasts, budgets at the gate, and what checks them."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select, update

from broker.errors import RedisDamaged
from broker.ops.recounting import count_in
from broker.pricing.cost import charge as cost_of
from broker.quota.gate import Corrections
from broker.store.corrections import waiting_to_be_counted
from broker.store.estimated import Estimated
from broker.store.parking import Parking
from broker.store.tables.corrections import corrections, reconciliations, uncounted
from broker.store.tables.ledger import charges
from broker.store.usage import BILL_BY, Usage
from schemas.state import Usage as Used
from tests.contracts.store.builders import parked
from tests.contracts.store.reconciled import (
    BOOK,
    HELD_NANODOLLARS,
    HELD_TOKENS,
    KEY,
    ORGANIZATION,
    PROJECT,
    Desk,
    job,
    statement,
)

TOKENS = "job,run,attempt,input_tokens,output_tokens"


async def test_who_dies_before_the_gate_is_told_is_made_up_for(desk: Desk) -> None:
    await desk.charge(1)
    await desk.reconcile(statement((job(1), 1, 1, "0.001")), counts=False)
    assert await desk.spent() == {(HELD_NANODOLLARS, HELD_TOKENS)}
    assert await desk.found() == []  # the ledger says that the gate may not know
    await desk.count()
    await desk.count()
    assert await desk.spent() == {(1_000_000, HELD_TOKENS)}
    assert await desk.found() == []


async def test_a_gate_that_was_told_and_whose_telling_was_not_noted_counts_once(desk: Desk) -> None:
    await desk.charge(1)
    await desk.reconcile(statement((job(1), 1, 1, "0.001")))
    async with desk.database.begin() as connection:
        await connection.execute(insert(uncounted).values(reconciliation_id=1))
    await desk.count()
    assert await desk.spent() == {(1_000_000, HELD_TOKENS)}


async def test_counters_that_are_damaged_keep_no_other_correction_from_the_gate(desk: Desk) -> None:
    class Damaged:
        """For the organization that the first one is about."""

        async def correct(self, batches: Sequence[Corrections]) -> list[bool]:
            if batches[0].id == 1:
                raise RedisDamaged("a key of the gate is of another type")
            return await desk.opening.correct(batches)

    for number in (1, 2):
        await desk.charge(number)
        await desk.reconcile(statement((job(number), 1, 1, "0.001")), counts=False)
    with pytest.raises(RedisDamaged):
        await count_in(desk.database, Damaged())
    async with desk.database.connect() as connection:
        assert await waiting_to_be_counted(connection) == [1]
    assert await desk.spent() == {(10_000_000, 2 * HELD_TOKENS)}
    await desk.count()
    async with desk.database.connect() as connection:
        assert await waiting_to_be_counted(connection) == []
    assert await desk.found() == []


@pytest.mark.parametrize("counts", [True, False])
async def test_counters_that_were_lost_come_back_with_corrections(desk: Desk, *, counts: bool) -> None:
    await desk.charge(1)
    await desk.reconcile(statement((job(1), 1, 1, "0.001")), counts=counts)
    await desk.redis.flushall()
    assert await desk.spent() == {(1_000_000, HELD_TOKENS)}
    await desk.count()
    assert await desk.spent() == {(1_000_000, HELD_TOKENS)}
    assert await desk.found() == []


async def test_a_gate_that_counts_what_no_correction_says_is_found(desk: Desk) -> None:
    await desk.charge(1)
    await desk.reconcile(statement((job(1), 1, 1, "0.001")), counts=False)
    async with desk.database.begin() as connection:
        await connection.execute(delete(uncounted))
    found = await desk.found()
    assert {each.check for each in found} == {"gate"}
    assert "the gate has 9000000 spent, the ledger 1000000" in {each.detail for each in found}


async def test_what_is_freed_lets_waiting_jobs_go_on(desk: Desk) -> None:
    await desk.charge(1)
    far_ms = 9_000_000_000_000
    row = parked(1, project_id=PROJECT, due_ms=far_ms, reason="nanodollars_per_day")
    await Parking(desk.database).park([row])
    await desk.reconcile(statement((job(1), 1, 1, "0.001")))
    (found,) = await Parking(desk.database).due([0], far_ms - 1, 10)
    assert found.due_ms < far_ms


async def test_a_bill_of_a_past_month_stays_and_every_way_to_sum_agrees(desk: Desk) -> None:
    for number in range(1, 4):
        await desk.charge(number)
    usage = Usage(desk.database)
    past = range(20_000, 20_001)
    before = await usage.bill(["project"], days=past)
    await desk.reconcile(statement((job(1), 1, 1, "0.001"), (job(2), 1, 1, "0.010")))
    assert await usage.bill(["project"], days=past) == before
    for by in BILL_BY:
        rows = await usage.bill([by])
        assert sum(row.nanodollars for row in rows) == 20_000_000
        assert sum(row.corrected_nanodollars for row in rows) == -7_000_000
        assert sum(row.estimated_nanodollars for row in rows) == 27_000_000
        assert sum(row.attempts for row in rows) == 3
    (first, second) = await usage.bill(["day", "application"])
    assert (first.labels[1], second.labels[1]) == ("shop", "shop")
    assert (second.jobs, second.attempts, second.nanodollars) == (0, 0, -7_000_000)
    assert str(second.labels[0]) >= "2026-01-01"


async def test_a_forecast_goes_by_what_charges_came_to(desk: Desk) -> None:
    await desk.charge(1)
    late = update(charges).values(at_ms=2**42)
    async with desk.database.begin() as connection:
        await connection.execute(late)
    await desk.reconcile(statement((job(1), 1, 1, 80, 20), header=TOKENS))
    (row,) = await desk.rows()
    of_late = await Usage(desk.database).of_late(3_600_000, organization_id=ORGANIZATION, key_id=KEY)
    assert of_late == (row["figure_nanodollars"], 100)


TAMPERED = {
    "correction_sum": update(corrections).values(nanodollars=corrections.c.nanodollars - 1),
    "correction_place": update(corrections).values(month=corrections.c.month - 1),
    "correction_without_charge": update(corrections).values(attempt=2),
    "correction_without_reconciliation": update(corrections).values(reconciliation_id=9),
    "reconciliation": update(reconciliations).values(reference="INV-8"),
}


@pytest.mark.parametrize("check", TAMPERED)
async def test_what_was_altered_is_found(desk: Desk, check: str) -> None:
    await desk.charge(1)
    await desk.reconcile(statement((job(1), 1, 1, "0.001")), reference="INV-7")
    async with desk.database.begin() as connection:
        await connection.execute(TAMPERED[check])
    assert check in {each.check for each in await desk.found()}


async def test_whatever_is_altered_is_found(desk: Desk) -> None:
    await desk.charge(1)
    await desk.reconcile(statement((job(1), 1, 1, 80, 20), header=TOKENS), reference="INV-7")
    for table in (reconciliations, corrections):
        for column in (column for column in table.c if not column.primary_key):
            async with desk.database.begin() as connection:
                old = await connection.scalar(select(column))
                await connection.execute(update(table).values({column: _other(old)}))
            assert "reconciliation" in {each.check for each in await desk.ledger_found()}, column
            async with desk.database.begin() as connection:
                await connection.execute(update(table).values({column: old}))
    assert await desk.found() == []


def _other(value: Any) -> Any:
    if isinstance(value, dict):
        return {**value, "input_tokens": value["input_tokens"] + 1}
    return value + 1 if isinstance(value, int) else f"{value[:-1]}!"


async def test_a_correction_that_is_moved_to_another_charge_is_found(desk: Desk) -> None:
    for number in (1, 2):
        await desk.charge(number)
    await desk.reconcile(statement((job(1), 1, 1, "0.001")))
    async with desk.database.begin() as connection:
        await connection.execute(update(corrections).values(job_id=job(2)))
    assert [each.check for each in await desk.found()] == ["reconciliation"]


async def test_a_reconciliation_that_went_away_is_found(desk: Desk) -> None:
    await desk.charge(1)
    await desk.reconcile(statement((job(1), 1, 1, "0.001")))
    async with desk.database.begin() as connection:
        for table in (reconciliations, corrections):
            await connection.execute(delete(table))
    assert {each.check for each in await desk.found()} >= {"reconciliation"}


async def test_while_statements_are_written_and_jobs_settled_there_is_no_false_alarm(desk: Desk) -> None:
    for number in range(1, 21):
        await desk.charge(number)

    async def reconcile() -> None:
        for number in range(1, 21):
            await desk.reconcile(statement((job(number), 1, 1, f"0.0{number:02}")))

    async def spend() -> None:
        for number in range(100, 110):
            await desk.charge(number)

    async def lose() -> None:
        for _ in range(3):
            await asyncio.sleep(0)
            await desk.redis.flushall()

    working = [asyncio.create_task(each()) for each in (reconcile, spend, lose)]
    while not all(task.done() for task in working):
        assert await desk.found(patience_s=60) == []
    await asyncio.gather(*working)
    (bill,) = await Usage(desk.database).bill(["organization"])
    assert await desk.spent() == {(bill.nanodollars, 30 * HELD_TOKENS)}
    assert await desk.found() == []


_DOLLARS = st.integers(0, 20_000_000).map(lambda each: {"nanodollars": each})
_TOKENS = st.builds(
    lambda taken, given: {"input_tokens": taken, "output_tokens": given},
    st.integers(0, 90),
    st.integers(0, 40),
)
_STEPS = st.lists(st.tuples(st.integers(1, 4), st.one_of(_DOLLARS, _TOKENS)), max_size=6)


@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=_STEPS, lost=st.integers(0, 6), untold=st.sets(st.integers(0, 6)))
async def test_whatever_is_corrected_all_sums_agree(
    desk: Desk, steps: list[tuple[int, dict[str, int]]], lost: int, untold: set[int]
) -> None:
    """Usage by each label, the lines of the bill, the newest figures, and the gate; each file given twice."""
    await desk.redis.flushall()
    async with desk.database.begin() as connection:
        for table in (corrections, reconciliations, uncounted, charges):
            await connection.execute(delete(table))
    figures = dict.fromkeys(range(1, 5), HELD_NANODOLLARS)
    for number in figures:
        await desk.insert(number)
    for place, (number, said) in enumerate(steps):
        figures[number], content = _said(number, said, place)
        for _ in range(2):
            await desk.reconcile(content, amends=True, counts=place not in untold)
        if place == lost:
            await desk.redis.flushall()
    await desk.count()
    await _agree(desk, sum(figures.values()))


def _said(number: int, said: dict[str, int], place: int) -> tuple[int, bytes]:
    """The figure, and a file that is another one at each place."""
    if "nanodollars" in said:
        row = {"dollars": f"{said['nanodollars'] // 10**9}.{said['nanodollars'] % 10**9:09d}"}
        return said["nanodollars"], _line(number, row, place)
    return cost_of(Used.model_validate(said), BOOK.price("gpt-4o")), _line(number, dict(said), place)


def _line(number: int, row: dict[str, Any], place: int) -> bytes:
    return b"\n" * place + json.dumps({"job": str(job(number)), "run": 1, "attempt": 1, **row}).encode()


async def _agree(desk: Desk, total: int) -> None:
    for by in BILL_BY:
        assert sum(row.nanodollars for row in await Usage(desk.database).bill([by])) == total
    lines = [row async for rows in Estimated(desk.database).corrected() for row in rows]
    assert sum(row.nanodollars for row in lines) + 4 * HELD_NANODOLLARS == total
    assert {spent for spent, _ in await desk.spent()} == {total}
