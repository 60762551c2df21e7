"""How `interactive` fares before a standing backlog of `bulk`: `python -m benchmarks.lanes`.

The provider takes 200 ms, and DISPATCH has slots for the interactive rate and ten times as much of bulk.
Measured three times: alone, while the backlog is being admitted, and while it stands before DISPATCH.
"""

import argparse
import asyncio
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import load, report
from benchmarks.plant import Plant, plant, say
from headworks.client import Client
from schemas.topics import Lane
from tests.stack import until

PROVIDER_MS = 200
INTERACTIVE_PER_S = 10
BULK_PER_S = 10 * INTERACTIVE_PER_S
PROMPT_BYTES = 1024
WARM_UP_JOBS = 2_000
P99_RATIO, P99_MORE_MS = 1.3, 50


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lanes", description=__doc__)
    parser.add_argument("--backlog", type=int, default=50_000, help="bulk jobs that wait")
    parser.add_argument("--seconds", type=int, default=40, help="of each measurement")
    parser.add_argument("--json", type=Path, default=Path("build/lanes.json"), help="where the figures go")
    options = parser.parse_args()
    figures = uvloop.run(_measure(options.backlog, options.seconds))
    report.show(f"interactive, {INTERACTIVE_PER_S} jobs a second, before a backlog of bulk", _rows(figures))
    report.save(figures, options.json)


async def _measure(backlog: int, seconds: int) -> dict[str, Any]:
    kept_free = INTERACTIVE_PER_S * PROVIDER_MS // 1000 * 2
    environment = {
        "HEADWORKS_DISPATCH__SLOTS": str(kept_free + BULK_PER_S * PROVIDER_MS // 1000),
        "HEADWORKS_DISPATCH__SLOTS_INTERACTIVE": str(kept_free),
    }
    async with (
        plant(PROVIDER_MS, **environment) as works,
        works.stack.client(await works.stack.application("desk")) as desk,
        works.stack.client(await works.stack.application("batch")) as batch,
    ):
        return await _compare(works, desk, batch, backlog, seconds)


async def _compare(works: Plant, desk: Client, batch: Client, backlog: int, seconds: int) -> dict[str, Any]:
    request = load.chat(PROMPT_BYTES)

    async def interactive(step: str) -> dict[str, Any]:
        say(step)
        latency = await load.paced(desk, request, INTERACTIVE_PER_S, seconds, Lane.INTERACTIVE)
        return latency._asdict()

    say("warming up")
    works.provider.behave({})
    await load.at_once(desk, request, WARM_UP_JOBS, 200)
    works.provider.behave({"latency": {"kind": "fixed", "ms": PROVIDER_MS}})
    alone = await interactive("interactive alone")
    async with asyncio.TaskGroup() as group:
        group.create_task(load.flood(batch, (request for _ in range(backlog)), Lane.BULK))
        coming = await interactive(f"while {backlog:,} bulk jobs come in")
    say("until they are admitted")
    await _passed(works, backlog)
    before = works.provider.counts()["total"]
    standing = await interactive("while they wait for DISPATCH")
    served = works.provider.counts()["total"] - before - INTERACTIVE_PER_S * seconds
    return {
        "backlog": backlog,
        "alone": alone,
        "coming_in": coming,
        "standing": standing,
        "bulk_per_s": served / seconds,
    }


async def _passed(works: Plant, backlog: int) -> None:
    """Until RESERVE has let all of them by, one way or another."""

    async def passed() -> bool:
        return _by_reserve(works) >= backlog

    await until(passed, "RESERVE to have dealt with the backlog", 300)


def _by_reserve(works: Plant) -> float:
    outcomes = ("passed", "parked")
    metric = partial(works.dispatch.metric, "headworks_jobs_total", stage="reserve")
    found = (metric(outcome=outcome) for outcome in outcomes)
    return sum(found) - WARM_UP_JOBS


def _rows(figures: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    alone = figures["alone"]["p99_ms"]
    allowed = max(P99_RATIO * alone, alone + P99_MORE_MS)
    rows = [("alone", _latency(figures["alone"]), f"allowed under the flood: p99 {allowed:.0f} ms")]
    for name, key in (
        ("while the backlog comes in", "coming_in"),
        ("while the backlog stands", "standing"),
    ):
        ratio = figures[key]["p99_ms"] / alone
        rows.append((name, _latency(figures[key]), f"{ratio:.2f} times the p99 alone"))
    return [
        *rows,
        ("bulk served meanwhile", f"{figures['bulk_per_s']:.0f} a second", f"{BULK_PER_S} at most"),
    ]


def _latency(figures: Mapping[str, Any]) -> str:
    return f"p50 {figures['p50_ms']:.0f}  p99 {figures['p99_ms']:.0f} ms"


if __name__ == "__main__":
    main()
