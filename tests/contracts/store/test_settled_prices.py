"""A new price book changes no charge that was made, and a job that runs is charged as it was held."""

from typing import Any

from sqlalchemy import select

from broker.pricing.book import PriceBook
from broker.pricing.cost import settled
from broker.store.database import Database
from broker.store.settlement import Settlements
from broker.store.tables.ledger import charges
from broker.store.usage import Usage as Bills
from schemas.state import Charge, Estimate, State, Usage
from schemas.terms import Terms
from tests.contracts.store.builders import HOLD, charge, settle, settlement, state

BEFORE = PriceBook.load()
_PRICE = BEFORE.price("gpt-4o")
_DEAR = _PRICE.rates.model_copy(update={"input": 9_000_000_000, "output": 99_000_000_000})
AFTER = BEFORE.with_overrides([_PRICE.model_copy(update={"rates": _DEAR})])
USED = Usage(input_tokens=80, cached_input_tokens=10, output_tokens=20)
COST = 70 * 2_500 + 10 * 1_250 + 20 * 10_000


def admitted(book: PriceBook) -> State:
    """As ADMIT leaves it, with what it takes along of the book of that moment."""
    estimate = Estimate(
        nanodollars=10**9,
        input_tokens=1_000,
        output_tokens=1_000,
        price_version=book.version,
        terms=book.price("gpt-4o").packed_terms,
    )
    return state(model="gpt-4o", estimate=estimate)


def answered(job: State) -> State:
    """As DISPATCH leaves it, whatever book its process was started with."""
    estimate = job.estimate
    assert estimate is not None
    hold = HOLD.model_copy(update={"nanodollars": 10**9, "input_tokens": 1_000, "output_tokens": 1_000})
    cost = settled(USED, hold, Terms.unpacked(estimate.terms))
    made: Charge = charge(
        hold=hold, nanodollars=cost.nanodollars, usage=cost.usage, price_version=estimate.price_version
    )
    return job.model_copy(update={"charges": (made,)})


async def _charged(database: Database) -> list[tuple[Any, ...]]:
    columns = charges.c.nanodollars, charges.c.price_version, charges.c.input_tokens, charges.c.output_tokens
    async with database.connect() as connection:
        return sorted(tuple(row) for row in await connection.execute(select(*columns)))


async def test_charges_and_bills_of_before_stay_and_those_of_after_name_the_new_version(
    database: Database,
) -> None:
    settlements, ended = Settlements(database), answered(admitted(BEFORE))
    await settle(settlements, settlement(0, ended))
    old, bill = await _charged(database), await Bills(database).bill(["model"])
    assert old == [(COST, BEFORE.version, 80, 20)]

    await settle(settlements, settlement(1, answered(admitted(AFTER))))
    await settle(settlements, settlement(2, ended))

    assert await _charged(database) == [*old, (80 * 9_000 - 10 * 7_750 + 20 * 99_000, AFTER.version, 80, 20)]
    [row] = await Bills(database).bill(["model"])
    assert row.nanodollars == bill[0].nanodollars + (await _charged(database))[1][0]


async def test_a_job_that_was_admitted_before_an_update_is_charged_by_what_it_was_admitted_under(
    database: Database,
) -> None:
    job = State.model_validate_json(admitted(BEFORE).model_dump_json(exclude_none=True))
    await settle(Settlements(database), settlement(0, answered(job)))

    assert await _charged(database) == [(COST, BEFORE.version, 80, 20)]


async def test_who_settles_an_attempt_again_at_another_price_changes_nothing(database: Database) -> None:
    settlements, job = Settlements(database), admitted(BEFORE)
    await settle(settlements, settlement(0, answered(job)))
    again = job.model_copy(update={"estimate": admitted(AFTER).estimate})
    await settle(settlements, settlement(1, answered(again)))

    assert await _charged(database) == [(COST, BEFORE.version, 80, 20)]
