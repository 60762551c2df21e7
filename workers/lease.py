"""The lease of a worker process: who holds one may own attempts.

One row for the whole process, renewed every few seconds by the database's clock. The process judges itself by
its own monotonic clock, from the moment before the renewal was sent: it stops believing in its lease before
anyone else does.
"""

import asyncio
import os
import socket
import time
from contextlib import suppress

import structlog

from broker import tasks
from broker.errors import HeadworksError, LeaseLost, Unavailable
from broker.store.leases import Leases
from broker.telemetry.events import Event

_log = structlog.stdlib.get_logger(__name__)


class Lease:
    def __init__(self, leases: Leases, lease_s: float, renew_s: float) -> None:
        self._leases = leases
        self._lease_ms = int(lease_s * 1000)
        self._renew_s = renew_s
        self._until = 0.0
        self._incarnation = ""
        self._renewing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self._join()
        self._renewing = asyncio.create_task(self._renew_always(), name="lease")

    async def stop(self) -> None:
        """Give the lease up. Call when no attempt of this process is under way any more."""
        if self._renewing is not None:
            await tasks.end(self._renewing)
            with suppress(Unavailable):
                await self._leases.leave(self._incarnation)

    @property
    def incarnation(self) -> str:
        """Raises LeaseLost past the lease: nothing may be started then."""
        if time.monotonic() >= self._until:
            raise LeaseLost("the worker's lease ran out; it joins anew when the database answers")
        return self._incarnation

    def held_since(self, incarnation: str) -> bool:
        """Whether the lease under which something was started still stands."""
        return incarnation == self._incarnation and time.monotonic() < self._until

    async def _join(self) -> None:
        asked = time.monotonic()
        self._incarnation = await self._leases.join(socket.gethostname()[:255], os.getpid(), self._lease_ms)
        self._until = asked + self._lease_ms / 1000

    async def _renew_always(self) -> None:
        """However a renewal fails, another is tried: without a lease the process calls nobody any more."""
        while True:
            await asyncio.sleep(self._renew_s)
            try:
                with suppress(Unavailable):
                    await self._renew()
            except Exception as error:  # noqa: BLE001 - logged; where it goes on, the lease runs out
                _log.warning(Event.TROUBLE, stage="lease", code=HeadworksError.code, exc_info=error)

    async def _renew(self) -> None:
        asked = time.monotonic()
        if await self._leases.renew(self._incarnation, self._lease_ms):
            self._until = asked + self._lease_ms / 1000
        else:
            await self._join()
