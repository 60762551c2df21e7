import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.workers.engine.thorough import THOROUGH
from workers.engine.slots import Slots

WEIGHTS = {"interactive": 16, "standard": 4, "bulk": 1}


async def _turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_free_slots_are_given_at_once() -> None:
    slots = Slots(3, WEIGHTS)
    for lane in WEIGHTS:
        await slots.acquire(lane, 1)
    assert slots.in_use == 3


async def test_reserved_slots_are_kept_from_others() -> None:
    slots = Slots(3, WEIGHTS, {"interactive": 2})
    await slots.acquire("bulk", 1)
    waiting = asyncio.create_task(slots.acquire("bulk", 1))
    await _turn()
    assert not waiting.done()
    await slots.acquire("interactive", 1)
    await slots.acquire("interactive", 1)
    slots.release("bulk", 1)
    await waiting


async def test_a_cancelled_wait_takes_nothing() -> None:
    slots = Slots(1, WEIGHTS)
    await slots.acquire("bulk", 1)
    waiting = asyncio.create_task(slots.acquire("standard", 1))
    await _turn()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    slots.release("bulk", 1)
    assert slots.in_use == 0


async def test_a_wait_cancelled_after_its_grant_gives_back() -> None:
    slots = Slots(1, WEIGHTS)
    await slots.acquire("bulk", 1)
    waiting = asyncio.create_task(slots.acquire("standard", 1))
    await _turn()
    slots.release("bulk", 1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert slots.in_use == 0


def test_reserving_everything_is_refused() -> None:
    with pytest.raises(ValueError, match="none to share"):
        Slots(2, WEIGHTS, {"interactive": 2})


async def test_shares_come_out_as_weighted() -> None:
    slots = Slots(1, WEIGHTS)
    served: Counter[str] = Counter()
    halfway: asyncio.Future[Counter[str]] = asyncio.get_running_loop().create_future()

    async def take(lane: str) -> None:
        await slots.acquire(lane, 1)
        served[lane] += 1
        if served["interactive"] == 160 and not halfway.done():
            halfway.set_result(served.copy())
        slots.release(lane, 1)

    await slots.acquire("bulk", 1)
    waits = [asyncio.create_task(take(lane)) for lane in WEIGHTS for _ in range(200)]
    await _turn()
    slots.release("bulk", 1)
    then = await asyncio.wait_for(halfway, 10)
    assert 36 <= then["standard"] <= 44
    assert 8 <= then["bulk"] <= 12
    await asyncio.gather(*waits)
    assert slots.in_use == 0


@THOROUGH
@given(st.lists(st.tuples(st.sampled_from(sorted(WEIGHTS)), st.integers(1, 4)), max_size=40))
def test_everybody_is_served_and_nothing_leaks(wants: list[tuple[str, int]]) -> None:
    async def scenario() -> None:
        slots = Slots(6, WEIGHTS, {"interactive": 1})

        async def work(lane: str, wanted: int) -> None:
            cost = slots.cost(lane, wanted)
            await slots.acquire(lane, cost)
            assert slots.in_use <= 6
            await asyncio.sleep(0)
            slots.release(lane, cost)

        await asyncio.wait_for(asyncio.gather(*(work(*want) for want in wants)), 10)
        assert slots.in_use == 0

    asyncio.run(scenario())
