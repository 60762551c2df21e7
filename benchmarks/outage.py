"""How Headworks comes through a part that is away for long: `python -m benchmarks.outage`.

Jobs come in steadily. Redis, PostgreSQL, Kafka and the provider in turn are stopped, and then frozen
(SIGSTOP: connections open, nothing answers), for a minute each. Measured from their return: the first
answer, and the last one of the jobs that had been accepted before it. Jobs lost or called twice are counted.
"""

import argparse
import asyncio
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import uvloop

from benchmarks import load, report
from benchmarks.plant import Plant, plant, say
from headworks.client import Answered, Client
from headworks.client.errors import NotDelivered

PROVIDER_MS = 200
RATE_PER_S = 20
PROMPT_BYTES = 1024
_DEADLINE_S = 180
_QUIET_S = 3.0
"""Of load before a part goes, and after it is back."""


class Outage(NamedTuple):
    name: str
    begin: Callable[[], None]
    end: Callable[[], None]


@dataclass
class _Seen:
    accepted: dict[UUID, float]
    """By job, when its publish was acknowledged."""
    answered: dict[UUID, float]
    others: list[str]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.outage", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="that each part is away")
    parser.add_argument("--only", metavar="NAME", help="one outage, as the table names it")
    parser.add_argument("--json", type=Path, default=Path("build/outage.json"), help="where the figures go")
    options = parser.parse_args()
    figures = uvloop.run(_measure(options.seconds, options.only))
    report.show(f"Away for {options.seconds} s at {RATE_PER_S} jobs a second", _rows(figures))
    report.save(figures, options.json)


async def _measure(seconds: int, only: str | None) -> dict[str, Any]:
    async with (
        plant(PROVIDER_MS) as works,
        works.stack.client(await works.stack.application("bench")) as client,
    ):
        await load.at_once(client, load.chat(PROMPT_BYTES), 500, 200)
        outages = [each for each in _outages(works) if only in (None, each.name)]
        return {each.name: await _one(works, client, each, seconds) for each in outages}


def _outages(works: Plant) -> list[Outage]:
    found = []
    for name, server in works.servers.items():
        found.append(Outage(f"{name} stopped", server.kill, server.start))
        found.append(Outage(f"{name} frozen", server.pause, server.resume))
    provider = works.provider
    freeze, thaw = (lambda: provider.send(signal.SIGSTOP)), (lambda: provider.send(signal.SIGCONT))
    return [*found, Outage("provider frozen", freeze, thaw)]


async def _one(works: Plant, client: Client, outage: Outage, seconds: int) -> dict[str, Any]:
    say(f"{outage.name} for {seconds} s")
    seen = _Seen({}, {}, [])
    calls = len(works.provider.calls())
    stopped = asyncio.Event()
    driving = asyncio.create_task(_drive(client, seen, stopped))
    await asyncio.sleep(_QUIET_S)
    await asyncio.to_thread(outage.begin)
    await asyncio.sleep(seconds)
    await asyncio.to_thread(outage.end)
    back = time.monotonic()
    await asyncio.sleep(_QUIET_S)
    stopped.set()
    await driving
    return _figures(seen, back, [call["job_id"] for call in works.provider.calls()[calls:]])


async def _drive(client: Client, seen: _Seen, stopped: asyncio.Event) -> None:
    """Every job is awaited for its own time; one that no publish came through for is none."""
    request = load.chat(PROMPT_BYTES)

    async def one() -> None:
        with suppress(NotDelivered):
            job_id = await client.submit(request)
            seen.accepted[job_id] = time.monotonic()
            result = await client.result(job_id, _DEADLINE_S)
            if isinstance(result, Answered):
                seen.answered[job_id] = time.monotonic()
            else:
                seen.others.append(type(result).__name__)

    tasks = []
    async for _ in load.beats(RATE_PER_S, 10**6):
        tasks.append(asyncio.create_task(one()))
        if stopped.is_set():
            break
    await asyncio.gather(*tasks)


def _figures(seen: _Seen, back: float, called: list[Any]) -> dict[str, Any]:
    after = sorted(at - back for at in seen.answered.values() if at > back)
    waiting = [
        seen.answered[job_id] - back
        for job_id, at in seen.accepted.items()
        if at <= back and seen.answered.get(job_id, 0) > back
    ]
    return {
        "accepted": len(seen.accepted),
        "answered": len(seen.answered),
        "others": len(seen.others),
        "called_again": len(called) - len(set(called)),
        "first_answer_s": after[0] if after else None,
        "waited": len(waiting),
        "last_that_waited_s": max(waiting, default=0.0),
    }


def _rows(figures: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    return [(name, _told(found), _counted(found)) for name, found in figures.items()]


def _told(found: Mapping[str, Any]) -> str:
    first, last = found["first_answer_s"], found["last_that_waited_s"]
    return f"first answer after {first:.1f} s, the last of {found['waited']} after {last:.1f} s"


def _counted(found: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {found[name]}" for name in ("accepted", "answered", "others", "called_again"))


if __name__ == "__main__":
    main()
