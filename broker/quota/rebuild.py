"""How the counters of an organization are made anew from the ledger, which is the truth."""

from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol
from uuid import uuid4

from broker.quota.calendar import Calendar, OpenWindows
from broker.quota.inspection import HoldRecord
from broker.quota.packing import branch
from schemas.state import Charge, Hold

CHUNK_ROWS: Final = 1_000
_PARTS: Final = ("nodes", "holds", "settled", "corrected", "counters")
"""Of a call of `rebuild.lua`, in this order."""


class Total(NamedTuple):
    """What the charges of a key on one day come to."""

    project_id: int
    key_id: str
    day: int
    month: int
    nanodollars: int
    tokens: int


class MinuteTotal(NamedTuple):
    """What the charges of a key whose holds were taken in one minute come to."""

    project_id: int
    key_id: str
    minute: int
    requests: int
    tokens: int


class SettledHold(NamedTuple):
    """The id of a hold that was settled, and its windows."""

    hold_id: str
    day: int
    month: int
    minute: int


class CorrectedTotal(NamedTuple):
    """What the corrections of a key's charges of one day come to, those that made them more and those that
    made them less.
    """

    project_id: int
    key_id: str
    day: int
    month: int
    nanodollars_more: int
    nanodollars_less: int
    """Positive, as `tokens_less`."""
    tokens_more: int
    tokens_less: int
    is_told: bool
    """The gate was told of them; of others it may or may not have been."""


class CorrectedBatch(NamedTuple):
    """The id of a batch of corrections, and a month whose charges it corrects."""

    id: str
    month: int


class Decided(NamedTuple):
    """An attempt whose verdict is on record; its charge comes with the job's terminal."""

    project_id: int
    key_id: str | None
    charge: Charge


class Overruled(NamedTuple):
    """An attempt whose charge is not that of its verdict: its worker was given up for lost, and came back."""

    decided: Decided
    nanodollars: int
    """Of the charge, as `tokens`."""
    tokens: int


class Unsettled(NamedTuple):
    """An attempt on record before its call, whose cost is not known yet."""

    project_id: int
    key_id: str | None
    hold: Hold


class Ledger(Protocol):
    """What the ledger says of one organization. What belongs to closed windows alone is left out."""

    async def nodes(self, organization_id: int) -> Sequence[str]:
        """All of its budget tree."""
        ...

    def settled(self, organization_id: int, windows: OpenWindows) -> AsyncIterator[Sequence[SettledHold]]:
        """Of charges of the open days."""
        ...

    def totals(self, organization_id: int, windows: OpenWindows) -> AsyncIterator[Sequence[Total]]:
        """Of charges of the open months and days."""
        ...

    async def latest(self, organization_id: int, windows: OpenWindows) -> Sequence[MinuteTotal]:
        """Of charges of the present minute, and of later ones where the clock was set back."""
        ...

    def corrected(
        self, organization_id: int, windows: OpenWindows
    ) -> AsyncIterator[Sequence[CorrectedTotal]]:
        """Of charges of the open months and days."""
        ...

    async def reconciled(self, organization_id: int, windows: OpenWindows) -> Sequence[CorrectedBatch]:
        """The batches that these come from."""
        ...

    def decided(self, organization_id: int, windows: OpenWindows) -> AsyncIterator[Sequence[Decided]]: ...

    async def unsettled(self, organization_id: int, windows: OpenWindows) -> Sequence[Unsettled]: ...

    def overruled(self, organization_id: int, windows: OpenWindows) -> AsyncIterator[Sequence[Overruled]]: ...

    async def overtaken(self, organization_id: int, windows: OpenWindows) -> Sequence[Unsettled]:
        """Attempts whose run another has ended, while their own worker lives and may still be calling."""
        ...


class RebuildSource(Protocol):
    def exclusive(self, organization_id: int) -> AbstractAsyncContextManager[Ledger]:
        """The ledger as it stands, while nobody else rebuilds that organization's counters from it. Raises
        DatabaseUnavailable.
        """
        ...


@dataclass(slots=True)
class _Tally:
    """The counters, by node and field, as `prelude.lua` describes them."""

    windows: OpenWindows
    spans: defaultdict[tuple[str, str], list[int]] = field(
        default_factory=lambda: defaultdict(lambda: [0, 0, 0, 0])
    )
    minutes: defaultdict[tuple[str, str], list[int]] = field(
        default_factory=lambda: defaultdict(lambda: [0, 0])
    )
    jobs: Counter[str] = field(default_factory=Counter)

    def spent(self, names: str, day: int, month: int, nanodollars: int, tokens: int) -> None:
        self._span(names, day, month, (nanodollars, 0, tokens, 0))

    def held(self, names: str, hold: Hold) -> None:
        self._span(names, hold.day, hold.month, (0, hold.nanodollars, 0, hold.tokens))
        self.requested(names, hold.minute, 1, hold.tokens)
        self.jobs.update(names.split(","))

    def requested(self, names: str, minute: int, requests: int, tokens: int) -> None:
        if minute >= self.windows.minute:
            for name in names.split(","):
                counts = self.minutes[name, f"i:{minute}"]
                counts[0] += requests
                counts[1] += tokens

    def entries(self) -> list[tuple[str | int, ...]]:
        entries: list[tuple[str | int, ...]] = [(name, "jobs", number) for name, number in self.jobs.items()]
        for counters in (self.spans, self.minutes):
            entries += [(*place, *numbers) for place, numbers in counters.items()]
        return entries

    def _span(self, names: str, day: int, month: int, amounts: tuple[int, ...]) -> None:
        fields = [f"d:{day}"] if day >= self.windows.first_day else []
        fields += [f"m:{month}"] if month >= self.windows.first_month else []
        for name in names.split(","):
            for each in fields:
                counters = self.spans[name, each]
                for place, amount in enumerate(amounts):
                    counters[place] += amount


class _Rebuild:
    def __init__(self, call: Callable[[Any], Awaitable[list[int]]]) -> None:
        self._call = call
        self._token = uuid4().hex

    async def begin(self) -> int:
        """Close the gate. Returns the time by the gate's clock."""
        (now_ms,) = await self._call([self._token, True, False, (), (), (), (), ()])
        return now_ms

    async def send(self, **parts: Sequence[Any]) -> None:
        for name, rows in parts.items():
            for start in range(0, len(rows), CHUNK_ROWS):
                chunk = rows[start : start + CHUNK_ROWS]
                lists = [chunk if part == name else () for part in _PARTS]
                await self._call([self._token, False, False, *lists])

    async def open(self) -> None:
        await self._call([self._token, False, True, (), (), (), (), ()])


async def rebuild_organization(
    call: Callable[[Any], Awaitable[list[int]]], organization_id: int, calendar: Calendar, ledger: Ledger
) -> None:
    """`call` runs `rebuild.lua` with what follows the calendar. The gate stays closed until the last call.

    All is read as of one moment while the gate is closed. What is written later moves its hold later still,
    when the gate is open again. Every call sets what it says, so that it may be sent again.
    """
    rebuild = _Rebuild(call)
    windows = calendar.open_at(await rebuild.begin())
    tally = _Tally(windows)
    await rebuild.send(nodes=await ledger.nodes(organization_id))
    async for ids in ledger.settled(organization_id, windows):
        await rebuild.send(settled=[tuple(each) for each in ids])
    await _count_charges(tally, organization_id, ledger)
    await _count_corrections(tally, organization_id, ledger)
    batches = await ledger.reconciled(organization_id, windows)
    await rebuild.send(corrected=[tuple(each) for each in batches])
    async for decided in ledger.decided(organization_id, windows):
        await rebuild.send(settled=[tuple(each) for each in _count_decided(tally, decided)])
    unsettled = await ledger.unsettled(organization_id, windows)
    await rebuild.send(holds=[_hold(tally, item) for item in unsettled], counters=tally.entries())
    await rebuild.open()


class OnRecord(NamedTuple):
    """What the ledger says of one organization's counters, by node and field, as `prelude.lua` has them."""

    charged: Mapping[tuple[str, str], Sequence[int]]
    decided: Mapping[tuple[str, str], Sequence[int]]
    """Of verdicts whose charges come with the job's terminal: a gate that was rebuilt counts them already.
    And what verdicts were above their charges, which one that was not rebuilt counts.
    """
    unsettled: Mapping[str, HoldRecord]
    """Of attempts without an end, which the gate must have as started."""
    settling: Mapping[str, HoldRecord]
    """Of attempts whose end is known, or soon will be: the gate has them until it is told."""


async def on_record(organization_id: int, windows: OpenWindows, ledger: Ledger) -> OnRecord:
    """What a gate is held against by `broker.ops.ledger`."""
    charged, decided, settling = _Tally(windows), _Tally(windows), list[HoldRecord]()
    await _count_charges(charged, organization_id, ledger)
    async for rows in ledger.decided(organization_id, windows):
        settling += [_started(row.project_id, row.key_id, row.charge.hold) for row in rows]
        deque(_count_decided(decided, rows), maxlen=0)
    async for overruled in ledger.overruled(organization_id, windows):
        _count_overruled(decided, overruled)
    settling += [_started(*item) for item in await ledger.overtaken(organization_id, windows)]
    unsettled = [_started(*item) for item in await ledger.unsettled(organization_id, windows)]
    return OnRecord(charged.spans, decided.spans, *map(_by_id, (unsettled, settling)))


def _started(project_id: int, key_id: str | None, hold: Hold) -> HoldRecord:
    return HoldRecord(True, branch(project_id, key_id), hold)


def _by_id(records: Sequence[HoldRecord]) -> dict[str, HoldRecord]:
    return {record.hold.id: record for record in records}


async def _count_charges(tally: _Tally, organization_id: int, ledger: Ledger) -> None:
    async for totals in ledger.totals(organization_id, tally.windows):
        for project_id, key_id, day, month, nanodollars, tokens in totals:
            tally.spent(branch(project_id, key_id), day, month, nanodollars, tokens)
    for project_id, key_id, minute, requests, tokens in await ledger.latest(organization_id, tally.windows):
        tally.requested(branch(project_id, key_id), minute, requests, tokens)


async def _count_corrections(tally: _Tally, organization_id: int, ledger: Ledger) -> None:
    async for totals in ledger.corrected(organization_id, tally.windows):
        for each in totals:
            names = branch(each.project_id, each.key_id)
            nanodollars = each.nanodollars_more - each.nanodollars_less
            tally.spent(names, each.day, each.month, nanodollars, each.tokens_more - each.tokens_less)


def _count_decided(tally: _Tally, rows: Sequence[Decided]) -> Iterator[SettledHold]:
    for project_id, key_id, charge in rows:
        hold, names = charge.hold, branch(project_id, key_id)
        tally.spent(names, hold.day, hold.month, charge.nanodollars, charge.tokens)
        tally.requested(names, hold.minute, 1, charge.tokens)
        if hold.day >= tally.windows.first_day:
            yield SettledHold(hold.id, hold.day, hold.month, hold.minute)


def _count_overruled(tally: _Tally, rows: Sequence[Overruled]) -> None:
    for (project_id, key_id, charge), nanodollars, tokens in rows:
        hold = charge.hold
        above = max(0, charge.nanodollars - nanodollars), max(0, charge.tokens - tokens)
        tally.spent(branch(project_id, key_id), hold.day, hold.month, *above)


def _hold(tally: _Tally, item: Unsettled) -> tuple[str | int, ...]:
    hold, names = item.hold, branch(item.project_id, item.key_id)
    tally.held(names, hold)
    return (
        hold.id,
        names,
        hold.nanodollars,
        hold.input_tokens,
        hold.output_tokens,
        hold.day,
        hold.month,
        hold.minute,
    )
