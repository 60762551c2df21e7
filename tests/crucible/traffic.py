"""The applications of a run, and the jobs that they send at a steady pace, whatever happens."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from broker.errors import Unavailable
from headworks import Client
from headworks.client.errors import NotOpen
from tests.crucible.history import Published
from tests.stack.jobs import chat

PROBE = "Sound the depth of lock number"
MAX_TOKENS = 20
TTL_S = 45
_GIVE_UP_S = 90.0
_AGAIN_S = 0.2


@dataclass(frozen=True, slots=True)
class Source:
    """One application's jobs."""

    application: str
    project: str
    lane: str
    per_s: float
    probe: bool = False
    at_most_once: bool = False
    afforded: float | None = None
    """Share of its jobs whose upper bounds fit the project's budget; None: all of them, many times."""


SOURCES: Sequence[Source] = (
    Source("gauge", "gauge", "interactive", 4, probe=True),
    Source("north-web", "north", "interactive", 5),
    Source("north-night", "north", "bulk", 8),
    Source("south", "south", "standard", 5, at_most_once=True),
    Source("south-batch", "south", "bulk", 4),
    Source("brook", "brook", "standard", 4, afforded=0.25),
)


@dataclass
class Traffic:
    source: Source
    client: Client
    published: list[Published] = field(default_factory=list)
    """Those that were acknowledged."""
    given_up: int = 0
    """Jobs that no acknowledgement came for; they may have ended all the same."""

    async def flow(self, seconds: float) -> None:
        """Send jobs when they are due, for so long; return when each is acknowledged or given up."""
        start = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(int(seconds * self.source.per_s)):
                await asyncio.sleep(max(0.0, start + number / self.source.per_s - time.monotonic()))
                group.create_task(self.send(number))

    async def send(self, number: int) -> None:
        """One job, submitted again under its id until it is acknowledged."""
        source, job_id, at_s = self.source, uuid4(), time.time()
        give_up = time.monotonic() + _GIVE_UP_S
        while time.monotonic() < give_up:
            try:
                await self.client.submit(request(source, number), job_id=job_id, **options(source))
            except Unavailable:
                await asyncio.sleep(_AGAIN_S)
                continue
            self.published.append(
                Published(source.application, job_id, at_s, source.probe, source.at_most_once)
            )
            with suppress(NotOpen):
                self.client.forget(job_id)
            return
        self.given_up += 1


def request(source: Source, number: int) -> dict[str, Any]:
    words = PROBE if source.probe else f"Name canal of {source.application} number"
    return chat(f"{words} {number:06}.", max_tokens=MAX_TOKENS)


def options(source: Source) -> dict[str, Any]:
    return {"lane": source.lane, "ttl_s": TTL_S, "retry": {"at_most_once": source.at_most_once}}
