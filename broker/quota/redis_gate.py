"""The gate on Redis 7, or on the embedded server, which runs the same scripts."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, Self, TypeVar

import orjson
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError

from broker.errors import GateClosed, RedisUnavailable, RedisUnfit
from broker.quota import closed_transport
from broker.quota.calendar import Calendar
from broker.quota.calls import Command, calls_of
from broker.quota.counters import Counters, NodeOf, unpack_counters
from broker.quota.gate import (
    Granted,
    Over,
    Release,
    ReserveRequest,
    Settled,
    Settlement,
    StartRequest,
)
from broker.quota.inspection import Inspection, unpack_inspection
from broker.quota.packing import (
    pack_nodes,
    pack_release,
    pack_reserve,
    pack_settle,
    pack_start,
    unpack_answers,
)
from broker.quota.rebuild import RebuildSource, rebuild_organization
from broker.quota.scripts import Script, Scripts
from broker.quota.translation import translated
from broker.settings import RedisSettings
from broker.store.grouped import Grouped

BATCH_MAX = 1_000
"""Requests in one run of a script, which holds up everybody else on that Redis meanwhile."""

_CLOSED = "Redis lost its counters; nothing passes until they are rebuilt from the ledger"
_EMBEDDED_IDENTITY = "embedded"
_BEYOND_CALENDAR = -1
"""Stands for the stamp of an answer: the calendar did not hold the script's time, which follows."""

GROUP_MAX = 100
"""Reservations of callers that are sent together: a run of a script costs Redis as much as two or three
requests in it, and from here on that is little of the whole.
"""

Client = Redis | RedisCluster

_Arguments = tuple[str, int, str, bytes]
"""Of a script: its key, then all but the identity."""


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


def _utc(_organization_id: int) -> str:
    return "UTC"


class RedisGate:
    """Implements `broker.quota.gate.Gate`.

    `time_zone_of` names the zone of an organization's days and months. `clock` gives milliseconds since the
    epoch in place of the clock of Redis: for tests.
    """

    def __init__(
        self,
        client: Client,
        prefix: str,
        *,
        time_zone_of: Callable[[int], str] = _utc,
        identity: str = "",
        clock: Callable[[], int] | None = None,
    ) -> None:
        self._client = client
        self._prefix = prefix
        self._time_zone_of = time_zone_of
        self._calendars: dict[str, Calendar] = {}
        self._ahead_ms = 0
        """The clock of Redis before that of this process, once that was seen to matter."""
        self._identity = identity
        self._clock = clock
        self._scripts = Scripts.load()
        self._seen: dict[int, int] = {}
        self._closed: set[int] = set()
        self._rebuilding = asyncio.Lock()
        self._reserving = Grouped(self._reserve, GROUP_MAX)
        self._calls = calls_of(client, is_embedded=bool(identity))

    @classmethod
    async def open(cls, settings: RedisSettings, time_zone_of: Callable[[int], str] = _utc) -> Self:
        """Connect to Redis, and see that it is fit.

        Raises RedisUnavailable; RedisUnfit when it would evict keys or hides its run id.
        """
        gate = cls(connect(settings), settings.prefix, time_zone_of=time_zone_of)
        try:
            await gate.check()
        except BaseException:
            await gate.close()
            raise
        return gate

    @classmethod
    def embedded(
        cls,
        client: Redis,
        prefix: str = "hw",
        *,
        time_zone_of: Callable[[int], str] = _utc,
        clock: Callable[[], int] | None = None,
    ) -> Self:
        """On fakeredis, which lives and dies with this process and so has no run id to check."""
        return cls(client, prefix, time_zone_of=time_zone_of, identity=_EMBEDDED_IDENTITY, clock=clock)

    async def close(self) -> None:
        await self._reserving.close()
        await self._client.aclose()

    async def check(self) -> None:
        """Raises RedisUnavailable, RedisUnfit."""
        if self._identity:
            return
        with translated():
            for facts in await self.facts():
                _check_facts(facts)

    async def facts(self) -> list[Any]:
        """What INFO says of each server that may have the counters of an organization."""
        if isinstance(self._client, Redis):
            return [await self._client.info()]
        await self._client.initialize()
        return [await self._client.info(target_nodes=node) for node in self._client.get_primaries()]

    @property
    def closed(self) -> frozenset[int]:
        """Organizations whose counters are gone; `rebuild` brings them back."""
        return frozenset(self._closed)

    async def reserve(self, requests: Sequence[ReserveRequest]) -> list[Granted | Over | Settled]:
        """What comes while one round trip is under way goes together in the next."""
        return await self._reserving.submit(requests)

    async def _reserve(self, requests: Sequence[ReserveRequest]) -> list[Granted | Over | Settled]:
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
        await self._run(self._scripts.release, _by_organization(releases), pack_release)

    async def jobs_in_flight(self, nodes: Sequence[NodeOf]) -> list[int]:
        groups = _by_organization(nodes)
        replies = await self._run(self._scripts.jobs, groups, pack_nodes)
        found = dict(
            pair
            for group, reply in zip(groups, replies, strict=True)
            for pair in zip(group.places, reply, strict=True)
        )
        return [found[place] for place in range(len(nodes))]

    async def counters(self, nodes: Sequence[NodeOf]) -> list[Counters]:
        groups = _by_organization(nodes)
        replies = await self._run(self._scripts.counters, groups, pack_nodes)
        found = dict(
            pair
            for group, reply in zip(groups, replies, strict=True)
            for pair in zip(group.places, unpack_counters(reply), strict=True)
        )
        return [found[place] for place in range(len(nodes))]

    async def inspect(self, organization_id: int, nodes: Sequence[str]) -> Inspection:
        """All holds, and what these nodes count of them, as of one moment. It takes Redis some milliseconds
        for ten thousand holds: for checks alone. Raises RedisUnavailable, GateClosed.
        """
        (reply,) = await self._send(self._scripts.inspect, [(organization_id, [list(nodes)])])
        if not self._note(organization_id, reply):
            raise GateClosed(_CLOSED)
        return unpack_inspection(reply[1:], nodes)

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
                # As of a moment when its own gate is closed.
                async with source.exclusive(organization_id) as ledger:
                    if not await self._is_open(organization_id):
                        call, calendar = self._rebuild_call(organization_id), self._calendar(organization_id)
                        await rebuild_organization(call, organization_id, calendar, ledger)
                self._closed.discard(organization_id)

    async def _is_open(self, organization_id: int) -> bool:
        (reply,) = await self._send(self._scripts.settle, [(organization_id, [[]])])
        return self._note(organization_id, reply)

    def _rebuild_call(self, organization_id: int) -> Callable[[list[Any]], Awaitable[list[int]]]:
        async def call(batch: list[Any]) -> list[int]:
            (reply,) = await self._send(self._scripts.rebuild, [(organization_id, batch)])
            if not self._note(organization_id, reply):
                raise GateClosed("the rebuild of the counters was overtaken; try again")
            return reply[1:]

        return call

    async def _run(
        self, script: Script, groups: Sequence[_Group[_Item]], pack: Callable[[Sequence[_Item]], list[Any]]
    ) -> list[list[int]]:
        """The scripts' answers, a group each, without the stamp. Raises GateClosed when one was closed."""
        replies = await self._send(script, [(group.organization_id, pack(group.items)) for group in groups])
        opened = [
            self._note(group.organization_id, reply) for group, reply in zip(groups, replies, strict=True)
        ]
        if not all(opened):
            raise GateClosed(_CLOSED)
        return [reply[1:] for reply in replies]

    def _note(self, organization_id: int, reply: list[int]) -> bool:
        """Remember the stamp, or that the gate is closed for the organization; True when it is open."""
        stamp = reply[0]
        if stamp:
            self._seen[organization_id] = max(stamp, self._seen.get(organization_id, 0))
        else:
            self._closed.add(organization_id)
        return bool(stamp)

    async def _send(self, script: Script, calls: Sequence[tuple[int, list[Any]]]) -> list[list[int]]:
        """Run the script once a call, (organization, batch without its calendar), all in one round trip.

        Calendars go around the time of this process; around that of Redis where it lies days apart.
        """
        replies = await self._evaluate(script, calls)
        missed = [index for index, reply in enumerate(replies) if reply[0] == _BEYOND_CALENDAR]
        if missed:
            self._ahead_ms += replies[missed[0]][1] - self._now_ms()
            again = await self._evaluate(script, [calls[index] for index in missed])
            for index, reply in zip(missed, again, strict=True):
                replies[index] = reply
        if any(reply[0] == _BEYOND_CALENDAR for reply in replies):
            raise RedisUnavailable("the clock of Redis leaps")
        return replies

    async def _evaluate(self, script: Script, calls: Sequence[tuple[int, list[Any]]]) -> list[list[int]]:
        now_ms = self._now_ms()
        arguments = [self._arguments(organization_id, now_ms, batch) for organization_id, batch in calls]
        with translated():
            replies = await self._called("EVALSHA", script.sha, arguments)
            unknown = [index for index, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
            loaded = await self._called("EVAL", script.source, [arguments[index] for index in unknown])
            for index, reply in zip(unknown, loaded, strict=True):
                replies[index] = reply
            for reply in replies:
                if isinstance(reply, Exception):
                    raise reply
        return replies

    def _now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self._ahead_ms if self._clock is None else self._clock()

    def _calendar(self, organization_id: int) -> Calendar:
        name = self._time_zone_of(organization_id)
        if name not in self._calendars:
            self._calendars[name] = Calendar(name)
        return self._calendars[name]

    def _arguments(self, organization_id: int, now_ms: int, batch: list[Any]) -> _Arguments:
        key = f"{self._prefix}:{{o{organization_id}}}:gate"
        calendar = self._calendar(organization_id).around(now_ms)
        given = "" if self._clock is None else str(now_ms)
        seen = self._seen.get(organization_id, 0)
        return key, seen, given, orjson.dumps([calendar, *batch])

    async def _called(self, command: str, script: str, arguments: Sequence[_Arguments]) -> list[Any]:
        def commands(run_id: str) -> list[Command]:
            identity = self._identity or run_id
            return [(command, script, 1, each[0], identity, *each[1:]) for each in arguments]

        return await self._calls.run(commands) if arguments else []


def connect(settings: RedisSettings) -> Client:
    """A client that connects when it is first used."""
    closed_transport.mend()
    timeout_s = settings.timeout_ms / 1000
    kind: type[Client] = RedisCluster if settings.cluster else Redis
    return kind.from_url(
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


def _check_facts(facts: Any) -> None:
    if "run_id" not in facts:
        raise RedisUnfit("Redis hides its run id, without which a loss of its data would not be noticed")
    policy = facts.get("maxmemory_policy")
    if policy != "noeviction":
        raise RedisUnfit(f"Redis must not evict counters: set maxmemory-policy to noeviction, not {policy}")
