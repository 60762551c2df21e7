"""The ledger as SETTLE sees it: one partition's batch at a time, written in groups, each in its order."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from broker.errors import Fenced, Unavailable
from broker.store.dispositions import Settled
from broker.store.grouped import Grouped
from broker.store.positions import Place, Position
from broker.store.settlement import Advance, Settlements
from broker.store.settlement_rows import Settlement

_BATCHES_MAX = 24
"""Partitions' batches in one transaction."""


class PartitionBatch(NamedTuple):
    """A run of records of one partition, in order. Those that are no outcomes are passed over."""

    place: Place
    settlements: Sequence[Settlement]
    next_offset: int
    """Of the first record after the run."""


class PositionMoved(Unavailable):
    """Another process settles the partition too, as can be while it changes hands: look again."""

    code = "position_moved"


class SettlementBook:
    def __init__(self, settlements: Settlements) -> None:
        self._settlements = settlements
        self._positions: dict[Place, Position] = {}
        self._group = Grouped(self._settle_all, _BATCHES_MAX)

    async def settle(self, *batches: PartitionBatch) -> list[Settled]:
        """Of each settlement, in the order of the batches.

        Raises Unavailable, after which the same batches may be settled again.
        """
        return [settled for each in await self._group.submit(batches) for settled in each]

    async def close(self) -> None:
        await self._group.close()

    async def _settle_all(self, batches: Sequence[PartitionBatch]) -> list[list[Settled]]:
        places = {batch.place: batch.next_offset for batch in batches}
        for batch in batches:
            places[batch.place] = max(places[batch.place], batch.next_offset)
        try:
            advances = [Advance(await self._position(place), end) for place, end in places.items()]
            everything = [item for batch in batches for item in batch.settlements]
            done = await self._settlements.settle(everything, advances)
        except (Unavailable, Fenced, asyncio.CancelledError) as error:
            for place in places:
                self._positions.pop(place, None)
            if isinstance(error, Fenced):
                raise PositionMoved(str(error)) from error
            raise
        self._positions.update((position.place, position) for position in done.positions)
        return _divided(batches, done.settled)

    async def _position(self, place: Place) -> Position:
        known = self._positions.get(place)
        return known if known is not None else await self._settlements.position(*place)


def _divided(batches: Sequence[PartitionBatch], settled: Sequence[Settled]) -> list[list[Settled]]:
    results = iter(settled)
    return [[next(results) for _ in batch.settlements] for batch in batches]
