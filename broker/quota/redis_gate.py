"""The gate on Redis 7, or on the embedded server, which runs the same scripts."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, Self, TypeVar

import orjson
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError

from broker.errors import GateClosed, RedisUnfit
from broker.quota import closed_transport
from broker.quota.gate import (
    Granted,
    Over,
    ProjectOf,
    Release,
    ReserveRequest,
    Settled,
    Settlement,
    StartRequest,
)
from broker.quota.packing import pack_reserve, pack_settle, pack_start, project_node, unpack_answers
from broker.quota.rebuild import RebuildSource, rebuild_organization
from broker.quota.scripts import Script, Scripts
from broker.quota.translation import translated
from broker.settings import RedisSettings

BATCH_MAX = 1_000
"""Requests in one run of a script, which holds up everybody else on that Redis meanwhile."""

CONNECTIONS_MAX = 16
"""Batches under way at a time; the others wait their turn."""

_EMBEDDED_IDENTITY = "embedded"


class _OfOrganization(Protocol):
    @property
    def organization_id(self) -> int: ...


_Item = TypeVar("_Item", bound=_OfOrganization)


@dataclass(frozen=True, slots=True)
class _Group(Generic[_Item]):
    organization_id: int
    places: list[int]
    """Of the items in the batch that the caller gave."""
    items: list[_Item]


class RedisGate:
    """Implements `broker.quota.gate.Gate`.

    `clock` gives milliseconds since the epoch in place of the clock of Redis: for tests.
    """

    def __init__(
        self, client: Redis, prefix: str, *, identity: str = "", clock: Callable[[], int] | None = None
    ) -> None:
        self._client = client
        self._prefix = prefix
        self._identity = identity
        self._clock = clock
        self._scripts = Scripts.load()
        self._seen: dict[int, int] = {}
        self._closed: set[int] = set()
        self._rebuilding = asyncio.Lock()
        self._slots = asyncio.Semaphore(CONNECTIONS_MAX)

    @classmethod
    async def open(cls, settings: RedisSettings) -> Self:
        """Connect to Redis, and see that it is fit.

        Raises RedisUnavailable; RedisUnfit when it would evict keys or hides its run id.
        """
        gate = cls(connect(settings), settings.prefix)
        try:
            await gate.check()
        except BaseException:
            await gate.close()
            raise
        return gate

    @classmethod
    def embedded(cls, client: Redis, prefix: str = "hw", *, clock: Callable[[], int] | None = None) -> Self:
        """On fakeredis, which lives and dies with this process and so has no run id to check."""
        return cls(client, prefix, identity=_EMBEDDED_IDENTITY, clock=clock)

    async def close(self) -> None:
        await self._client.aclose()

    async def check(self) -> None:
        """Raises RedisUnavailable, RedisUnfit."""
        if self._identity:
            return
        with translated():
            facts = await self._client.info()
        if "run_id" not in facts:
            raise RedisUnfit("Redis hides its run id, without which a loss of its data would not be noticed")
        policy = facts.get("maxmemory_policy")
        if policy != "noeviction":
            raise RedisUnfit(
                f"Redis must not evict counters: set maxmemory-policy to noeviction, not {policy}"
            )

    @property
    def closed(self) -> frozenset[int]:
        """Organizations whose counters are gone; `rebuild` brings them back."""
        return frozenset(self._closed)

    async def reserve(self, requests: Sequence[ReserveRequest]) -> list[Granted | Over | Settled]:
        groups = _by_organization(requests)
        replies = await self._run(self._scripts.reserve, groups, pack_reserve)
        return _in_order(groups, replies, [request.hold_id for request in requests])

    async def start(self, requests: Sequence[StartRequest]) -> list[Granted | Over | Settled]:
        groups = _by_organization(requests)
        replies = await self._run(self._scripts.start, groups, pack_start)
        return _in_order(groups, replies, [request.hold.id for request in requests])

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        await self._run(self._scripts.settle, _by_organization(settlements), pack_settle)

    async def release(self, releases: Sequence[Release]) -> None:
        await self._run(self._scripts.release, _by_organization(releases), _pack_release)

    async def jobs_in_flight(self, projects: Sequence[ProjectOf]) -> list[int]:
        groups = _by_organization(projects)
        replies = await self._run(self._scripts.jobs, groups, _pack_projects)
        found = dict(
            pair
            for group, reply in zip(groups, replies, strict=True)
            for pair in zip(group.places, reply, strict=True)
        )
        return [found[place] for place in range(len(projects))]

    async def rebuild(self, source: RebuildSource) -> None:
        """Bring the counters of the closed organizations back from the ledger, and open the gate for them.

        Of several processes one rebuilds while the others wait for it. Ask it after GateClosed, holding no
        transaction, then repeat the call that was turned away.
        Raises Unavailable, RedisUnfit.
        """
        async with self._rebuilding:
            if not self._closed:
                return
            await self.check()
            for organization_id in sorted(self._closed):
                async with source.exclusive() as ledger:  # each as of a moment when its own gate is closed
                    if not await self._is_open(organization_id):
                        await rebuild_organization(
                            self._rebuild_call(organization_id), organization_id, ledger
                        )
                self._closed.discard(organization_id)

    async def _is_open(self, organization_id: int) -> bool:
        (reply,) = await self._send(self._scripts.settle, [(organization_id, [])])
        return self._note(organization_id, reply)

    def _rebuild_call(self, organization_id: int) -> Callable[[Any], Awaitable[list[int]]]:
        async def call(batch: Any) -> list[int]:
            (reply,) = await self._send(self._scripts.rebuild, [(organization_id, batch)])
            if not self._note(organization_id, reply):
                raise GateClosed("the rebuild of the counters was overtaken; try again")
            return reply[1:]

        return call

    async def _run(
        self, script: Script, groups: Sequence[_Group[_Item]], pack: Callable[[Sequence[_Item]], Any]
    ) -> list[list[int]]:
        """The scripts' answers, a group each, without the stamp. Raises GateClosed when one was closed."""
        replies = await self._send(script, [(group.organization_id, pack(group.items)) for group in groups])
        opened = [
            self._note(group.organization_id, reply) for group, reply in zip(groups, replies, strict=True)
        ]
        if not all(opened):
            raise GateClosed("Redis lost its counters; nothing passes until they are rebuilt from the ledger")
        return [reply[1:] for reply in replies]

    def _note(self, organization_id: int, reply: list[int]) -> bool:
        """Remember the stamp, or that the gate is closed for the organization; True when it is open."""
        stamp = reply[0]
        if stamp:
            self._seen[organization_id] = max(stamp, self._seen.get(organization_id, 0))
        else:
            self._closed.add(organization_id)
        return bool(stamp)

    async def _send(self, script: Script, calls: Sequence[tuple[int, Any]]) -> list[list[int]]:
        """Run the script once a call, (organization, batch), all in one round trip."""
        now = "" if self._clock is None else str(self._clock())
        arguments = [self._arguments(organization_id, now, batch) for organization_id, batch in calls]
        with translated():
            replies = await self._pipeline("EVALSHA", script.sha, arguments)
            unknown = [index for index, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
            loaded = await self._pipeline("EVAL", script.source, [arguments[index] for index in unknown])
            for index, reply in zip(unknown, loaded, strict=True):
                replies[index] = reply
            for reply in replies:
                if isinstance(reply, Exception):
                    raise reply
        return replies

    def _arguments(self, organization_id: int, now: str, batch: Any) -> tuple[str | int | bytes, ...]:
        key = f"{self._prefix}:{{o{organization_id}}}:gate"
        return 1, key, self._identity, self._seen.get(organization_id, 0), now, orjson.dumps(batch)

    async def _pipeline(
        self, command: str, script: str, arguments: Sequence[tuple[str | int | bytes, ...]]
    ) -> list[Any]:
        if not arguments:
            return []
        async with self._slots, self._client.pipeline(transaction=False) as pipeline:
            for one in arguments:
                pipeline.execute_command(command, script, *one)
            return await pipeline.execute(raise_on_error=False)


def connect(settings: RedisSettings) -> Redis:
    """A client that connects when it is first used."""
    closed_transport.mend()
    timeout_s = settings.timeout_ms / 1000
    return Redis.from_url(
        settings.url.get_secret_value(),
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        # Every verb may be repeated. Once is for a pooled connection that a restart has cut.
        retry=Retry(NoBackoff(), 1),
    )


def _by_organization(items: Sequence[_Item]) -> list[_Group[_Item]]:
    """At most BATCH_MAX items a group, in the order given."""
    groups: list[_Group[_Item]] = []
    latest: dict[int, _Group[_Item]] = {}
    for place, item in enumerate(items):
        group = latest.get(item.organization_id)
        if group is None or len(group.items) == BATCH_MAX:
            group = latest[item.organization_id] = _Group(item.organization_id, [], [])
            groups.append(group)
        group.places.append(place)
        group.items.append(item)
    return groups


def _in_order(
    groups: Sequence[_Group[Any]], replies: Sequence[list[int]], hold_ids: Sequence[str]
) -> list[Granted | Over | Settled]:
    """Answers in the order in which the requests came."""
    by_place: dict[int, Granted | Over | Settled] = {}
    for group, reply in zip(groups, replies, strict=True):
        answers = unpack_answers(reply, [hold_ids[place] for place in group.places])
        by_place.update(zip(group.places, answers, strict=True))
    return [by_place[place] for place in range(len(hold_ids))]


def _pack_projects(projects: Sequence[ProjectOf]) -> Any:
    return [project_node(project.project_id) for project in projects]


def _pack_release(releases: Sequence[Release]) -> Any:
    return [(release.hold_id,) for release in releases]
