"""Waiting for what may never come."""

import asyncio
import time
from collections.abc import Awaitable, Callable

_POLL_S = 0.2


async def within(seconds: float, condition: Callable[[], Awaitable[bool]]) -> bool:
    """Whether it came true in time."""
    deadline = time.monotonic() + seconds
    while not await condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_POLL_S)  # what is watched lives in other processes
    return True
