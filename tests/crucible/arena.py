"""What a run is fought on: servers, several worker processes a pool, a provider, applications."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from schemas.topics import Lane, RetryDelay
from tests.crucible import mischief
from tests.crucible.mortal import PLACES, VARIABLE, MortalWorker
from tests.crucible.plan import LEASE_S, RENEW_S, Point
from tests.services import KafkaServer, PostgresServer, RedisServer
from tests.services.proxy import Proxy
from tests.stack import RealStack, SimulatorProcess, WorkerProcess, until
from tests.stack.detour import Proxies, kafka_behind_proxy

GROUPS = (("admit", "reserve", "dispatch"), ("dispatch",), ("settle", "retry"))
"""The first hands jobs over from pool to pool; what comes by topics is called by the second too."""
WORKERS_A_GROUP = 2
HOLD_TTL_S = 10
_KAFKA = {"session_timeout_ms": 3_000, "heartbeat_interval_ms": 300, "reply_partitions": 3}
_SETTINGS = {
    "HEADWORKS_DISPATCH__LEASE_S": str(int(LEASE_S)),
    "HEADWORKS_DISPATCH__LEASE_RENEW_S": str(RENEW_S),
    "HEADWORKS_DISPATCH__TAKEOVER_CHECK_MS": "200",
    "HEADWORKS_RESERVE__HOLD_TTL_S": str(HOLD_TTL_S),
    "HEADWORKS_RESERVE__PARK_RECHECK_MS": "500",
    "HEADWORKS_RETRY__BASE_MS": "50",
    "HEADWORKS_RETRY__MAX_MS": "2000",
    "HEADWORKS_PROVIDERS__SIMULATED__TIMEOUT_S": "4",
    "HEADWORKS_DRAIN_S": "10",
}
"""What makes waits short, so that a run meets many faults."""


@dataclass(frozen=True)
class Arena:
    stack: RealStack
    kafka: KafkaServer
    postgres: PostgresServer
    redis: RedisServer
    provider: SimulatorProcess
    proxies: Proxies
    workers: list[WorkerProcess]

    def mortal(self, point: Point, passes: int) -> tuple[WorkerProcess, MortalWorker]:
        """A worker of the pools that pass the point, and one to take its place, which dies there."""
        group = PLACES[point].group
        worker = self.workers[group * WORKERS_A_GROUP]
        armed = {VARIABLE: f"{point}:{passes}"}
        log = self.stack.folder / f"mortal-{time.time_ns()}.log"
        environment = {**self.stack.environment(), **_SETTINGS, **armed}
        return worker, MortalWorker(GROUPS[group], environment, log)

    def further(self, group: int) -> WorkerProcess:
        """One more worker of the group, not started."""
        log = self.stack.folder / f"further-{time.time_ns()}.log"
        return WorkerProcess(GROUPS[group], {**self.stack.environment(), **_SETTINGS}, log)

    def members(self, group: int) -> list[WorkerProcess]:
        first = group * WORKERS_A_GROUP
        return self.workers[first : first + WORKERS_A_GROUP]

    def readers(self, group: int) -> list[WorkerProcess]:
        """The workers of all groups that read what this one reads."""
        sharing = [other for other, pools in enumerate(GROUPS) if set(pools) & set(GROUPS[group])]
        return [worker for other in sharing for worker in self.members(other)]

    async def made_whole(self) -> None:
        """Return when every server answers and every worker is ready."""
        for proxy in self.proxies.values():
            proxy.restore()
        for server in (self.kafka, self.postgres, self.redis):
            await asyncio.to_thread(server.restore)
        await mischief.refuse_writes(self.postgres.url, on=False)
        await mischief.fill(self.redis.url, on=False)
        await asyncio.gather(
            *(until(partial(_is_ready, worker), f"{worker.name} to be ready") for worker in self.workers)
        )


async def _is_ready(worker: WorkerProcess) -> bool:
    """One that has ended is started anew, as a supervisor would: it may have found a server away."""
    if not worker.is_alive():
        worker.start(wait=False)
    return await asyncio.to_thread(worker.ready)


def consumer_groups(group: int) -> list[str]:
    """By which the pools of a group read."""
    ways = {pool: RetryDelay if pool == "retry" else Lane for pool in GROUPS[group]}
    return [f"headworks.{pool}.{way.value}" for pool, of in ways.items() for way in of]


@dataclass(frozen=True)
class Servers:
    kafka: KafkaServer
    to_kafka: Proxy
    postgres: PostgresServer
    redis: RedisServer


@contextmanager
def servers() -> Iterator[Servers]:
    with kafka_behind_proxy() as (kafka, proxy), PostgresServer() as postgres, RedisServer() as redis:
        yield Servers(kafka, proxy, postgres, redis)


async def prepared(found: Servers, database_url: str, folder: Path) -> RealStack:
    stack = RealStack(found.kafka.bootstrap_servers, database_url, found.redis.url, folder, **_KAFKA)
    await stack.prepare()
    return stack


def workers_of(stack: RealStack) -> list[WorkerProcess]:
    """Started, and not awaited."""
    return [
        stack.worker(*pools, wait=False, extra=_SETTINGS) for pools in GROUPS for _ in range(WORKERS_A_GROUP)
    ]
