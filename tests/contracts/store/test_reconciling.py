"""Corrections of estimated charges: what is written, what is refused, and that every sum has them."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import pytest
import pytest_asyncio
from fakeredis import FakeAsyncRedis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select, update

from broker.ops.budgets import Found, Subject, standings
from broker.ops.projects import Address, set_settings
from broker.ops.reconciling import BATCH_ROWS, StatementRefused
from broker.pricing.cost import charge as cost_of
from broker.quota.limits import Limits
from broker.quota.redis_gate import RedisGate
from broker.statements.spool import Spool
from broker.store.audit_check import broken_chain
from broker.store.database import Database
from broker.store.estimated import Estimated
from broker.store.operations import latest
from broker.store.parking import Parking
from broker.store.tables.corrections import corrections, reconciliations, uncounted
from broker.store.tables.identity import applications
from broker.store.tables.ledger import charges
from broker.store.usage import BILL_BY, Usage
from schemas.state import Usage as Used
from tests.contracts.store.builders import parked
from tests.contracts.store.reconciled import (
    BOOK,
    HELD_NANODOLLARS,
    HELD_TOKENS,
    KEY,
    NOON_MS,
    ORGANIZATION,
    PROJECT,
    Desk,
    job,
    statement,
    tenants,
)

TOKENS = "job,run,attempt,input_tokens,output_tokens"
NODES = ("o", f"p{PROJECT}", f"k{KEY}")


@pytest_asyncio.fixture
async def desk(database: Database) -> AsyncIterator[Desk]:
    await tenants(database)
    redis = FakeAsyncRedis()
    gate = RedisGate.embedded(redis, clock=lambda: NOON_MS)
    made = Desk(database, redis, gate)
    await made.found()  # opens the gate
    yield made
    await gate.close()


async def _spent(desk: Desk) -> set[tuple[int, int]]:
    """Nanodollars and tokens that each node counts, of the day and of the month."""
    found = [await desk.counters(node) for node in NODES]
    windows = [window for each in found for window in (each.of_day, each.of_month)]
    return {(each.nanodollars_spent, each.tokens_spent) for each in windows}


async def _codes(desk: Desk, content: bytes, *, amends: bool = False) -> list[tuple[int, str]]:
    with Spool() as spool, pytest.raises(StatementRefused) as refused:
        await desk.check(content, spool, amends=amends)
    return [(fault.line, fault.code.value) for fault in refused.value.faults]


async def test_an_invoiced_cost_is_put_beside_the_charge(desk: Desk) -> None:
    await desk.charge(1)
    before = await _charges(desk.database)
    checked = await desk.reconcile(statement((job(1), 1, 1, "0.002000001")), reference="INV-7")
    assert checked.summary.corrected == 1
    assert await _charges(desk.database) == before
    (row,) = await desk.rows()
    assert (row["number"], row["nanodollars"], row["figure_nanodollars"]) == (
        1,
        2_000_001 - 9_000_000,
        2_000_001,
    )
    assert (row["tokens"], row["figure_tokens"], row["usage"]) == (0, HELD_TOKENS, None)
    assert await _spent(desk) == {(2_000_001, HELD_TOKENS)}
    assert await desk.found() == []


async def test_a_usage_is_priced_by_the_version_on_the_charge(desk: Desk) -> None:
    await desk.charge(1)
    await desk.reconcile(statement((job(1), 1, 1, 80, 20), header=TOKENS))
    used = Used(input_tokens=80, output_tokens=20)
    cost = cost_of(used, BOOK.price("gpt-4o"))
    (row,) = await desk.rows()
    assert (row["figure_nanodollars"], row["figure_tokens"], row["tokens"]) == (cost, 100, -50)
    assert Used.model_validate(row["usage"]) == used
    assert await _spent(desk) == {(cost, 100)}
    (bill,) = await Usage(desk.database).bill(["project"])
    assert (bill.input_tokens, bill.output_tokens, bill.nanodollars) == (80, 20, cost)
    assert await desk.found() == []


async def test_a_project_s_own_prices_are_found_again_after_they_have_changed(desk: Desk) -> None:
    def own(rate: int) -> list[dict[str, Any]]:
        rates = {"input": rate, "cached_input": rate, "cache_write": rate, "output": rate}
        price = {"model": "gpt-4o", "provider": "p", "endpoint": "/v1/chat/completions", "rates": rates}
        return [price]

    address = Address("acme", "web")
    first = await set_settings(desk.database, address, {"prices": own(1_000_000)})
    version = BOOK.with_overrides(first.settings.prices).version
    await set_settings(desk.database, address, {"prices": own(7_000_000)})
    await desk.charge(1, price_version=version)
    await desk.reconcile(statement((job(1), 1, 1, 80, 20), header=TOKENS))
    (row,) = await desk.rows()
    assert row["figure_nanodollars"] == 100


async def test_the_same_file_again_changes_nothing(desk: Desk) -> None:
    for number in (1, 2):
        await desk.charge(number)
    content = statement((job(1), 1, 1, "0.001"), (job(2), 1, 1, "0.002"))
    await desk.reconcile(content)
    before = await desk.rows(), await _spent(desk)
    again = await desk.reconcile(content)
    assert (again.summary.known, again.summary.corrected) == (2, 0)
    assert (await desk.rows(), await _spent(desk)) == before


async def test_a_file_that_says_the_same_in_other_words_changes_nothing(desk: Desk) -> None:
    await desk.charge(1)
    await desk.reconcile(statement((job(1), 1, 1, "0.001")))
    again = await desk.reconcile(
        b'{"job":"%s","run":1,"attempt":1,"dollars":0.0010}\n' % str(job(1)).encode()
    )
    assert (again.summary.known, again.summary.corrected) == (1, 0)


async def test_a_figure_that_confirms_the_charge_ends_its_waiting(desk: Desk) -> None:
    await desk.charge(1)
    assert len(await _waiting(desk)) == 1
    await desk.reconcile(statement((job(1), 1, 1, "0.009")))
    assert await _waiting(desk) == []
    assert [row["nanodollars"] for row in await desk.rows()] == [0]


async def test_another_figure_is_refused_and_taken_where_it_is_asked_for(desk: Desk) -> None:
    await desk.charge(1)
    first, second = statement((job(1), 1, 1, "0.001")), statement((job(1), 1, 1, "0.004"))
    await desk.reconcile(first, reference="INV-7")
    assert await _codes(desk, second) == [(2, "already_corrected")]
    await desk.reconcile(second, amends=True)
    assert [row["nanodollars"] for row in await desk.rows()] == [-8_000_000, 3_000_000]
    assert await _spent(desk) == {(4_000_000, HELD_TOKENS)}
    again = await desk.reconcile(first, amends=True)
    assert (again.summary.known, len(await desk.rows())) == (1, 2)
    assert await desk.found() == []


async def test_tokens_then_dollars_then_tokens(desk: Desk) -> None:
    await desk.charge(1)
    await desk.reconcile(statement((job(1), 1, 1, 80, 20), header=TOKENS))
    await desk.reconcile(statement((job(1), 1, 1, "0.5")), amends=True)
    await desk.reconcile(statement((job(1), 1, 1, 70, 10), header=TOKENS), amends=True)
    (bill,) = await Usage(desk.database).bill(["organization"])
    assert (bill.input_tokens, bill.output_tokens) == (70, 10)
    assert {tokens for _, tokens in await _spent(desk)} == {80}
    assert await desk.found() == []


async def test_more_than_was_held_is_counted_too(desk: Desk) -> None:
    await desk.charge(1)
    checked = await desk.reconcile(statement((job(1), 1, 1, "1.5")))
    assert checked.summary.above_hold == 1
    assert await _spent(desk) == {(1_500_000_000, HELD_TOKENS)}
    found = Found(
        Subject("organization", "acme"), ORGANIZATION, None, None, "o", Limits(nanodollars_per_day=10)
    )
    (row,) = await standings(desk.database, desk.opening, [found])
    assert (row.used, row.left) == (1_500_000_000, 0)
    assert await desk.found() == []


async def test_all_faults_are_told_and_nothing_is_written(desk: Desk) -> None:
    await desk.charge(1)
    await desk.charge(2, estimated=False, usage=Used(input_tokens=80, output_tokens=20), nanodollars=5)
    content = statement(
        (job(1), 1, 1, "0.001"),
        (job(1), 1, 1, "0.001"),
        (job(2), 1, 1, "0.001"),
        (job(9), 1, 1, "0.001"),
        (job(1), 1, 1, "-0.001"),
        (job(1), 1, 1, "NaN"),
        (job(1), 1, 1, "99999999"),
        (job(1), 1, 1, None),
        ("job", 1, 1, 1),
    )
    assert await _codes(desk, content) == [
        (3, "row_repeated"),
        (5, "charge_unknown"),
        (6, "value_invalid"),
        (7, "value_invalid"),
        (8, "value_invalid"),
        (9, "row_incomplete"),
        (10, "value_invalid"),
    ]
    assert await _codes(desk, statement((job(2), 1, 1, "0.001"))) == [(2, "charge_not_estimated")]
    assert await desk.rows() == []


async def test_a_price_book_that_is_gone_is_told(desk: Desk) -> None:
    await desk.charge(1, price_version="2020-01-01.0123456789ab")
    assert await _codes(desk, statement((job(1), 1, 1, 80, 20), header=TOKENS)) == [(2, "price_unknown")]
    await desk.reconcile(statement((job(1), 1, 1, "0.001")))


async def test_a_job_id_that_two_applications_used_is_named_with_one(desk: Desk) -> None:
    await desk.charge(1)
    async with desk.database.begin() as connection:
        other = {"id": 7, "project_id": PROJECT, "name": "till", "created_ms": 0}
        await connection.execute(insert(applications).values(other))
        (row,) = (await connection.execute(select(charges))).mappings()
        await connection.execute(insert(charges).values({**row, "application_id": 7}))
    assert await _codes(desk, statement((job(1), 1, 1, "0.001"))) == [(2, "charge_ambiguous")]
    header = "application,job,run,attempt,dollars"
    assert await _codes(desk, statement(("none", job(1), 1, 1, 1), header=header)) == [(2, "charge_unknown")]
    await desk.reconcile(statement(("till", job(1), 1, 1, "0.001"), header=header))
    assert [row["application_id"] for row in await desk.rows()] == [7]


async def test_who_dies_before_the_gate_is_told_is_made_up_for(desk: Desk) -> None:
    await desk.charge(1)
    await desk.reconcile(statement((job(1), 1, 1, "0.001")), counts=False)
    assert await _spent(desk) == {(HELD_NANODOLLARS, HELD_TOKENS)}
    assert await desk.found() == []  # the ledger says that the gate may not know
    await desk.count()
    await desk.count()
    assert await _spent(desk) == {(1_000_000, HELD_TOKENS)}
    assert await desk.found() == []


async def test_a_gate_that_was_told_and_whose_telling_was_not_noted_counts_once(desk: Desk) -> None:
    await desk.charge(1)
    await desk.reconcile(statement((job(1), 1, 1, "0.001")))
    async with desk.database.begin() as connection:
        await connection.execute(insert(uncounted).values(reconciliation_id=1))
    await desk.count()
    assert await _spent(desk) == {(1_000_000, HELD_TOKENS)}


@pytest.mark.parametrize("counts", [True, False])
async def test_counters_that_were_lost_come_back_with_corrections(desk: Desk, *, counts: bool) -> None:
    await desk.charge(1)
    await desk.reconcile(statement((job(1), 1, 1, "0.001")), counts=counts)
    await desk.redis.flushall()
    assert await _spent(desk) == {(1_000_000, HELD_TOKENS)}
    await desk.count()
    assert await _spent(desk) == {(1_000_000, HELD_TOKENS)}
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
    assert second.labels[0] >= date(2026, 1, 1).isoformat()


async def test_a_forecast_goes_by_what_charges_came_to(desk: Desk) -> None:
    await desk.charge(1)
    late = update(charges).values(at_ms=2**42)
    async with desk.database.begin() as connection:
        await connection.execute(late)
    await desk.reconcile(statement((job(1), 1, 1, 80, 20), header=TOKENS))
    (row,) = await desk.rows()
    of_late = await Usage(desk.database).of_late(3_600_000, organization_id=ORGANIZATION, key_id=KEY)
    assert of_late == (row["figure_nanodollars"], 100)


async def test_it_is_on_the_record_of_operations(desk: Desk) -> None:
    await desk.charge(1)
    await desk.reconcile(statement((job(1), 1, 1, "0.001")), reference="INV-7")
    (row,) = await latest(desk.database, 1, "ledger")
    assert (row.operation.action, row.operation.after["reference"]) == ("ledger.reconcile", "INV-7")
    assert (row.operation.after["rows"], row.operation.after["nanodollars"]) == (1, -8_000_000)
    assert await broken_chain(desk.database) is None


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


async def test_two_operators_at_once_with_the_same_file(desk: Desk) -> None:
    numbers = range(1, 8)
    for number in numbers:
        await desk.charge(number)
    content = statement(*((job(number), 1, 1, "0.001") for number in numbers))
    done = await asyncio.gather(*(desk.reconcile(content) for _ in range(3)))
    assert sum(each.summary.corrected for each in done) == len(numbers)
    assert len(await desk.rows()) == len(numbers)
    assert await _spent(desk) == {(len(numbers) * 1_000_000, len(numbers) * HELD_TOKENS)}
    assert await desk.found() == []


async def test_two_operators_at_once_with_different_files(desk: Desk) -> None:
    """Both were right when they were checked; one of them comes second, and is told so."""
    await desk.charge(1)
    files = [statement((job(1), 1, 1, f"0.00{number}")) for number in (1, 2)]
    with Spool() as one, Spool() as other:
        spools = one, other
        checked = [await desk.check(file, spool) for file, spool in zip(files, spools, strict=True)]
        first, second = (
            work.write(each, spool, None, desk.count)
            for (work, each), spool in zip(checked, spools, strict=True)
        )
        await first
        with pytest.raises(StatementRefused, match="already_corrected"):
            await second
    assert await _spent(desk) == {(1_000_000, HELD_TOKENS)}


async def test_a_long_file_is_written_in_batches_and_goes_on_where_it_was_broken_off(desk: Desk) -> None:
    await desk.charge(1)
    total = BATCH_ROWS * 2 + 1
    async with desk.database.begin() as connection:
        (row,) = (await connection.execute(select(charges))).mappings()
        more = [{**row, "job_id": job(number), "hold_id": str(number)} for number in range(2, total + 1)]
        await connection.execute(insert(charges), more)
    content = statement(*((job(number), 1, 1, "0.000000001") for number in range(1, total + 1)))

    async def die() -> None:
        raise KeyboardInterrupt

    with Spool() as spool:
        work, checked = await desk.check(content, spool)
        assert checked.summary.corrected == total
        with pytest.raises(KeyboardInterrupt):
            await work.write(checked, spool, None, die)
    assert work.written.rows == BATCH_ROWS
    again = await desk.reconcile(content)
    assert (again.summary.known, again.summary.corrected) == (BATCH_ROWS, BATCH_ROWS + 1)
    assert sum([len(rows) async for rows in Estimated(desk.database).corrected()]) == total
    assert await _waiting(desk) == []


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
    assert await _spent(desk) == {(bill.nanodollars, 30 * HELD_TOKENS)}
    assert await desk.found() == []


async def test_waiting_is_told_by_project_and_month_in_pages(desk: Desk) -> None:
    await desk.charge(1)
    (row,) = await _waiting(desk)
    assert (row.project, row.application, row.job_id, row.nanodollars) == (
        "acme/web",
        "shop",
        job(1),
        9_000_000,
    )
    assert await _waiting(desk, month=row.month - 1) == []
    assert await _waiting(desk, project_id=99) == []
    assert len(await _waiting(desk, month=row.month, project_id=PROJECT)) == 1


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
    return cost_of(Used(**said), BOOK.price("gpt-4o")), _line(number, dict(said), place)


def _line(number: int, row: dict[str, Any], place: int) -> bytes:
    return b"\n" * place + json.dumps({"job": str(job(number)), "run": 1, "attempt": 1, **row}).encode()


async def _agree(desk: Desk, total: int) -> None:
    for by in BILL_BY:
        assert sum(row.nanodollars for row in await Usage(desk.database).bill([by])) == total
    lines = [row async for rows in Estimated(desk.database).corrected() for row in rows]
    assert sum(row.nanodollars for row in lines) + 4 * HELD_NANODOLLARS == total
    assert {spent for spent, _ in await _spent(desk)} == {total}


async def _waiting(desk: Desk, **which: Any) -> list[Any]:
    return [row async for rows in Estimated(desk.database).waiting(**which) for row in rows]


async def _charges(database: Database) -> str:
    async with database.connect() as connection:
        found = (await connection.execute(select(charges))).mappings()
        return json.dumps([dict(row) for row in found], default=str)
