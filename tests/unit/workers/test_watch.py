"""A part that does not answer is named, whether it refuses, hangs or is unfit, until it answers again."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from broker.errors import HeadworksError, RedisUnavailable, RedisUnfit
from workers.watch import Watch

AFTER_S = 5.0
EVERY_S = 0.001


class Part:
    def __init__(self) -> None:
        self.fault: Exception | None = None
        self.hangs = False
        self.answered = asyncio.Event()
        self.asked = asyncio.Event()

    async def question(self) -> None:
        self.asked.set()
        if self.hangs:
            await asyncio.Event().wait()
        if self.fault is not None:
            raise self.fault
        self.answered.set()

    async def next(self, event: asyncio.Event) -> None:
        for _ in range(2):  # the first may have begun before
            event.clear()
            await event.wait()


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("fault", [RedisUnavailable("it is away"), RedisUnfit("it evicts")])
async def test_a_part_that_fails_is_named_until_it_answers(fault: HeadworksError) -> None:
    part, clock = Part(), Clock()
    async with Watch({"redis": part.question}, EVERY_S, clock) as watch:
        await part.next(part.answered)
        part.fault = fault
        await part.next(part.asked)
        assert watch.away(AFTER_S) == []
        clock.now += AFTER_S + 1
        await part.next(part.asked)
        assert watch.away(AFTER_S) == [f"redis: {fault.code}"]
        part.fault = None
        await part.next(part.answered)
        assert watch.away(AFTER_S) == []


async def test_it_ends_though_a_client_swallows_the_cancellation() -> None:
    asked = asyncio.Event()
    asks: list[str] = []

    async def question() -> None:
        asks.append("again")
        asked.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    async with asyncio.timeout(10):
        async with Watch({"redis": question}, EVERY_S):
            await asked.wait()
    assert asks == ["again"]


async def test_a_part_that_hangs_is_named_and_the_others_are_not() -> None:
    silent, sound, clock = Part(), Part(), Clock()
    silent.hangs = True
    questions: dict[str, Callable[[], Awaitable[None]]] = {"kafka": silent.question, "redis": sound.question}
    async with Watch(questions, EVERY_S, clock) as watch:
        clock.now += AFTER_S + 1
        await sound.next(sound.answered)
        assert watch.away(AFTER_S) == ["kafka: no answer"]
