"""Trying again what failed because something is away, until it passes: jobs wait, they are not lost."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from workers.engine.backoff import delays

T = TypeVar("T")


class Trying:
    """An error that says `retryable` is one to wait for; `on_trouble` hears of each."""

    def __init__(self, on_trouble: Callable[[BaseException], None]) -> None:
        self._on_trouble = on_trouble
        self._troubled_since: dict[object, float] = {}

    def for_s(self, now: float) -> float:
        """How long the oldest trouble has lasted, by the monotonic clock; 0 without any."""
        return now - min(self._troubled_since.values(), default=now)

    async def insist(self, act: Callable[[], Awaitable[T]]) -> T:
        """What insisting takes is made when it is needed: thousands of acts are under way at a time."""
        try:
            return await act()
        except Exception as error:
            if not getattr(error, "retryable", False):
                raise
            first = error
        return await self._try_again(act, first)

    async def _try_again(self, act: Callable[[], Awaitable[T]], error: Exception) -> T:
        """Each act has a trouble of its own: that one partition can be fetched says nothing of a database."""
        trouble = object()
        self._troubled_since[trouble] = time.monotonic()
        try:
            for delay in delays():
                self._on_trouble(error)
                await asyncio.sleep(delay)
                try:
                    return await act()
                except Exception as again:
                    if not getattr(again, "retryable", False):
                        raise
                    error = again
        finally:
            self._troubled_since.pop(trouble, None)
        raise AssertionError("delays() has no end")
