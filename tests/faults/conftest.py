"""One fleet of worker processes for all fault tests; each finds it whole."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.stack import Fleet, RealStack
from tests.stack.fixtures import QUICK

LEASE = {"HEADWORKS_DISPATCH__LEASE_S": "2", "HEADWORKS_DISPATCH__LEASE_RENEW_S": "0.4"}
"""So that a successor need not wait long."""
DRAIN = {"HEADWORKS_DRAIN_S": "10"}
"""Longer than calls take. Without Kafka DISPATCH waits in vain for all of it, and what is left of a job's
time (see `Load`) must do for the servers and processes to come back.
"""
ORDINARY = {
    "latency": {"kind": "uniform", "min_ms": 20, "max_ms": 100},
    "canned": [{"contains": f"{digit}.", "attempt_max": 1, "status": 503} for digit in (3, 7)],
}
"""Of numbered prompts every fifth fails once."""


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def crew(stack: RealStack) -> AsyncIterator[Fleet]:
    fleet = Fleet(stack, QUICK | LEASE | DRAIN)
    yield fleet
    fleet.close()


@pytest.fixture
def fleet(crew: Fleet) -> Fleet:
    """With an ordinary provider."""
    crew.restore(ORDINARY)
    return crew
