"""How the counters of an organization are made anew from the ledger, which is the truth."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import uuid4

from broker.quota.limits import first_open_day, minute_of
from broker.quota.packing import project_node
from schemas.state import Hold

CHUNK_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class Charged:
    """An attempt whose cost is on record."""

    project_id: int
    hold_id: str
    day: int
    minute: int
    nanodollars: int


@dataclass(frozen=True, slots=True)
class Unsettled:
    """An attempt on record before its call, whose cost is not known yet."""

    project_id: int
    hold: Hold


class Ledger(Protocol):
    """What the ledger says of one organization. Attempts of days before `first_day` are left out."""

    async def project_ids(self, organization_id: int) -> Sequence[int]: ...

    def charged(self, organization_id: int, first_day: int) -> AsyncIterator[Sequence[Charged]]: ...

    async def unsettled(self, organization_id: int, first_day: int) -> Sequence[Unsettled]: ...


class RebuildSource(Protocol):
    def exclusive(self) -> AbstractAsyncContextManager[Ledger]:
        """The ledger as it stands, while nobody else rebuilds from it. Raises DatabaseUnavailable."""
        ...


@dataclass(slots=True)
class _Tally:
    """By node and window."""

    first_minute: int
    spent: Counter[tuple[str, int]] = field(default_factory=Counter)
    requests: Counter[tuple[str, int]] = field(default_factory=Counter)

    def charge(self, row: Charged) -> None:
        node = project_node(row.project_id)
        self.spent[node, row.day] += row.nanodollars
        self.request(node, row.minute)

    def request(self, node: str, minute: int) -> None:
        if minute >= self.first_minute:
            self.requests[node, minute] += 1


async def rebuild_organization(
    call: Callable[[Any], Awaitable[list[int]]], organization_id: int, ledger: Ledger
) -> None:
    """`call` runs `rebuild.lua` with a batch. The gate stays closed until the last call.

    All is read as of one moment while the gate is closed. What is written later moves its hold later still,
    when the gate is open again.
    """
    token = uuid4().hex
    nodes = [project_node(project_id) for project_id in await ledger.project_ids(organization_id)]
    (now_ms,) = await call(_batch(token, begin=True, nodes=nodes))
    first_day = first_open_day(now_ms)
    tally = _Tally(minute_of(now_ms))
    async for rows in ledger.charged(organization_id, first_day):
        for row in rows:
            tally.charge(row)
        await call(_batch(token, settled=[(row.hold_id, row.day, row.minute) for row in rows]))
    unsettled = await ledger.unsettled(organization_id, first_day)
    for start in range(0, len(unsettled), CHUNK_ROWS):
        await call(
            _batch(token, holds=[_hold(tally, item) for item in unsettled[start : start + CHUNK_ROWS]])
        )
    await call(_batch(token, spent=_entries(tally.spent), requests=_entries(tally.requests), last=True))


def _hold(tally: _Tally, item: Unsettled) -> tuple[str | int, ...]:
    hold, node = item.hold, project_node(item.project_id)
    tally.request(node, hold.minute)
    return hold.id, node, hold.nanodollars, hold.input_tokens, hold.output_tokens, hold.day, hold.minute


def _entries(counts: Counter[tuple[str, int]]) -> list[tuple[str, int, int]]:
    return [(node, window, amount) for (node, window), amount in counts.items()]


def _batch(
    token: str,
    *,
    begin: bool = False,
    last: bool = False,
    nodes: Sequence[str] = (),
    spent: Sequence[Any] = (),
    requests: Sequence[Any] = (),
    holds: Sequence[Any] = (),
    settled: Sequence[Any] = (),
) -> Any:
    return token, begin, last, nodes, spent, requests, holds, settled
