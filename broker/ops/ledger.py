"""Do Redis, the ledger and the audit say the same? Read for auditors; nothing is changed.

The ledger and the audit are compared as of one moment. The gate moves on meanwhile, so it is read before and
after the ledger: what it counts as spent may lie between what was charged when the ledger was read and what
is charged now. What does not agree is looked at again, and told if it stays.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final, NamedTuple

from broker.errors import GateClosed
from broker.quota.calendar import Calendar
from broker.quota.counters import Counters, NodeOf
from broker.quota.ledger_source import LedgerSource
from broker.quota.rebuild import OnRecord, on_record
from broker.quota.redis_gate import RedisGate
from broker.store.database import Database
from broker.store.ledger_check import Difference, Progress, differences

PATIENCE_S: Final = 10.0
"""How long a difference of gate and ledger may take to go away: SETTLE writes the one, then the other."""
_AGAIN_AFTER_S: Final = 0.5
_AMOUNTS: Final = (("nanodollars", 0), ("tokens", 2))


class _Seen(NamedTuple):
    """One look. The gate's figures by node."""

    before: Sequence[Counters]
    record: OnRecord
    after: Sequence[Counters]
    started: frozenset[str]


async def verify(
    database: Database,
    gate: RedisGate,
    time_zones: dict[int, str],
    on_progress: Callable[[Progress], None] = lambda _: None,
    patience_s: float = PATIENCE_S,
) -> AsyncIterator[Difference]:
    """Every difference; none where all is well. `time_zones`: of each organization, by its id.

    Raises Unavailable.
    """
    async for found in differences(database, on_progress):
        yield found
    source = LedgerSource(database)
    for organization_id, time_zone in time_zones.items():
        for found in await _lasting(gate, source, organization_id, Calendar(time_zone), patience_s):
            yield found


async def _lasting(
    gate: RedisGate, source: LedgerSource, organization_id: int, calendar: Calendar, patience_s: float
) -> list[Difference]:
    deadline = time.monotonic() + patience_s
    lasting: set[str] | None = None
    while True:
        nodes, seen = await _look(gate, source, organization_id, calendar)
        if seen.before[0].windows[:4] != seen.after[0].windows[:4]:
            continue  # a day or a month has ended in between
        found = _compared(organization_id, nodes, seen)
        ids = {each.where for each in found}
        lasting = ids if lasting is None else lasting & ids
        if not lasting or time.monotonic() >= deadline:
            return [each for each in found if each.where in lasting]
        await asyncio.sleep(_AGAIN_AFTER_S)


async def _look(
    gate: RedisGate, source: LedgerSource, organization_id: int, calendar: Calendar
) -> tuple[Sequence[str], _Seen]:
    async with source.exclusive() as ledger:
        nodes = await ledger.nodes(organization_id)
    asked = [NodeOf(organization_id, node) for node in nodes]
    before = await _counters(gate, source, asked)
    started = await gate.started(organization_id)
    async with source.exclusive() as ledger:
        windows = calendar.open_at(before[0].windows.minute * 60_000)
        record = await on_record(organization_id, windows, ledger)
    return nodes, _Seen(before, record, await _counters(gate, source, asked), started)


async def _counters(gate: RedisGate, source: LedgerSource, nodes: Sequence[NodeOf]) -> list[Counters]:
    """Of a gate that has lost its counters nothing passes; they are brought back as any worker would."""
    try:
        return await gate.counters(nodes)
    except GateClosed:
        await gate.rebuild(source)
        return await gate.counters(nodes)


def _compared(organization_id: int, nodes: Sequence[str], seen: _Seen) -> list[Difference]:
    """Pure."""
    found = [
        Difference(
            "hold", f"organization {organization_id}, hold {hold_id}", "started, and no attempt has it"
        )
        for hold_id in sorted(seen.started - seen.record.open_holds)
    ]
    for node, before, after in zip(nodes, seen.before, seen.after, strict=True):
        found += _of_node(organization_id, node, before, after, seen.record)
    return found


def _of_node(
    organization_id: int, node: str, before: Counters, after: Counters, record: OnRecord
) -> list[Difference]:
    found = []
    for window, field, first, last in (
        ("day", f"d:{before.windows.day}", before.of_day, after.of_day),
        ("month", f"m:{before.windows.month}", before.of_month, after.of_month),
    ):
        charged = record.charged.get((node, field), (0, 0, 0, 0))
        decided = record.decided.get((node, field), (0, 0, 0, 0))
        for unit, place in _AMOUNTS:
            most = charged[place] + decided[place]
            if first[place] > most or last[place] < charged[place]:
                where = f"organization {organization_id}, node {node}, {window}, {unit}"
                told = f"the gate has {last[place]} spent, the ledger {charged[place]}"
                found.append(Difference("gate", where, told))
    return found
