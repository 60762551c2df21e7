"""How late a loop is, by a clock that the test sets."""

import asyncio

from workers.loop_lag import KEPT, LoopLag

BEAT_S = 0.01
DEADLINE_S = 10.0


class Clock:
    """Each look is as much later as the test says; the loop's own timers go by real time."""

    def __init__(self, step: float) -> None:
        self.now = 0.0
        self.step = step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


class Wanted:
    """For so many beats."""

    def __init__(self, beats: int) -> None:
        self.beats = beats
        self.over = asyncio.Event()

    def __call__(self) -> bool:
        self.beats -= 1
        if self.beats == 0:
            self.over.set()
        return self.beats > 0


async def watched(lag: LoopLag, wanted: Wanted) -> None:
    lag.watch()
    lag.watch()
    async with asyncio.timeout(DEADLINE_S):
        await wanted.over.wait()


async def test_a_beat_that_comes_late_says_how_late_the_loop_is_and_is_forgotten_by_and_by() -> None:
    clock, wanted = Clock(3.0), Wanted(1)
    lag = LoopLag(clock, wanted, BEAT_S)
    await watched(lag, wanted)
    assert lag.seconds == 3.0 - BEAT_S
    clock.step = BEAT_S
    wanted.beats = 2
    wanted.over.clear()
    await watched(lag, wanted)
    assert lag.seconds == (3.0 - BEAT_S) * KEPT**2
