"""A gate that has itself rebuilt from the ledger when it finds itself closed."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from broker.errors import GateClosed, RedisUnfit
from broker.quota.counters import Counters, NodeOf
from broker.quota.gate import (
    Corrections,
    Granted,
    Over,
    Release,
    ReserveRequest,
    Settled,
    Settlement,
    StartRequest,
)
from broker.quota.rebuild import RebuildSource
from broker.quota.redis_gate import RedisGate

T = TypeVar("T")


class SelfOpeningGate:
    """Implements `broker.quota.gate.Gate`. Nothing passes while the counters are rebuilt."""

    def __init__(self, gate: RedisGate, source: RebuildSource, on_closed: Callable[[], None]) -> None:
        self._gate = gate
        self._source = source
        self._on_closed = on_closed

    async def reserve(self, requests: Sequence[ReserveRequest]) -> list[Granted | Over | Settled]:
        return await self._opened(lambda: self._gate.reserve(requests))

    async def start(self, requests: Sequence[StartRequest]) -> list[Granted | Over | Settled]:
        return await self._opened(lambda: self._gate.start(requests))

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        await self._opened(lambda: self._gate.settle(settlements))

    async def correct(self, batches: Sequence[Corrections]) -> list[bool]:
        return await self._opened(lambda: self._gate.correct(batches))

    async def release(self, releases: Sequence[Release]) -> None:
        await self._opened(lambda: self._gate.release(releases))

    async def jobs_in_flight(self, nodes: Sequence[NodeOf]) -> list[int]:
        return await self._opened(lambda: self._gate.jobs_in_flight(nodes))

    async def counters(self, nodes: Sequence[NodeOf]) -> list[Counters]:
        return await self._opened(lambda: self._gate.counters(nodes))

    async def _opened(self, verb: Callable[[], Awaitable[T]]) -> T:
        try:
            try:
                return await verb()
            except GateClosed:
                self._on_closed()
                await self._gate.rebuild(self._source)
                return await verb()
        except RedisUnfit as error:
            raise GateClosed(str(error)) from error  # an operator mends it while the jobs wait
