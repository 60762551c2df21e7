"""The check of the ledger: silent where all is well, and blind to nothing that was planted."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete, insert, update

from broker.store.attempts import Attempts
from broker.store.database import Database
from broker.store.jobs import Jobs
from broker.store.ledger_check import Difference, Progress, differences
from broker.store.settlement import Settlements
from broker.store.tables.audit import audit, positions
from broker.store.tables.ledger import attempts, charges, terminals, verdicts
from broker.store.tables.set_aside import dead_letters
from schemas.outcomes import Conflict, Dead, Expired
from schemas.reasons import Failure
from tests.contracts.store.builders import HOLD, charge, intent, job, settle, settlement, state, verdict

FIRST, SECOND, THIRD, FOURTH = (UUID(int=number) for number in range(1, 5))


async def _fill(database: Database) -> None:
    """Four jobs: two attempts of which one was lost, two, none, dead; and a conflict, which ends nothing."""
    numbers = ((FIRST, 1), (FIRST, 2), (SECOND, 1), (SECOND, 2))
    await Attempts(database).begin([intent(job_id=job_id, attempt=number) for job_id, number in numbers])
    await Attempts(database).record_verdicts([verdict(intent(job_id=SECOND))])
    await settle(
        Settlements(database),
        settlement(0, state(job_id=FIRST, charges=(charge(),))),
        settlement(1, state(job_id=SECOND, charges=(charge(1, verdict="failed", usage=None), charge(2)))),
        settlement(2, state(Expired(stage="retry"), job_id=THIRD)),
        settlement(3, state(Conflict(), job_id=FIRST)),
        settlement(4, state(Dead(reason=Failure.TIMEOUT, dead_letter="dead/0/3"), job_id=FOURTH)),
    )


async def _found(database: Database) -> list[Difference]:
    return [found async for found in differences(database)]


async def test_a_whole_ledger_has_no_difference(database: Database) -> None:
    assert await _found(database) == []
    await _fill(database)
    assert await _found(database) == []


async def test_progress_comes_to_its_end(database: Database) -> None:
    await _fill(database)
    seen: list[Progress] = []
    assert [found async for found in differences(database, seen.append)] == []
    assert seen[-1] == Progress(5, 5)


async def test_a_charge_that_came_late_is_no_difference(database: Database) -> None:
    await _fill(database)
    late = settlement(5, state(job_id=FIRST, attempt=2, charges=(charge(), charge(2, nanodollars=7))))
    await settle(Settlements(database), late)
    assert await _found(database) == []


@pytest.mark.parametrize(
    ("fault", "checks"),
    [
        (delete(charges).where(charges.c.job_id == FIRST), {"charges_less"}),
        (
            update(charges).where(charges.c.job_id == FIRST).values(nanodollars=4_199),
            {"charges_less"},
        ),
        (
            update(charges).where(charges.c.job_id == FIRST).values(nanodollars=4_201),
            {"charges_more"},
        ),
        (
            update(charges).where(charges.c.job_id == FIRST).values(nanodollars=9_001),
            {"charges_more", "charge_over_hold"},
        ),
        (
            update(charges).where(charges.c.job_id == FIRST).values(job_id=uuid4()),
            {"charges_less", "charge_without_terminal", "charge_without_intent"},
        ),
        (
            delete(charges).where(charges.c.job_id == SECOND, charges.c.attempt == 1),
            {"charges_less", "verdict_without_charge"},
        ),
        (
            update(verdicts).values(
                charge=charge(verdict="failed", nanodollars=4_199).model_dump(mode="json")
            ),
            {"verdict_apart"},
        ),
        (
            update(attempts)
            .where(attempts.c.job_id == FIRST)
            .values(hold=HOLD.model_copy(update={"nanodollars": 8_999}).model_dump(mode="json")),
            {"charge_hold"},
        ),
        (update(charges).where(charges.c.job_id == FIRST).values(hold_id="d0" * 16), {"charge_hold"}),
        (
            update(charges).where(charges.c.job_id == FIRST).values(hold_nanodollars=9_001),
            {"charge_hold"},
        ),
        *(
            (update(charges).where(charges.c.job_id == FIRST).values(**moved), {"charge_place"})
            for moved in ({"project_id": 4}, {"key_id": "key-2"}, {"day": 20_001}, {"minute": 1})
        ),
        (update(charges).where(charges.c.job_id == FIRST).values(tokens=101), {"charge_tokens"}),
        (update(charges).where(charges.c.job_id == FIRST).values(input_tokens=81), {"charge_tokens"}),
        (update(charges).where(charges.c.job_id == FIRST).values(estimated=True), {"charge_tokens"}),
        (delete(dead_letters), {"dead_letter"}),
        (update(dead_letters).values(reason="rate_limited"), {"dead_letter"}),
        (update(dead_letters).values(job_id=THIRD), {"dead_letter"}),
        (delete(attempts).where(attempts.c.job_id == FIRST), {"charge_without_intent"}),
        (
            delete(terminals).where(terminals.c.job_id == FIRST),
            {"audit_terminal", "charge_without_terminal"},
        ),
        (update(terminals).where(terminals.c.job_id == THIRD).values(kind="answered"), {"audit_terminal"}),
        (
            update(terminals).where(terminals.c.job_id == SECOND).values(outcome="outcomes.standard/0/9"),
            {"audit_terminal"},
        ),
        (delete(audit).where(audit.c.position == 3), {"audit_chain", "audit_terminal"}),
        (update(positions).values(chain_head="f" * 64), {"audit_chain"}),
        (
            insert(terminals).values(
                application_id=1,
                job_id=uuid4(),
                run=1,
                kind="expired",
                outcome="outcomes.standard/0/8",
                value_sha256="00" * 32,
                attempts=0,
                nanodollars=0,
                at_ms=0,
            ),
            {"audit_terminal"},
        ),
    ],
)
async def test_what_was_planted_is_found(database: Database, fault: Any, checks: set[str]) -> None:
    await _fill(database)
    async with database.begin() as connection:
        done = await connection.execute(fault)
    assert done.rowcount
    found = await _found(database)
    assert {each.check for each in found} == checks, found


@pytest.mark.parametrize(("deadline_ms", "checks"), [(0, {"verdict_without_charge"}), (2**50, set())])
async def test_the_cost_of_an_attempt_after_the_end_is_waited_for_until_the_deadline(
    database: Database, deadline_ms: int, checks: set[str]
) -> None:
    """As when a worker that was taken for dead ends the job, while another makes the next attempt."""
    await Jobs(database).register([job(job_id=FIRST, deadline_ms=deadline_ms)])
    await _fill(database)
    late = verdict(intent(job_id=FIRST, attempt=2), "unknown")
    await Attempts(database).record_verdicts([late])
    assert {each.check for each in await _found(database)} == checks
