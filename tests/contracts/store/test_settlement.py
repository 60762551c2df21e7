"""SETTLE's transaction: what is written once, and what the sender of a repeat is to be told."""

from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Table, func, select

from broker.audit.chain import GENESIS, Link, verify
from broker.errors import Fenced
from broker.store.attempts import Attempts
from broker.store.database import Database
from broker.store.dispositions import Disposition, Settled
from broker.store.keys import RunKey
from broker.store.positions import Position
from broker.store.settlement import Advance, Settlements
from broker.store.settlement_rows import Settlement, Terminal
from broker.store.tables import ledger, set_aside
from broker.store.tables.audit import audit
from broker.store.tables.base import metadata
from schemas.outcomes import Cancelled, Conflict, Dead, Expired, Outcome, Refused, Repeat, Unknown
from schemas.reasons import Failure, Refusal
from schemas.state import State
from tests.contracts.store.builders import HOLD, OUTCOMES, charge, intent, settle, settlement, state

NEW, KNOWN = Disposition.NEW, Disposition.KNOWN


async def _rows(database: Database, table: Table) -> list[dict[str, Any]]:
    async with database.connect() as connection:
        return [dict(row) for row in (await connection.execute(select(table))).mappings()]


async def _count(database: Database, table: Table) -> int:
    async with database.connect() as connection:
        return (await connection.execute(select(func.count()).select_from(table))).scalar_one()


async def _chain(database: Database, partition: int = 0) -> list[Link]:
    links = audit.c
    statement = (
        select(links.position, links.entry, links.hash)
        .where(links.topic == OUTCOMES, links.partition == partition)
        .order_by(links.position)
    )
    async with database.connect() as connection:
        return [Link(*row) for row in await connection.execute(statement)]


def _repeat(of: State, reply_to: str | None = "replies.shop/1/again") -> State:
    return state(Repeat(), job_id=of.job_id, reply_to=reply_to)


def _key(of: State) -> RunKey:
    return RunKey(of.application_id, of.job_id, of.run)


async def test_an_outcome_becomes_its_run_s_terminal(database: Database) -> None:
    settlements, ended = Settlements(database), state(charges=(charge(1), charge(2)))
    item = settlement(5, ended)
    (settled,) = await settle(settlements, item)
    terminal = Terminal(
        *_key(ended), "answered", None, f"{OUTCOMES}/0/5", item.value_sha256, 2, 8_400, item.at_ms
    )
    assert settled == Settled(NEW, terminal)
    assert await settlements.terminal(_key(ended)) == terminal
    assert terminal.coordinate == item.coordinate
    assert await settlements.terminal(RunKey(1, ended.job_id, 2)) is None


@pytest.mark.parametrize(
    ("outcome", "kind", "reason"),
    [
        (Refused(reason=Refusal.OVER_QUOTA, stage="reserve"), "refused", "over_quota"),
        (Expired(stage="retry"), "expired", None),
        (Dead(reason=Failure.TIMEOUT, dead_letter="dead/0/3"), "dead", "timeout"),
        (Unknown(reason=Failure.WORKER_LOST), "unknown", "worker_lost"),
    ],
)
async def test_every_end_is_on_record_with_its_reason(
    database: Database, outcome: Any, kind: str, reason: str | None
) -> None:
    (settled,) = await settle(Settlements(database), settlement(0, state(outcome)))
    assert settled.terminal is not None
    assert (settled.terminal.kind, settled.terminal.reason) == (kind, reason)
    (link,) = await _chain(database)
    assert (link.entry["kind"], link.entry["reason"]) == (kind, reason)


async def test_every_attempt_is_charged_once(database: Database) -> None:
    ended = state(charges=(charge(1, verdict="failed", usage=None, estimated=True), charge(2)))
    await settle(Settlements(database), settlement(0, ended))
    await settle(Settlements(database), settlement(1, ended))
    first, second = sorted(await _rows(database, ledger.charges), key=lambda row: row["attempt"])
    assert (first["verdict"], first["estimated"], first["input_tokens"]) == ("failed", True, None)
    assert second == {
        "application_id": 1,
        "job_id": ended.job_id,
        "run": 1,
        "attempt": 2,
        "organization_id": 2,
        "project_id": 3,
        "key_id": "key-1",
        "model": "gpt-4o",
        "target": "openai",
        "lane": "standard",
        "verdict": "answered",
        "reason": None,
        "hold_id": HOLD.id,
        "hold_nanodollars": HOLD.nanodollars,
        "nanodollars": 4_200,
        "estimated": False,
        "input_tokens": 80,
        "cached_input_tokens": 10,
        "cache_write_tokens": 0,
        "output_tokens": 20,
        "reasoning_tokens": 5,
        "service_tier": "flex",
        "tokens": 100,
        "price_version": "2026-01",
        "day": HOLD.day,
        "month": HOLD.month,
        "minute": HOLD.minute,
        "latency_ms": 321,
        "department": "research",
        "feature": "summaries",
        "user": "ann",
        "at_ms": 1_700_000_009_000,
    }


async def test_a_dead_letter_is_in_the_index(database: Database) -> None:
    dead = state(Dead(reason=Failure.TIMEOUT, dead_letter="dead/0/3"))
    await settle(Settlements(database), settlement(0, dead))
    (row,) = await _rows(database, set_aside.dead_letters)
    assert (row["job_id"], row["coordinate"], row["reason"]) == (dead.job_id, "dead/0/3", "timeout")


async def test_a_batch_again_writes_nothing_and_is_answered_as_before(database: Database) -> None:
    settlements, ended = Settlements(database), state()
    batch = [
        settlement(0, ended),
        settlement(1, state(Conflict(), job_id=ended.job_id)),
        settlement(2, _repeat(ended)),
        settlement(3, state(Repeat(), reply_to="replies.shop/1/x")),
    ]
    first = await settle(settlements, *batch)
    counts = [await _count(database, table) for table in metadata.sorted_tables]
    position = await settlements.position(OUTCOMES, 0)
    again = await settle(settlements, *batch)
    assert again == [first[0]._replace(disposition=KNOWN), *first[1:]]
    assert [await _count(database, table) for table in metadata.sorted_tables] == counts
    assert await settlements.position(OUTCOMES, 0) == position


async def test_the_first_outcome_of_a_run_stays(database: Database) -> None:
    settlements, job_id = Settlements(database), uuid4()
    first = settlement(0, state(job_id=job_id))
    other = settlement(1, state(Expired(stage="dispatch"), job_id=job_id))
    in_one, after = await settle(settlements, first, other)
    assert (in_one.disposition, after.disposition) == (NEW, KNOWN)
    assert after.terminal == in_one.terminal
    (late,) = await settle(settlements, settlement(2, state(Expired(stage="retry"), job_id=job_id)))
    assert late == Settled(KNOWN, in_one.terminal)


@pytest.mark.parametrize(
    "outcome",
    [
        Expired(stage="retry"),
        Refused(reason=Refusal.OVER_QUOTA, stage="reserve"),
        Cancelled(stage="admit"),
    ],
)
async def test_a_second_record_of_an_attempt_that_has_begun_ends_nothing(
    database: Database, outcome: Outcome
) -> None:
    settlements, job_id = Settlements(database), uuid4()
    await Attempts(database).begin([intent(job_id=job_id, attempt=2)])
    second = settlement(0, state(outcome, job_id=job_id, attempt=2, charges=(charge(1),)))
    assert await settle(settlements, second) == [Settled(Disposition.OVERTAKEN, None)]
    assert await _count(database, ledger.charges) == 0
    assert (await settlements.position(OUTCOMES, 0)).next_offset == 1
    end = state(job_id=job_id, attempt=2, charges=(charge(1), charge(2)))
    older = state(outcome, job_id=job_id, attempt=1)
    settled = await settle(settlements, settlement(1, end), settlement(2, older))
    assert [item.disposition for item in settled] == [NEW, Disposition.OVERTAKEN]


async def test_an_attempt_that_has_not_begun_may_end_before_dispatch(database: Database) -> None:
    settlements, job_id = Settlements(database), uuid4()
    await Attempts(database).begin(
        [intent(job_id=job_id, attempt=1), intent(job_id=job_id, run=2, attempt=2)]
    )
    next_one = state(Expired(stage="reserve"), job_id=job_id, attempt=2)
    assert (await settle(settlements, settlement(0, next_one)))[0].disposition is NEW


async def test_dispatch_ends_what_it_has_begun(database: Database) -> None:
    settlements, job_id = Settlements(database), uuid4()
    await Attempts(database).begin([intent(job_id=job_id)])
    expired = state(Expired(stage="dispatch"), job_id=job_id)
    assert (await settle(settlements, settlement(0, expired)))[0].disposition is NEW


async def test_a_replay_is_another_run_with_an_end_of_its_own(database: Database) -> None:
    settlements, job_id = Settlements(database), uuid4()
    dead = state(Dead(reason=Failure.TIMEOUT, dead_letter="dead/0/3"), job_id=job_id)
    replayed = state(job_id=job_id, run=2)
    settled = await settle(settlements, settlement(0, dead), settlement(1, replayed))
    assert [item.disposition for item in settled] == [NEW, NEW]
    (repeat,) = await settle(settlements, settlement(2, _repeat(dead)))
    assert repeat == Settled(KNOWN, settled[1].terminal)


async def test_charges_that_come_after_the_end_are_kept_and_audited(database: Database) -> None:
    settlements, job_id = Settlements(database), uuid4()
    ended = state(job_id=job_id, charges=(charge(1),))
    late = state(job_id=job_id, charges=(charge(1, verdict="unknown"), charge(2)))
    await settle(settlements, settlement(0, ended))
    (settled,) = await settle(settlements, settlement(1, late))
    assert settled.disposition is KNOWN
    charges = await _rows(database, ledger.charges)
    assert sorted((row["attempt"], row["verdict"]) for row in charges) == [(1, "answered"), (2, "answered")]
    await settle(settlements, settlement(2, late))
    assert [link.entry["terminal"] for link in await _chain(database)] == [True, False]


async def test_a_conflict_is_audited_and_never_an_end(database: Database) -> None:
    settlements, ended = Settlements(database), state()
    conflict = state(Conflict(), job_id=ended.job_id, value_sha256="22" * 32)
    batch = [settlement(0, conflict), settlement(1, ended)]
    assert [item.disposition for item in await settle(settlements, *batch)] == [Disposition.CONFLICT, NEW]
    entries = [link.entry for link in await _chain(database)]
    assert [(entry["kind"], entry["terminal"]) for entry in entries] == [
        ("conflict", False),
        ("answered", True),
    ]
    assert entries[0]["value_sha256"] == "22" * 32


async def test_a_repeat_of_a_job_that_has_ended_gets_its_terminal(database: Database) -> None:
    settlements, ended = Settlements(database), state()
    (first,) = await settle(settlements, settlement(0, ended))
    (repeat,) = await settle(settlements, settlement(1, _repeat(ended)))
    assert repeat == Settled(KNOWN, first.terminal)
    assert await _count(database, ledger.waiters) == 0


async def test_a_repeat_of_a_job_under_way_waits_for_its_end(database: Database) -> None:
    settlements, ended = Settlements(database), state()
    first = settlement(0, _repeat(ended, "replies.shop/1/a"))
    second = settlement(1, _repeat(ended, "replies.shop/2/b"))
    assert await settle(settlements, first, second) == [Settled(Disposition.WAITING, None)] * 2
    end = settlement(2, ended)
    (settled,) = await settle(settlements, end)
    assert settled.disposition is NEW
    assert sorted(settled.waiting) == ["replies.shop/1/a", "replies.shop/2/b"]
    (again,) = await settle(settlements, end)
    assert sorted(again.waiting) == sorted(settled.waiting)


async def test_a_repeat_and_the_end_in_one_batch_need_no_waiting(database: Database) -> None:
    ended = state()
    repeat, end = await settle(Settlements(database), settlement(0, _repeat(ended)), settlement(1, ended))
    assert (repeat.disposition, end.disposition) == (KNOWN, NEW)
    assert repeat.terminal == end.terminal
    assert end.waiting == ()


async def test_a_sender_who_repeats_to_the_same_place_is_answered_there_once(database: Database) -> None:
    settlements, ended = Settlements(database), state()
    await settle(settlements, settlement(0, _repeat(ended, ended.reply_to)))
    (settled,) = await settle(settlements, settlement(1, ended))
    assert settled.waiting == ()


async def test_a_repeat_without_a_place_for_replies_leaves_nothing(database: Database) -> None:
    settlements, ended = Settlements(database), state()
    (repeat,) = await settle(settlements, settlement(0, _repeat(ended, None)))
    assert repeat == Settled(Disposition.WAITING, None)
    assert await _count(database, ledger.waiters) == 0


async def test_the_chain_of_each_partition_holds_and_ends_at_its_position(database: Database) -> None:
    settlements = Settlements(database)
    for start in (0, 10, 20):
        batch = [settlement(start + n, partition=n % 2) for n in range(10)]
        await settle(settlements, *batch)
    for partition in (0, 1):
        links = await _chain(database, partition)
        position = await settlements.position(OUTCOMES, partition)
        assert verify(links) is None
        assert (len(links), links[-1].hash) == (position.chain_length, position.chain_head)
        assert position.chain_length == 15


async def test_positions_advance_past_records_that_are_no_outcomes(database: Database) -> None:
    settlements = Settlements(database)
    beginning = Position(OUTCOMES, 0)
    assert await settlements.position(OUTCOMES, 0) == beginning == (OUTCOMES, 0, 0, 0, GENESIS)
    done = await settlements.settle([], [Advance(beginning, 7)])
    assert done.settled == []
    assert done.positions == [beginning._replace(next_offset=7)]
    assert await settlements.position(OUTCOMES, 0) == done.positions[0]


async def test_a_position_never_goes_back(database: Database) -> None:
    settlements = Settlements(database)
    await settle(settlements, settlement(9))
    await settle(settlements, settlement(3))
    assert (await settlements.position(OUTCOMES, 0)).next_offset == 10


async def test_an_outcome_below_the_position_that_never_got_its_end_gets_it(database: Database) -> None:
    settlements = Settlements(database)
    await settle(settlements, settlement(9))
    (settled,) = await settle(settlements, settlement(3))
    assert settled.disposition is NEW
    assert verify(await _chain(database)) is None


async def test_who_saw_an_old_position_is_fenced_and_writes_nothing(
    database: Database, other: Database
) -> None:
    seen = await Settlements(other).position(OUTCOMES, 0)
    await settle(Settlements(database), settlement(0))
    late = settlement(1)
    with pytest.raises(Fenced):
        await Settlements(other).settle([late], [Advance(seen, 2)])
    assert await Settlements(other).terminal(late.key) is None
    assert await _count(database, ledger.charges) == 1
    assert await _count(database, audit) == 1


async def test_one_moved_position_of_several_fences_the_whole_batch(database: Database) -> None:
    settlements = Settlements(database)
    seen = [await settlements.position(OUTCOMES, partition) for partition in (0, 1)]
    await settle(settlements, settlement(0, partition=1))
    batch = [settlement(0), settlement(1, partition=1)]
    with pytest.raises(Fenced):
        await settlements.settle(batch, [Advance(position, 2) for position in seen])
    assert await settlements.terminal(batch[0].key) is None


async def test_a_batch_of_many_partitions_is_one(database: Database) -> None:
    settlements = Settlements(database)
    batch: list[Settlement] = [settlement(n, partition=n % 6) for n in range(60)]
    assert {item.disposition for item in await settle(settlements, *batch)} == {NEW}
    assert {(await settlements.position(OUTCOMES, partition)).chain_length for partition in range(6)} == {10}


async def test_names_of_models_with_a_nul_in_them_stop_nothing(database: Database) -> None:
    refused = state(Refused(reason=Refusal.UNKNOWN_MODEL, stage="admit"), model="gpt\0four")
    (settled,) = await settle(Settlements(database), settlement(0, refused))
    assert settled.disposition is NEW
    (link,) = await _chain(database)
    assert link.entry["model"] is None
