"""How soon the jobs of a dispatcher that was killed run again: `python -m benchmarks.recovery`.

Two processes of ADMIT, RESERVE and DISPATCH have calls under way when one of them is killed with SIGKILL.
Measured from the kill to each second call, as the provider's log has it, with the default lease.
"""

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import load, report
from benchmarks.plant import GROUPS, Plant, plant, say
from broker.settings import DispatchSettings
from headworks.client import Client
from schemas.topics import Lane
from tests.stack import until

PROVIDER_MS = 3_000
JOBS = 500
MARGIN_S = 2.0
PROMPT_BYTES = 1024
_DEADLINE_S = 120


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recovery", description=__doc__)
    parser.add_argument("--json", type=Path, default=Path("build/recovery.json"), help="where the figures go")
    options = parser.parse_args()
    figures = uvloop.run(_measure())
    report.show("After kill -9 of one of two dispatchers", _rows(figures))
    report.save(figures, options.json)


async def _measure() -> dict[str, Any]:
    async with (
        plant(PROVIDER_MS) as works,
        works.stack.client(await works.stack.application("bench")) as client,
    ):
        works.stack.worker(*GROUPS[0])
        return await _kill(works, client)


async def _kill(works: Plant, client: Client) -> dict[str, Any]:
    say(f"{JOBS} jobs")
    request = load.chat(PROMPT_BYTES)
    await load.flood(client, (request for _ in range(JOBS)), Lane.STANDARD)

    async def under_way() -> bool:
        return bool(works.provider.counts()["in_flight"] >= JOBS)

    await until(under_way, "all calls to be under way", _DEADLINE_S)
    lost = int(works.dispatch.metric("headworks_provider_in_flight", target="simulated"))
    killed_at = time.time()
    works.dispatch.kill()
    say(f"killed one with {lost} calls under way")

    async def called_again() -> bool:
        return len(_again(works)) >= lost

    await until(called_again, "all second calls", _DEADLINE_S)
    seconds = sorted(at - killed_at for at in _again(works))
    return {
        "second_calls": len(seconds),
        "first_s": seconds[0],
        "last_s": seconds[-1],
        "lease_s": DispatchSettings().lease_s,
        "session_s": works.stack.settings.kafka.session_timeout_ms / 1000,
    }


def _again(works: Plant) -> list[float]:
    return [call["t"] for call in works.provider.calls() if call["attempt"] == 2]


def _rows(figures: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    allowed = figures["lease_s"] + figures["session_s"] + MARGIN_S
    return [
        ("first call made again after", f"{figures['first_s']:.1f} s", ""),
        (
            f"last of {figures['second_calls']} after",
            f"{figures['last_s']:.1f} s",
            f"allowed {allowed:.0f} s (lease, session, {MARGIN_S:g} s): {figures['last_s'] / allowed:.0%}",
        ),
    ]


if __name__ == "__main__":
    main()
