"""Statements about estimated charges: what is written, what is refused, and who comes second."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import delete, insert, select

from broker.ops.budgets import Found, Subject, standings
from broker.ops.projects import Address, set_settings
from broker.ops.reconciling import BATCH_ROWS, StatementRefused
from broker.pricing.cost import charge as cost_of
from broker.quota.limits import Limits
from broker.statements.spool import Spool
from broker.store.audit_check import broken_chain
from broker.store.estimated import Estimated
from broker.store.operations import latest
from broker.store.tables.corrections import corrections
from broker.store.tables.identity import applications
from broker.store.tables.ledger import charges
from broker.store.usage import Usage
from schemas.state import Usage as Used
from tests.contracts.store.reconciled import (
    BOOK,
    HELD_TOKENS,
    ORGANIZATION,
    PROJECT,
    Desk,
    job,
    statement,
)

TOKENS = "job,run,attempt,input_tokens,output_tokens"


async def _codes(desk: Desk, content: bytes, *, amends: bool = False) -> list[tuple[int, str]]:
    with Spool() as spool, pytest.raises(StatementRefused) as refused:
        await desk.check(content, spool, amends=amends)
    return [(fault.line, fault.code.value) for fault in refused.value.faults]


async def test_an_invoiced_cost_is_put_beside_the_charge(desk: Desk) -> None:
    await desk.charge(1)
    before = await desk.charges()
    checked = await desk.reconcile(statement((job(1), 1, 1, "0.002000001")), reference="INV-7")
    assert checked.summary.corrected == 1
    assert await desk.charges() == before
    (row,) = await desk.rows()
    assert (row["number"], row["nanodollars"], row["figure_nanodollars"]) == (
        1,
        2_000_001 - 9_000_000,
        2_000_001,
    )
    assert (row["tokens"], row["figure_tokens"], row["usage"]) == (0, HELD_TOKENS, None)
    assert await desk.spent() == {(2_000_001, HELD_TOKENS)}
    assert await desk.found() == []


async def test_a_usage_is_priced_by_the_version_on_the_charge(desk: Desk) -> None:
    await desk.charge(1)
    await desk.reconcile(statement((job(1), 1, 1, 80, 20), header=TOKENS))
    used = Used(input_tokens=80, output_tokens=20)
    cost = cost_of(used, BOOK.price("gpt-4o"))
    (row,) = await desk.rows()
    assert (row["figure_nanodollars"], row["figure_tokens"], row["tokens"]) == (cost, 100, -50)
    assert Used.model_validate(row["usage"]) == used
    assert await desk.spent() == {(cost, 100)}
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
    before = await desk.rows(), await desk.spent()
    again = await desk.reconcile(content)
    assert (again.summary.known, again.summary.corrected) == (2, 0)
    assert (await desk.rows(), await desk.spent()) == before


async def test_a_file_that_says_the_same_in_other_words_changes_nothing(desk: Desk) -> None:
    await desk.charge(1)
    await desk.reconcile(statement((job(1), 1, 1, "0.001")))
    again = await desk.reconcile(
        b'{"job":"%s","run":1,"attempt":1,"dollars":0.0010}\n' % str(job(1)).encode()
    )
    assert (again.summary.known, again.summary.corrected) == (1, 0)


async def test_a_figure_that_confirms_the_charge_ends_its_waiting(desk: Desk) -> None:
    await desk.charge(1)
    assert len(await desk.waiting()) == 1
    await desk.reconcile(statement((job(1), 1, 1, "0.009")))
    assert await desk.waiting() == []
    assert [row["nanodollars"] for row in await desk.rows()] == [0]


async def test_another_figure_is_refused_and_taken_where_it_is_asked_for(desk: Desk) -> None:
    await desk.charge(1)
    first, second = statement((job(1), 1, 1, "0.001")), statement((job(1), 1, 1, "0.004"))
    await desk.reconcile(first, reference="INV-7")
    assert await _codes(desk, second) == [(2, "already_corrected")]
    await desk.reconcile(second, amends=True)
    assert [row["nanodollars"] for row in await desk.rows()] == [-8_000_000, 3_000_000]
    assert await desk.spent() == {(4_000_000, HELD_TOKENS)}
    again = await desk.reconcile(first, amends=True)
    assert (again.summary.known, again.summary.overtaken, len(await desk.rows())) == (1, 1, 2)
    again = await desk.reconcile(second, amends=True)
    assert (again.summary.known, again.summary.overtaken) == (1, 0)
    assert await desk.found() == []


async def test_tokens_then_dollars_then_tokens(desk: Desk) -> None:
    await desk.charge(1)
    await desk.reconcile(statement((job(1), 1, 1, 80, 20), header=TOKENS))
    await desk.reconcile(statement((job(1), 1, 1, "0.5")), amends=True)
    await desk.reconcile(statement((job(1), 1, 1, 70, 10), header=TOKENS), amends=True)
    (bill,) = await Usage(desk.database).bill(["organization"])
    assert (bill.input_tokens, bill.output_tokens) == (70, 10)
    assert {tokens for _, tokens in await desk.spent()} == {80}
    assert await desk.found() == []


async def test_more_than_was_held_is_counted_too(desk: Desk) -> None:
    await desk.charge(1)
    checked = await desk.reconcile(statement((job(1), 1, 1, "1.5")))
    assert checked.summary.above_hold == 1
    assert await desk.spent() == {(1_500_000_000, HELD_TOKENS)}
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


async def test_what_comes_to_more_than_can_be_counted_is_refused(desk: Desk) -> None:
    for number in (1, 2):
        await desk.charge(number)
    rows = [(job(number), 1, 1, "5000000") for number in (1, 2)]
    assert await _codes(desk, statement(*rows)) == [(3, "value_invalid")]
    await desk.reconcile(statement(rows[0]))
    assert await desk.found() == []


async def test_a_correction_that_went_away_hides_no_later_one(desk: Desk) -> None:
    await desk.charge(1)
    for amount in ("0.001", "0.002"):
        await desk.reconcile(statement((job(1), 1, 1, amount)), amends=True)
    async with desk.database.begin() as connection:
        await connection.execute(delete(corrections).where(corrections.c.number == 1))
    await desk.reconcile(statement((job(1), 1, 1, "0.003")), amends=True)
    assert [(row["number"], row["figure_nanodollars"]) for row in await desk.rows()] == [
        (2, 2_000_000),
        (3, 3_000_000),
    ]
    assert {each.check for each in await desk.found()} == {"correction_sum", "reconciliation", "gate"}


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


async def test_it_is_on_the_record_of_operations(desk: Desk) -> None:
    await desk.charge(1)
    await desk.reconcile(statement((job(1), 1, 1, "0.001")), reference="INV-7")
    (row,) = await latest(desk.database, 1, "ledger")
    assert (row.operation.action, row.operation.after["reference"]) == ("ledger.reconcile", "INV-7")
    assert (row.operation.after["rows"], row.operation.after["nanodollars"]) == (1, -8_000_000)
    assert await broken_chain(desk.database) is None


async def test_two_operators_at_once_with_the_same_file(desk: Desk) -> None:
    numbers = range(1, 8)
    for number in numbers:
        await desk.charge(number)
    content = statement(*((job(number), 1, 1, "0.001") for number in numbers))
    done = await asyncio.gather(*(desk.reconcile(content) for _ in range(3)))
    assert sum(each.summary.corrected for each in done) == len(numbers)
    assert len(await desk.rows()) == len(numbers)
    assert await desk.spent() == {(len(numbers) * 1_000_000, len(numbers) * HELD_TOKENS)}
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
    assert await desk.spent() == {(1_000_000, HELD_TOKENS)}


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
    assert await desk.waiting() == []


async def test_waiting_is_told_by_project_and_month_in_pages(desk: Desk) -> None:
    await desk.charge(1)
    (row,) = await desk.waiting()
    assert (row.project, row.application, row.job_id, row.nanodollars) == (
        "acme/web",
        "shop",
        job(1),
        9_000_000,
    )
    assert await desk.waiting(month=row.month - 1) == []
    assert await desk.waiting(project_id=99) == []
    assert len(await desk.waiting(month=row.month, project_id=PROJECT)) == 1
