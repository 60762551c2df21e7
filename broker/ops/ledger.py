"""Do Redis, the ledger and the audit say the same? Read for auditors; nothing is changed.

The ledger and the audit are compared as of one moment. The gate moves on meanwhile, so it is read before and
after the ledger: what it counts as spent may lie between what was charged when the ledger was read and what
is charged now. Its holds come and go, and are held one by one against the attempts that they are for. What
does not agree is looked at again, and told if it stays.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Final, NamedTuple, TypeVar

from broker.errors import GateClosed
from broker.quota.calendar import Calendar, OpenWindows
from broker.quota.corrected import Corrected, CorrectedAmounts, corrected
from broker.quota.counters import Counters, NodeOf
from broker.quota.inspection import HoldRecord, Inspection
from broker.quota.ledger_source import LedgerSource
from broker.quota.rebuild import OnRecord, on_record
from broker.quota.redis_gate import RedisGate
from broker.store.database import Database
from broker.store.ledger_check import Difference, Progress, differences

T = TypeVar("T")

PATIENCE_S: Final = 10.0
"""How long a difference of gate and ledger may take to go away: SETTLE writes the one, then the other."""
_AGAIN_AFTER_S: Final = 0.5
_AMOUNTS: Final = (("nanodollars", 0), ("tokens", 2))
_NONE: Final = (0, 0, 0, 0)
_HELD: Final = ("nanodollars", "input_tokens", "output_tokens", "day", "month", "minute")


class _Seen(NamedTuple):
    """One look. The gate's figures by node."""

    corrected_before: CorrectedAmounts
    before: Sequence[Counters]
    gate: Inspection
    record: OnRecord
    corrected: CorrectedAmounts
    after: Sequence[Counters]
    corrected_after: CorrectedAmounts

    def bounds(self, node: str, field: str, place: int) -> tuple[int, int]:
        """The least that the gate may have spent in the end, and the most that it may have had at first.

        Charges only become more. Corrections go both ways, and the gate is told after the ledger: it has
        those that the ledger says it was told of, and none that the ledger has not.
        """
        charged = self.record.charged.get((node, field), _NONE)[place]
        decided = self.record.decided.get((node, field), _NONE)[place]
        at = (node, field, place)
        now = self.corrected.get(at, Corrected())
        least = charged + now.more_told - self.corrected_after.get(at, Corrected()).less
        most = charged + decided + now.more - self.corrected_before.get(at, Corrected()).less_told
        return least, most

    def known(self, node: str, field: str, place: int) -> int:
        """What the ledger says was spent."""
        now = self.corrected.get((node, field, place), Corrected())
        return self.record.charged.get((node, field), _NONE)[place] + now.more - now.less


async def verify(
    database: Database,
    gate: RedisGate | None,
    time_zones: dict[int, str],
    on_progress: Callable[[Progress], None] = lambda _: None,
    patience_s: float = PATIENCE_S,
) -> AsyncIterator[Difference]:
    """Every difference; none where all is well. `time_zones`: of each organization, by its id. Without a gate
    the ledger and the audit alone are compared.

    Raises Unavailable.
    """
    async for found in differences(database, on_progress):
        yield found
    if gate is None:
        return
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
    async with source.reading() as ledger:
        nodes = await ledger.nodes(organization_id)
    asked = [NodeOf(organization_id, node) for node in nodes]
    windows = calendar.open_at((await _counters(gate, source, asked))[0].windows.minute * 60_000)
    corrected_before = await _corrected(source, organization_id, windows)
    before = await _counters(gate, source, asked)
    inspected = await _told(gate, source, lambda: gate.inspect(organization_id, nodes))
    async with source.reading() as ledger:
        record = await on_record(organization_id, windows, ledger)
        corrected_then = await corrected(organization_id, windows, ledger)
    after = await _counters(gate, source, asked)
    corrected_after = await _corrected(source, organization_id, windows)
    return nodes, _Seen(corrected_before, before, inspected, record, corrected_then, after, corrected_after)


async def _corrected(source: LedgerSource, organization_id: int, windows: OpenWindows) -> CorrectedAmounts:
    async with source.reading() as ledger:
        return await corrected(organization_id, windows, ledger)


async def _counters(gate: RedisGate, source: LedgerSource, asked: Sequence[NodeOf]) -> list[Counters]:
    return await _told(gate, source, lambda: gate.counters(asked))


async def _told(gate: RedisGate, source: LedgerSource, ask: Callable[[], Awaitable[T]]) -> T:
    """Of a gate that has lost its counters nothing passes; they are brought back as any worker would."""
    try:
        return await ask()
    except GateClosed:
        await gate.rebuild(source)
        return await ask()


def _compared(organization_id: int, nodes: Sequence[str], seen: _Seen) -> list[Difference]:
    """Pure."""
    found = [*_of_holds(organization_id, seen.gate, seen.record), *_of_sums(organization_id, seen.gate)]
    for node, before, after in zip(nodes, seen.before, seen.after, strict=True):
        found += _of_node(organization_id, node, before, after, seen)
    return found


def _of_holds(organization_id: int, gate: Inspection, record: OnRecord) -> Iterator[Difference]:
    """Each started hold is that of an attempt, as it was when it was put on record; and the other way round.

    One that is not started may be that of an attempt that is just being begun.
    """
    known = {**record.settling, **record.unsettled}
    for hold_id in sorted(gate.holds.keys() | record.unsettled.keys()):
        held, attempt = gate.holds.get(hold_id), known.get(hold_id)
        if held is None:
            told = "an attempt is under way with it, and the gate has it not"
        elif attempt is not None:
            told = _apart(held, attempt)
        else:
            told = "started, and no attempt has it" if held.is_started else ""
        if told:
            yield Difference("hold", f"organization {organization_id}, hold {hold_id}", told)


def _apart(held: HoldRecord, attempt: HoldRecord) -> str:
    pairs = {"nodes": (held.nodes, attempt.nodes)}
    pairs |= {name: (getattr(held.hold, name), getattr(attempt.hold, name)) for name in _HELD}
    return "; ".join(
        f"{name}: the gate {gated}, the attempt {begun}"
        for name, (gated, begun) in pairs.items()
        if gated != begun
    )


def _of_sums(organization_id: int, gate: Inspection) -> Iterator[Difference]:
    """What each node counts of holds is what they come to."""
    for node, sums in gate.sums().items():
        for name, counted, summed in zip(sums._fields, gate.nodes[node], sums, strict=True):
            if counted != summed:
                check = "in_flight" if name == "jobs" else "held"
                where = f"organization {organization_id}, node {node}, {name.replace('_', ' ')}"
                yield Difference(check, where, f"the gate counts {counted}, and its holds come to {summed}")


def _of_node(
    organization_id: int, node: str, before: Counters, after: Counters, seen: _Seen
) -> list[Difference]:
    found = []
    for window, field, first, last in (
        ("day", f"d:{before.windows.day}", before.of_day, after.of_day),
        ("month", f"m:{before.windows.month}", before.of_month, after.of_month),
    ):
        for unit, place in _AMOUNTS:
            least, most = seen.bounds(node, field, place)
            if first[place] > most or last[place] < least:
                where = f"organization {organization_id}, node {node}, {window}, {unit}"
                told = f"the gate has {last[place]} spent, the ledger {seen.known(node, field, place)}"
                found.append(Difference("gate", where, told))
    return found
