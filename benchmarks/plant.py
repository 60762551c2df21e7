"""What every benchmark of the whole runs on: real servers, a simulated provider, and worker processes."""

import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.services import KafkaServer, PostgresServer, RedisServer
from tests.services.server import Server
from tests.stack import RealStack, SimulatorProcess, WorkerProcess

GROUPS = (("admit", "reserve", "dispatch"), ("settle", "retry"))
"""A process for each core; jobs are handed over in the first."""


@dataclass(frozen=True)
class Plant:
    stack: RealStack
    provider: SimulatorProcess
    dispatch: WorkerProcess
    """With ADMIT and RESERVE."""
    settle: WorkerProcess
    """With RETRY."""
    servers: Mapping[str, Server]
    """`kafka`, `postgres`, `redis`."""

    @property
    def workers(self) -> list[WorkerProcess]:
        return [self.dispatch, self.settle]


@asynccontextmanager
async def plant(latency_ms: int, **environment: str) -> AsyncIterator[Plant]:
    """`latency_ms`: of the provider; `environment`: settings of the workers, by variable."""
    with (
        tempfile.TemporaryDirectory(prefix="headworks-bench-") as folder,
        KafkaServer() as kafka,
        PostgresServer() as postgres,
        RedisServer() as redis,
    ):
        async with postgres.fresh_database() as database_url:
            stack = RealStack(kafka.bootstrap_servers, database_url, redis.url, Path(folder))
            try:
                servers = {"kafka": kafka, "postgres": postgres, "redis": redis}
                yield await _started(stack, servers, latency_ms, environment)
            finally:
                stack.close()


async def _started(
    stack: RealStack, servers: Mapping[str, Server], latency_ms: int, environment: Mapping[str, str]
) -> Plant:
    await stack.prepare()
    provider = stack.simulator("--latency", str(latency_ms))
    workers = [stack.worker(*pools, wait=False, extra=environment) for pools in GROUPS]
    for worker in workers:
        worker.wait_until_ready()
    dispatch, settle = workers
    return Plant(stack, provider, dispatch, settle, servers)


def say(step: str) -> None:
    print(f"... {step}", flush=True)
