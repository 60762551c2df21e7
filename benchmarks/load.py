"""Load on a running installation: as fast as it goes, and at a steady rate."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from headworks.client import Answered, Client
from schemas.topics import Lane


class Latency(NamedTuple):
    """From submit to result, in milliseconds."""

    rate_per_s: int
    p50_ms: float
    p99_ms: float


def chat(prompt_bytes: int) -> dict[str, Any]:
    return {
        "model": "gpt-4o-mini",
        "messages": [{"role": "user", "content": "x" * prompt_bytes}],
        "max_tokens": 50,
    }


async def one(client: Client, request: Mapping[str, Any], lane: Lane = Lane.STANDARD) -> float:
    """Milliseconds. Raises AssertionError on anything but an answer."""
    started = time.monotonic()
    result = await client.run(request, lane=lane)
    if not isinstance(result, Answered):
        raise AssertionError(f"not answered: {type(result).__name__}")
    return (time.monotonic() - started) * 1000


async def at_once(client: Client, request: Mapping[str, Any], jobs: int, in_flight: int) -> float:
    """Jobs a second, with so many in flight at the most."""
    room = asyncio.Semaphore(in_flight)

    async def limited() -> None:
        async with room:
            await one(client, request)

    started = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for _ in range(jobs):
            group.create_task(limited())
    return jobs / (time.monotonic() - started)


async def paced(
    client: Client,
    request: Mapping[str, Any],
    rate_per_s: int,
    seconds: int,
    lane: Lane = Lane.STANDARD,
) -> Latency:
    """An open load: jobs are sent when they are due, whether or not earlier ones have come back."""
    tasks = [
        asyncio.create_task(one(client, request, lane)) async for _ in beats(rate_per_s, rate_per_s * seconds)
    ]
    times = sorted(await asyncio.gather(*tasks))
    return Latency(rate_per_s, percentile(times, 0.5), percentile(times, 0.99))


async def beats(rate_per_s: int, number: int) -> AsyncIterator[int]:
    """So many numbers, each when it is due."""
    start = time.monotonic()
    for beat in range(number):
        await asyncio.sleep(max(0.0, start + beat / rate_per_s - time.monotonic()))
        yield beat


async def flood(client: Client, requests: Iterable[Mapping[str, Any]], lane: Lane) -> int:
    """Publish them as fast as it goes, and wait for no answer; how many."""
    number = 0
    async for _ in client.submit_many(requests, lane=lane, reply=False):
        number += 1
    return number


def percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
