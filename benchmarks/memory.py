"""What a call that waits for its provider costs the dispatch process: `python -m benchmarks.memory`."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import load, report
from benchmarks.plant import Plant, plant, say
from headworks.client import Client
from schemas.topics import Lane
from tests.stack import until

PROMPT_BYTES = 1024
HANGING_MS = 60_000
WARM_UP_JOBS = 500
TARGET_KB = 40
_DEADLINE_S = 180


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--calls", type=int, default=10_000, help="in flight at the same time")
    parser.add_argument("--json", type=Path, default=Path("build/memory.json"), help="where the figures go")
    options = parser.parse_args()
    figures = uvloop.run(_measure(options.calls))
    report.show("Memory of calls in flight in one dispatch process", rows(figures))
    report.save(figures, options.json)


async def _measure(calls: int) -> dict[str, Any]:
    async with (
        plant(20, HEADWORKS_DISPATCH__SLOTS=str(calls + 500)) as works,
        works.stack.client(await works.stack.application("bench")) as client,
    ):
        say("warming up")
        await load.at_once(client, load.chat(PROMPT_BYTES), WARM_UP_JOBS, 100)
        say(f"{calls:,} calls")
        return await measure(client, works, calls)


async def measure(client: Client, works: Plant, calls: int) -> dict[str, Any]:
    idle = works.dispatch.rss_bytes()
    works.provider.behave({"latency": {"kind": "fixed", "ms": HANGING_MS}})
    request = load.chat(PROMPT_BYTES)
    await load.flood(client, (request for _ in range(calls)), Lane.STANDARD)

    async def all_there() -> bool:
        return bool(works.provider.counts()["in_flight"] >= calls)

    await until(all_there, f"{calls:,} calls to be in flight", _DEADLINE_S)
    busy = works.dispatch.rss_bytes()
    return {
        "calls": calls,
        "idle_mib": idle / 2**20,
        "busy_mib": busy / 2**20,
        "kb_per_call": (busy - idle) / calls / 1000,
    }


def rows(figures: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    return [
        (
            f"memory a call, {figures['calls']:,} in flight",
            f"{figures['kb_per_call']:.1f} KB over idle",
            f"target {TARGET_KB} KB ({figures['kb_per_call'] / TARGET_KB:.0%})",
        )
    ]


if __name__ == "__main__":
    main()
