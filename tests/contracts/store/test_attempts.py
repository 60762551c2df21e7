"""Attempts: intents, verdicts, and what is known of them."""

import asyncio
from uuid import uuid4

from broker.store.attempts import AttemptFacts, Attempts
from broker.store.database import Database
from broker.store.keys import AttemptKey
from broker.store.leases import Leases
from broker.store.settlement import Settlements
from tests.contracts.store.builders import charge, intent, settle, settlement, state, verdict

NOTHING = AttemptFacts(None, None, charged=False, terminal=None, owner_alive=False)


async def test_an_intent_is_put_on_record_once(database: Database) -> None:
    row = intent()
    assert await Attempts(database).begin([row]) == [True]
    assert await Attempts(database).begin([row, intent()]) == [False, True]


async def test_of_two_alike_in_one_batch_one_may_call(database: Database) -> None:
    row = intent()
    assert await Attempts(database).begin([row, row]) == [True, False]


async def test_the_next_attempt_and_the_next_run_are_others(database: Database) -> None:
    row = intent()
    rows = [row, intent(job_id=row.job_id, attempt=2), intent(job_id=row.job_id, run=2)]
    assert await Attempts(database).begin(rows) == [True, True, True]


async def test_a_run_that_has_ended_is_not_begun(database: Database) -> None:
    ended = state()
    await settle(Settlements(database), settlement(0, ended))
    rows = [
        intent(job_id=ended.job_id),
        intent(job_id=ended.job_id, attempt=2),
        intent(job_id=ended.job_id, run=2),
        intent(job_id=ended.job_id, application_id=2),
    ]
    assert await Attempts(database).begin(rows) == [False, False, True, True]


async def test_nothing_is_known_of_an_attempt_that_never_was(database: Database) -> None:
    assert await Attempts(database).facts([AttemptKey(1, uuid4(), 1, 1)]) == [NOTHING]


async def test_all_that_is_on_record_is_known(database: Database) -> None:
    owner = await Leases(database).join("host", 1, 60_000)
    row = intent(owner=owner)
    lost = verdict(row, "unknown", due_ms=None)
    await Attempts(database).begin([row])
    assert await Attempts(database).facts([row.key]) == [NOTHING._replace(intent=row, owner_alive=True)]
    await Attempts(database).record_verdicts([lost])
    ended = state(job_id=row.job_id, charges=(charge(1), charge(2)))
    await settle(Settlements(database), settlement(0, ended))
    assert await Attempts(database).facts([row.key]) == [AttemptFacts(row, lost, True, "answered", True)]


async def test_facts_come_in_the_order_of_the_keys(database: Database) -> None:
    rows = [intent() for _ in range(5)]
    await Attempts(database).begin(rows)
    keys = [row.key for row in reversed(rows)] + [rows[2].key]
    facts = await Attempts(database).facts(keys)
    assert [fact.intent and fact.intent.key for fact in facts] == keys


async def test_an_owner_that_left_or_never_was_is_dead(database: Database) -> None:
    leases = Leases(database)
    left = await leases.join("host", 1, 60_000)
    rows = [intent(owner=left), intent(owner="f" * 32)]
    await Attempts(database).begin(rows)
    await leases.leave(left)
    facts = await Attempts(database).facts([row.key for row in rows])
    assert [fact.owner_alive for fact in facts] == [False, False]


async def test_whoever_says_first_how_it_ended_decides(database: Database) -> None:
    row = intent()
    failed, unknown = verdict(row), verdict(row, "unknown", reason="worker_lost")
    assert await Attempts(database).record_verdicts([failed]) == [True]
    assert await Attempts(database).record_verdicts([unknown]) == [False]
    assert (await Attempts(database).facts([row.key]))[0].verdict == failed


async def test_of_two_takeovers_at_once_one_wins(database: Database, other: Database) -> None:
    for _ in range(20):
        row = intent()
        decided = await asyncio.gather(
            Attempts(database).record_verdicts([verdict(row, "unknown")]),
            Attempts(other).record_verdicts([verdict(row)]),
        )
        assert sorted(decided) == [[False], [True]]


async def test_of_two_intents_at_once_one_wins(database: Database, other: Database) -> None:
    for _ in range(20):
        row = intent()
        begun = await asyncio.gather(Attempts(database).begin([row]), Attempts(other).begin([row]))
        assert sorted(begun) == [[False], [True]]
