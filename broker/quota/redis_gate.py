"""The gate on Redis 7, or on the embedded server, which runs the same scripts."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Self, TypeVar

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from broker.errors import GateClosed, RedisUnfit
from broker.quota import closed_transport
from broker.quota.calls import calls_of
from broker.quota.counters import Counters, NodeOf, unpack_counters
from broker.quota.gate import (
    Corrections,
    Granted,
    Over,
    Release,
    ReserveRequest,
    Settled,
    Settlement,
    StartRequest,
)
from broker.quota.grouping import Group, Item, by_organization, in_order
from broker.quota.inspection import Inspection, unpack_inspection
from broker.quota.packing import (
    pack_correct,
    pack_nodes,
    pack_release,
    pack_reserve,
    pack_settle,
    pack_start,
    unpack_answers,
)
from broker.quota.rebuild import RebuildSource, rebuild_organization
from broker.quota.running import Runner
from broker.quota.scripts import Script, Scripts
from broker.quota.translation import translated
from broker.settings import RedisSettings
from broker.store.grouped import Grouped

T = TypeVar("T")
_CLOSED = "Redis lost its counters; nothing passes until they are rebuilt from the ledger"
_EMBEDDED_IDENTITY = "embedded"

GROUP_MAX = 100
"""Reservations of callers that are sent together: a run of a script costs Redis as much as two or three
requests in it, and from here on that is little of the whole.
"""

Client = Redis | RedisCluster


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
        self._is_embedded = bool(identity)
        self._scripts = Scripts.load()
        self._rebuilding = asyncio.Lock()
        self._reserving = Grouped(self._reserve, GROUP_MAX)
        calls = calls_of(client, is_embedded=self._is_embedded)
        self._runner = Runner(calls, prefix, time_zone_of, identity, clock)

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
        if self._is_embedded:
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
        return frozenset(self._runner.closed)

    async def reserve(self, requests: Sequence[ReserveRequest]) -> list[Granted | Over | Settled]:
        """What comes while one round trip is under way goes together in the next."""
        return await self._reserving.submit(requests)

    async def _reserve(self, requests: Sequence[ReserveRequest]) -> list[Granted | Over | Settled]:
        def unpack(reply: list[int], asked: Sequence[ReserveRequest]) -> list[Granted | Over | Settled]:
            return unpack_answers(reply, [request.hold_id for request in asked])

        return await self._ask(self._scripts.reserve, requests, pack_reserve, unpack)

    async def start(self, requests: Sequence[StartRequest]) -> list[Granted | Over | Settled]:
        def unpack(reply: list[int], asked: Sequence[StartRequest]) -> list[Granted | Over | Settled]:
            return unpack_answers(reply, [request.hold.id for request in asked])

        return await self._ask(self._scripts.start, requests, pack_start, unpack)

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        await self._run(self._scripts.settle, by_organization(settlements), pack_settle)

    async def correct(self, batches: Sequence[Corrections]) -> list[bool]:
        """Count what charges became more, or less, after they were settled, once an id, organization and
        month. Of each whether its month is still counted in; of its days, those that are open are.

        Raises RedisUnavailable, GateClosed.
        """
        return await self._ask(
            self._scripts.correct, batches, pack_correct, lambda reply, _: list(map(bool, reply))
        )

    async def release(self, releases: Sequence[Release]) -> None:
        await self._run(self._scripts.release, by_organization(releases), pack_release)

    async def jobs_in_flight(self, nodes: Sequence[NodeOf]) -> list[int]:
        return await self._ask(self._scripts.jobs, nodes, pack_nodes, lambda reply, _: reply)

    async def counters(self, nodes: Sequence[NodeOf]) -> list[Counters]:
        return await self._ask(
            self._scripts.counters, nodes, pack_nodes, lambda reply, _: unpack_counters(reply)
        )

    async def inspect(self, organization_id: int, nodes: Sequence[str]) -> Inspection:
        """All holds, and what these nodes count of them, as of one moment. It takes Redis some milliseconds
        for ten thousand holds: for checks alone. Raises RedisUnavailable, GateClosed.
        """
        (answer,) = await self._runner.run(self._scripts.inspect, [(organization_id, [list(nodes)])])
        if answer is None:
            raise GateClosed(_CLOSED)
        return unpack_inspection(answer, nodes)

    async def rebuild(self, source: RebuildSource) -> None:
        """Bring the counters of the closed organizations back from the ledger, and open the gate for them.

        Of several processes one rebuilds while the others wait for it. Ask it after GateClosed, holding no
        transaction, then repeat the call that was turned away.
        Raises Unavailable, RedisUnfit.
        """
        async with self._rebuilding:
            if not self._runner.closed:
                return
            await self.check()
            for organization_id in sorted(self._runner.closed):
                # As of a moment when its own gate is closed.
                async with source.exclusive(organization_id) as ledger:
                    if not await self._is_open(organization_id):
                        call, calendar = (
                            self._rebuild_call(organization_id),
                            self._runner.calendar(organization_id),
                        )
                        await rebuild_organization(call, organization_id, calendar, ledger)
                self._runner.closed.discard(organization_id)

    async def _is_open(self, organization_id: int) -> bool:
        (answer,) = await self._runner.run(self._scripts.settle, [(organization_id, [[]])])
        return answer is not None

    def _rebuild_call(self, organization_id: int) -> Callable[[list[Any]], Awaitable[list[int]]]:
        async def call(batch: list[Any]) -> list[int]:
            (answer,) = await self._runner.run(self._scripts.rebuild, [(organization_id, batch)])
            if answer is None:
                raise GateClosed("the rebuild of the counters was overtaken; try again")
            return answer

        return call

    async def _ask(
        self,
        script: Script,
        items: Sequence[Item],
        pack: Callable[[Sequence[Item]], list[Any]],
        unpack: Callable[[list[int], Sequence[Item]], Sequence[T]],
    ) -> list[T]:
        """One answer an item, in the same order. Raises GateClosed."""
        groups = by_organization(items)
        replies = await self._run(script, groups, pack)
        found = [unpack(reply, group.items) for group, reply in zip(groups, replies, strict=True)]
        return in_order(groups, found)

    async def _run(
        self, script: Script, groups: Sequence[Group[Item]], pack: Callable[[Sequence[Item]], list[Any]]
    ) -> list[list[int]]:
        """The scripts' answers, a group each. Raises GateClosed when the gate was closed for one."""
        calls = [(group.organization_id, pack(group.items)) for group in groups]
        answers = [answer for answer in await self._runner.run(script, calls) if answer is not None]
        if len(answers) < len(calls):
            raise GateClosed(_CLOSED)
        return answers


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


def _check_facts(facts: Any) -> None:
    if "run_id" not in facts:
        raise RedisUnfit("Redis hides its run id, without which a loss of its data would not be noticed")
    policy = facts.get("maxmemory_policy")
    if policy != "noeviction":
        raise RedisUnfit(f"Redis must not evict counters: set maxmemory-policy to noeviction, not {policy}")
