"""Group commit: what gathers while one commit runs goes together in the next."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from broker.errors import Unavailable

T = TypeVar("T")
R = TypeVar("R")


class _Submission(NamedTuple, Generic[T, R]):
    items: Sequence[T]
    answer: asyncio.Future[list[R]]


class Grouped(Generic[T, R]):
    """Calls `commit` with the items of many submitters, one call at a time, in the order of submission.

    `commit` answers with one result an item, in their order. An idle system adds no wait: a submission that
    finds no commit running starts one. A group has at most `rows_max` items; a submission is never divided,
    so a larger one is a group of its own.
    """

    def __init__(self, commit: Callable[[Sequence[T]], Awaitable[list[R]]], rows_max: int = 500) -> None:
        self._commit = commit
        self._rows_max = rows_max
        self._waiting: deque[_Submission[T, R]] = deque()
        self._flusher: asyncio.Task[None] | None = None
        self._closed = False

    async def submit(self, items: Sequence[T]) -> list[R]:
        """The results of `items`, once they are committed.

        Raises what `commit` raised. Unavailable goes to every submitter of a group; after any other failure
        each submission is committed by itself, so that a bad one does not fail its neighbours. A submitter
        that is cancelled withdraws what is not under way yet. Raises RuntimeError after `close`.
        """
        if self._closed:
            raise RuntimeError("no more submissions: it is closed")
        if not items:
            return []
        submission: _Submission[T, R] = _Submission(items, asyncio.get_running_loop().create_future())
        self._waiting.append(submission)
        if self._flusher is None:
            self._flusher = asyncio.create_task(self._flush())
        return await submission.answer

    async def close(self) -> None:
        """Take no more, and wait until all that was submitted is committed."""
        self._closed = True
        while self._flusher is not None:
            await asyncio.shield(self._flusher)

    async def _flush(self) -> None:
        try:
            while group := self._next_group():
                await self._commit_group(group)
        finally:
            self._flusher = None
            for submission in self._waiting:
                submission.answer.cancel()
            self._waiting.clear()

    def _next_group(self) -> list[_Submission[T, R]]:
        group: list[_Submission[T, R]] = []
        rows = 0
        while self._waiting:
            submission = self._waiting[0]
            if not submission.answer.done():
                rows += len(submission.items)
                if group and rows > self._rows_max:
                    break
                group.append(submission)
            self._waiting.popleft()
        return group

    async def _commit_group(self, group: Sequence[_Submission[T, R]]) -> None:
        try:
            results = await self._commit([item for submission in group for item in submission.items])
        except Exception as error:  # noqa: BLE001 - every submitter gets it
            await self._fail(group, error)
        except BaseException:
            _cancel(group)
            raise
        else:
            _answer(group, results)

    async def _fail(self, group: Sequence[_Submission[T, R]], error: Exception) -> None:
        if len(group) > 1 and not isinstance(error, Unavailable):
            for submission in group:
                await self._commit_group([submission])
            return
        for submission in group:
            if not submission.answer.done():
                submission.answer.set_exception(error)


def _answer(group: Sequence[_Submission[T, R]], results: list[R]) -> None:
    start = 0
    for submission in group:
        end = start + len(submission.items)
        if not submission.answer.done():
            submission.answer.set_result(results[start:end])
        start = end


def _cancel(group: Sequence[_Submission[T, R]]) -> None:
    for submission in group:
        submission.answer.cancel()
