"""The applications of a run, and the jobs that they send at a steady pace, whatever happens."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

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
_REPEATED_OF = 10
"""Of so many jobs of a source one is published twice."""
_CALLED_OFF_OF = 12
"""Of so many jobs of a source one is called off, probes excepted."""
_CALLED_OFF_AFTER_S = (0.0, 0.1, 0.3, 1.0, 3.0)
"""Its publish was acknowledged: in turn, so that it is met in every place."""


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
    not_called_off: int = 0
    """Cancellations that no acknowledgement came for; they may have been carried out all the same."""

    async def flow(self, seconds: float) -> None:
        """Send jobs when they are due, for so long, and call some off. Return when all of it is acknowledged,
        or given up.
        """
        start = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(int(seconds * self.source.per_s)):
                await asyncio.sleep(max(0.0, start + number / self.source.per_s - time.monotonic()))
                group.create_task(self._one(number))

    async def _one(self, number: int) -> None:
        after_s = called_off_after_s(self.source, number)
        job_id = await self.send(number, called_off=after_s is not None)
        if job_id is not None and after_s is not None:
            await asyncio.sleep(after_s)
            await self._call_off(job_id)

    async def send(self, number: int, *, called_off: bool = False) -> UUID | None:
        """One job, submitted again under its id until it is acknowledged; None: it never was."""
        source, job_id, at_s = self.source, uuid4(), time.time()

        async def submit() -> None:
            await self.client.submit(request(source, number), job_id=job_id, **options(source))

        if not await _acknowledged(submit):
            self.given_up += 1
            return None
        self.published.append(
            Published(source.application, job_id, at_s, source.probe, source.at_most_once, called_off)
        )
        with suppress(NotOpen):
            self.client.forget(job_id)
        if number % _REPEATED_OF == 0 and await _acknowledged(submit):
            with suppress(NotOpen):
                self.client.forget(job_id)
        return job_id

    async def _call_off(self, job_id: UUID) -> None:
        if not await _acknowledged(lambda: self.client.cancel(job_id, reply=False)):
            self.not_called_off += 1


async def _acknowledged(publish: Callable[[], Awaitable[None]]) -> bool:
    """Whether it was, of all the times that it was tried."""
    give_up = time.monotonic() + _GIVE_UP_S
    while time.monotonic() < give_up:
        try:
            await publish()
        except Unavailable:
            await asyncio.sleep(_AGAIN_S)
        else:
            return True
    return False


def called_off_after_s(source: Source, number: int) -> float | None:
    """How long after its publish the application calls this job off; None: it does not. Pure."""
    turn, rest = divmod(number, _CALLED_OFF_OF)
    if source.probe or rest != _CALLED_OFF_OF // 2:
        return None
    return _CALLED_OFF_AFTER_S[turn % len(_CALLED_OFF_AFTER_S)]


def request(source: Source, number: int) -> dict[str, Any]:
    words = PROBE if source.probe else f"Name canal of {source.application} number"
    return chat(f"{words} {number:06}.", max_tokens=MAX_TOKENS)


def options(source: Source) -> dict[str, Any]:
    return {"lane": source.lane, "ttl_s": TTL_S, "retry": {"at_most_once": source.at_most_once}}
