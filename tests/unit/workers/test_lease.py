"""A process keeps its lease, or joins anew, whatever one renewal comes to."""

import asyncio
from typing import cast

import pytest

from broker.errors import DatabaseUnavailable
from broker.store.leases import Leases
from workers.lease import Lease


class Faulty:
    """Renewals fail by `faults`, one after the other; from then on the lease has run out."""

    def __init__(self, *faults: Exception) -> None:
        self.faults = list(faults)
        self.joined = 0
        self.again = asyncio.Event()

    async def join(self, host: str, pid: int, lease_ms: int) -> str:
        self.joined += 1
        if self.joined > 1:
            self.again.set()
        return f"incarnation {self.joined}"

    async def renew(self, incarnation: str, lease_ms: int) -> bool:
        if self.faults:
            raise self.faults.pop(0)
        return False

    async def leave(self, incarnation: str) -> None:
        pass


@pytest.mark.parametrize("fault", [DatabaseUnavailable("away"), RuntimeError("nobody thought of it")])
async def test_a_renewal_that_fails_is_not_the_last(fault: Exception) -> None:
    leases = Faulty(fault)
    lease = Lease(cast(Leases, leases), 3_600, 0.0)
    await lease.start()
    async with asyncio.timeout(10):
        await leases.again.wait()
    await lease.stop()
    assert leases.faults == []
