"""To do what must be done for as long as the process lives, whoever is away meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from broker.errors import Unavailable
from broker.telemetry.metrics import Metrics
from workers.engine.backoff import delays

T = TypeVar("T")


async def insist(act: Callable[[], Awaitable[T]], metrics: Metrics, stage: str) -> T:
    """What `act` comes to, begun anew after each Unavailable, which is counted as a trouble of `stage`."""
    for delay in delays():
        try:
            return await act()
        except Unavailable as error:
            metrics.trouble(stage, error)
            await asyncio.sleep(delay)
    raise AssertionError("delays() has no end")
