"""Doing a batch: one that fails is taken apart, and the record that fails by itself goes to `poison`."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, cast

from workers.engine.source import R, Unreadable
from workers.engine.trying import Trying

Handle = Callable[[Sequence[R]], Awaitable[Awaitable[None] | None]]
Poison = Callable[[R | Unreadable, BaseException | None], Awaitable[None]]


class Doing(Generic[R]):
    """`handle` and `poison`: those of the pump."""

    def __init__(
        self,
        handle: Handle[R],
        poison: Poison[R],
        trying: Trying,
        on_trouble: Callable[[BaseException], None],
    ) -> None:
        self._handle = handle
        self._poison = poison
        self._insist = trying.insist
        self._on_trouble = on_trouble
        self._waiting: set[asyncio.Task[Any]] = set()
        self._may_wait = True

    async def do(self, work: Sequence[R | Unreadable]) -> Awaitable[None] | None:
        """What is to be awaited before the same work is done again, or None. What cannot be decoded comes by
        itself.
        """
        first = work[0]
        if isinstance(first, Unreadable):
            await self._insist(lambda: self._poison(first, None))
            return None
        return await self._process(cast(Sequence[R], work))

    async def wait(self, later: Awaitable[None]) -> None:
        """A wait that nobody needs to see the end of: whoever gets the partition waits anew."""
        task = cast(asyncio.Task[Any], asyncio.current_task())
        self._waiting.add(task)
        if not self._may_wait:
            task.cancel()
        try:
            await later
        finally:
            self._waiting.discard(task)

    def stop_waiting(self) -> None:
        """Cancel the tasks that wait, now and from now on."""
        self._may_wait = False
        for task in self._waiting:
            task.cancel()

    async def _process(self, records: Sequence[R]) -> Awaitable[None] | None:
        try:
            return await self._insist(lambda: self._handle(records))
        except Exception as error:
            self._on_trouble(error)
            if len(records) == 1:
                await self._give_up(records[0], error)
                return None
            for record in records:
                await self._alone(record)
            return None

    async def _give_up(self, record: R, error: Exception) -> None:
        await self._insist(lambda: self._poison(record, error))

    async def _alone(self, record: R) -> None:
        while (later := await self._process([record])) is not None:
            await self.wait(later)
