"""Tells the gate what charges were found to be.

As SETTLE does: what the ledger says is committed first, then the gate is told, and may be told again. Who
dies between the two leaves the reconciliation in the table `uncounted`, where each process with SETTLE looks.
A gate that is being made anew lets nothing pass until it is, and has read all that was committed before.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

from sqlalchemy import select

from broker.errors import RedisDamaged
from broker.quota.gate import Change, Corrections
from broker.store import corrections
from broker.store.corrections import Share
from broker.store.database import Database
from broker.store.parking import Parking
from broker.store.tables.identity import projects


class CorrectedGate(Protocol):
    async def correct(self, batches: Sequence[Corrections]) -> list[bool]:
        """As `broker.quota.redis_gate.RedisGate`."""
        ...


async def count_in(database: Database, gate: CorrectedGate) -> int:
    """Tell of every reconciliation that the gate may not know, and let jobs be tried that waited for what it
    frees. Says of how many.

    Raises Unavailable, after which it may be called again, by anybody: RedisDamaged when all others are told,
    since it may be the counters of one organization alone.
    """
    async with database.connect() as connection:
        ids = await corrections.waiting_to_be_counted(connection)
    damaged = None
    for number in ids:
        try:
            await _count(database, gate, number)
        except RedisDamaged as error:
            damaged = error
    if damaged is not None:
        raise damaged
    return len(ids)


async def _count(database: Database, gate: CorrectedGate, number: int) -> None:
    async with database.connect() as connection:
        found = await corrections.shares(connection, number)
    batches = _batches(number, found)
    is_open = await gate.correct(batches)
    counted = [batch for batch, each in zip(batches, is_open, strict=True) if each]
    await _let_go_on(database, {each.organization_id for each in counted if _frees(each)})
    async with database.connect() as connection:
        await corrections.counted(connection, number)


def _batches(number: int, shares: Iterable[Share]) -> list[Corrections]:
    changes: dict[tuple[int, int], list[Change]] = {}
    for each in shares:
        change = Change(each.project_id, each.key_id, each.day, each.nanodollars, each.tokens)
        changes.setdefault((each.organization_id, each.month), []).append(change)
    return [Corrections(number, *at, some) for at, some in sorted(changes.items())]


def _frees(batch: Corrections) -> bool:
    return any(change.nanodollars < 0 or change.tokens < 0 for change in batch.changes)


async def _let_go_on(database: Database, organization_ids: Iterable[int]) -> None:
    for organization_id in organization_ids:
        of = select(projects.c.id).where(projects.c.organization_id == organization_id)
        async with database.connect() as connection:
            project_ids = list(await connection.scalars(of))
        for project_id in project_ids:
            await Parking(database).wake(project_id)
