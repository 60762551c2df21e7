"""Waiting for what happens in this event loop alone."""

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], bool]) -> None:
    """Turn the loop until the condition holds."""
    async with asyncio.timeout(10):
        await _turns(condition)


async def _turns(condition: Callable[[], bool]) -> None:
    loop = asyncio.get_running_loop()
    reached: asyncio.Future[None] = loop.create_future()

    def look() -> None:
        if condition():
            reached.set_result(None)
        elif not reached.done():
            loop.call_soon(look)

    look()
    await reached
