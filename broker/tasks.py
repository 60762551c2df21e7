"""Tasks that run beside the others for as long as what needs them is open."""

import asyncio
from contextlib import suppress


async def end(task: asyncio.Task[None] | None) -> None:
    """Cancel it, and return when it has ended. Raises what it failed with."""
    if task is not None:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
