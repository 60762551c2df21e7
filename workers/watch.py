"""Are the parts there that this process cannot do without? Asked whether or not there is work for them."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Self

from broker.errors import HeadworksError


class Watch:
    """`async with Watch(questions, every_s) as watch`. A question returns when its part has answered."""

    def __init__(
        self,
        questions: Mapping[str, Callable[[], Awaitable[None]]],
        every_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`questions` by the name of the part; they raise a HeadworksError where it is away or unfit."""
        self._questions = questions
        self._every_s = every_s
        self._clock = clock
        self._answered_at = dict.fromkeys(questions, clock())
        self._code: dict[str, str] = {}
        self._asking: list[asyncio.Task[None]] = []
        self._stopping = False
        """Not by cancelling alone: a Redis client may swallow that in the middle of a command."""

    async def __aenter__(self) -> Self:
        self._asking = [
            asyncio.create_task(self._ask(part, question), name=f"watch-{part}")
            for part, question in self._questions.items()
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        for asking in self._asking:
            asking.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)

    def away(self, after_s: float) -> list[str]:
        """Parts that have not answered for so long, each with the code of its error."""
        latest = self._clock() - self._every_s - after_s
        return [
            f"{part}: {self._code.get(part, 'no answer')}"
            for part, answered_at in self._answered_at.items()
            if answered_at < latest
        ]

    async def _ask(self, part: str, question: Callable[[], Awaitable[None]]) -> None:
        while not self._stopping:
            try:
                await question()
            except HeadworksError as error:
                self._code[part] = error.code
            else:
                self._answered_at[part] = self._clock()
                self._code.pop(part, None)
            if not self._stopping:
                await asyncio.sleep(self._every_s)
