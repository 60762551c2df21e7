"""How other projects fare beside one that floods their lane: `python -m benchmarks.tenants`.

The provider takes 100 to 300 ms and the lane has few slots. One project offers ten times what they can
serve; the others together offer a tenth of it.
"""

import argparse
import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import load, report
from benchmarks.plant import Plant, plant, say
from headworks.client import Client
from schemas.topics import Lane

LATENCY = {"kind": "uniform", "min_ms": 100, "max_ms": 300}
SLOTS = 10
CAPACITY_PER_S = 50
FLOOD_PER_S = 10 * CAPACITY_PER_S
OTHERS = 5
OTHERS_PER_S = CAPACITY_PER_S // 10
PROMPT_BYTES = 1024
WARM_UP_JOBS = 2_000
LEAD_S = 10
P99_RATIO = 1.5


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tenants", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="of each measurement")
    parser.add_argument("--json", type=Path, default=Path("build/tenants.json"), help="where the figures go")
    options = parser.parse_args()
    figures = uvloop.run(_measure(options.seconds))
    report.show(f"{OTHERS} projects beside one that offers {FLOOD_PER_S} jobs a second", _rows(figures))
    report.save(figures, options.json)


async def _measure(seconds: int) -> dict[str, Any]:
    environment = {
        "HEADWORKS_DISPATCH__SLOTS": str(SLOTS),
        "HEADWORKS_DISPATCH__SLOTS_INTERACTIVE": "0",
    }
    async with plant(0, **environment) as works:
        names = ["flood", *(f"other-{number}" for number in range(OTHERS))]
        clients = [works.stack.client(await works.stack.application(name)) for name in names]
        async with asyncio.TaskGroup() as entering:
            for client in clients:
                entering.create_task(client.__aenter__())
        try:
            return await _compare(works, clients[0], clients[1:], seconds)
        finally:
            for client in clients:
                await client.__aexit__(None, None, None)


async def _compare(works: Plant, noisy: Client, others: Sequence[Client], seconds: int) -> dict[str, Any]:
    request = load.chat(PROMPT_BYTES)
    say("warming up")
    await load.at_once(noisy, request, WARM_UP_JOBS, 200)
    works.provider.behave({"latency": LATENCY})
    say("the others alone")
    alone = await _others(others, request, seconds)
    say(f"one project offers {FLOOD_PER_S} jobs a second")
    flood = asyncio.create_task(_flood(noisy, request))
    await asyncio.sleep(LEAD_S)
    before = works.provider.counts()["total"]
    beside = await _others(others, request, seconds)
    served = (works.provider.counts()["total"] - before) / seconds
    flood.cancel()
    return {"alone": alone._asdict(), "beside": beside._asdict(), "served_per_s": served}


async def _others(others: Sequence[Client], request: Mapping[str, Any], seconds: int) -> load.Latency:
    tasks = [
        asyncio.create_task(load.one(others[beat % OTHERS], request))
        async for beat in load.beats(OTHERS_PER_S, OTHERS_PER_S * seconds)
    ]
    times = sorted(await asyncio.gather(*tasks))
    return load.Latency(OTHERS_PER_S, load.percentile(times, 0.5), load.percentile(times, 0.99))


async def _flood(client: Client, request: Mapping[str, Any]) -> None:
    """Until cancelled."""
    each = FLOOD_PER_S // 10
    async for _ in load.beats(10, 10**9):
        await load.flood(client, [request] * each, Lane.STANDARD)


def _rows(figures: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    alone, beside = figures["alone"], figures["beside"]
    ratio = beside["p99_ms"] / alone["p99_ms"]
    return [
        ("the others alone", f"p50 {alone['p50_ms']:.0f}  p99 {alone['p99_ms']:.0f} ms", ""),
        (
            "beside the flood",
            f"p50 {beside['p50_ms']:.0f}  p99 {beside['p99_ms']:.0f} ms",
            f"{ratio:.2f} times the p99 alone; allowed {P99_RATIO}",
        ),
        (
            "calls a second meanwhile",
            f"{figures['served_per_s']:.0f}",
            f"{figures['served_per_s'] / CAPACITY_PER_S:.0%} of what the slots can serve",
        ),
    ]


if __name__ == "__main__":
    main()
