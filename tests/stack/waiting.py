"""Waiting for a signal, with a deadline."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
DEADLINE_S = 60.0
_POLL_S = 0.03


async def until(condition: Callable[[], Awaitable[T]], what: str, deadline_s: float = DEADLINE_S) -> T:
    """The first truthy answer of `condition`. Raises AssertionError with the last one after `deadline_s`."""
    answer = await condition()
    try:
        async with asyncio.timeout(deadline_s):
            while not answer:
                await asyncio.sleep(_POLL_S)  # what is watched lives in other processes
                answer = await condition()
    except TimeoutError:
        raise AssertionError(f"{what}: not within {deadline_s:g} s; last seen: {answer!r}") from None
    return answer
