"""What the gate counts and holds, read again and again while a run lasts."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from broker.quota import closed_transport
from broker.settings import RedisSettings
from tests.crucible.history import Sample

_EVERY_S = 0.25
_DAY = re.compile(r"d:(\d+)")


@dataclass(frozen=True, slots=True)
class Node:
    project: str
    project_id: int
    organization_id: int


class Gauges:
    def __init__(self, settings: RedisSettings, nodes: Sequence[Node]) -> None:
        self._url = settings.url.get_secret_value()
        self._prefix = settings.prefix
        self._nodes = nodes
        self.samples: set[Sample] = set()
        closed_transport.mend()

    async def watch(self) -> None:
        """Until cancelled. While Redis is away there is nothing to see."""
        while True:
            with suppress(RedisError, OSError):
                self.samples.update(await self.read())
            await asyncio.sleep(_EVERY_S)

    async def read(self) -> list[Sample]:
        """Raises RedisError, OSError."""
        async with Redis.from_url(self._url, decode_responses=True, socket_timeout=2) as redis:
            return [
                sample
                for node in self._nodes
                for sample in _samples(
                    node.project, await redis.hgetall(f"{self._base(node)}:node:p{node.project_id}")
                )
            ]

    async def holds(self) -> list[str]:
        """Ids of all that the gate holds."""
        async with Redis.from_url(self._url, decode_responses=True) as redis:
            organizations = {self._base(node) for node in self._nodes}
            return [str(hold) for base in organizations for hold in await redis.hkeys(f"{base}:holds")]

    def _base(self, node: Node) -> str:
        return f"{self._prefix}:{{o{node.organization_id}}}"


def _samples(project: str, counters: Mapping[Any, Any]) -> list[Sample]:
    """Of each day: dollars spent and held stand first (`prelude.lua`)."""
    found = []
    for name, numbers in counters.items():
        if (day := _DAY.fullmatch(str(name))) is not None:
            spent, held, *_ = map(int, str(numbers).split())
            found.append(Sample(project, int(day[1]), spent, held))
    return found
