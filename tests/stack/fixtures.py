"""One stack for all tests of a session: topics are names of the whole cluster."""

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from broker.identity.credential import Credential
from tests.forked import Forked
from tests.services import KafkaServer, PostgresServer, RedisServer
from tests.stack.processes import SimulatorProcess, WorkerProcess
from tests.stack.stack import RealStack

SESSION_TIMEOUT_MS = 3_000
HEARTBEAT_INTERVAL_MS = 300
REPLY_PARTITIONS = 3


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack(
    kafka: KafkaServer,
    postgres: PostgresServer,
    redis_server: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[RealStack]:
    folder: Path = tmp_path_factory.mktemp("stack")
    async with postgres.fresh_database() as database_url:
        made = RealStack(
            kafka.bootstrap_servers,
            database_url,
            redis_server.url,
            folder,
            Forked,
            session_timeout_ms=SESSION_TIMEOUT_MS,
            heartbeat_interval_ms=HEARTBEAT_INTERVAL_MS,
            reply_partitions=REPLY_PARTITIONS,
        )
        await made.prepare()
        try:
            yield made
        finally:
            made.close()


@pytest.fixture(autouse=True)
def own_processes(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test starts takes no work of the next, for it ends with the test though that fails."""
    found = request.getfixturevalue("stack") if "stack" in request.fixturenames else None
    with found.ending() if isinstance(found, RealStack) else nullcontext():
        yield


@dataclass(frozen=True)
class Pipeline:
    """All pools in one process, and the provider that they call."""

    stack: RealStack
    provider: SimulatorProcess
    worker: WorkerProcess
    walled: Credential
    """Of an application that has topics of its own to publish on."""


QUICK = {
    "HEADWORKS_RETRY__BASE_MS": "50",
    "HEADWORKS_RESERVE__PARK_RECHECK_MS": "100",
    "HEADWORKS_DISPATCH__TAKEOVER_CHECK_MS": "100",
    "HEADWORKS_HEALTH__STALL_AFTER_S": "2",
    "HEADWORKS_ADMIT__DEAD_LETTER_SAMPLE_PER_S": "1000",
    "HEADWORKS_CONCURRENCY__CALLS_MIN": "1000",
    "HEADWORKS_CONCURRENCY__RETRY_AFTER_MAX_S": "0",
}
"""What makes waits short, so that tests are, keeps every dead letter, and lets no test limit or put off the
calls of the next by how its provider answered.
"""


@pytest.fixture(scope="module")
def beside() -> dict[str, str]:
    """Of a module's own: what else stands in the worker's environment."""
    return {}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def running(stack: RealStack, beside: dict[str, str]) -> AsyncIterator[Pipeline]:
    provider = stack.simulator()
    walled = await stack.application(f"walled-{secrets.token_hex(4)}", walled=True)
    worker = stack.worker("all", extra=QUICK | beside)
    yield Pipeline(stack, provider, worker, walled)
    assert worker.terminate() == 0, worker.tail()
    provider.terminate()


@pytest.fixture
def pipeline(running: Pipeline) -> Pipeline:
    """With a provider that answers at once."""
    running.provider.behave({})
    return running


@pytest.fixture
def name() -> str:
    """Of an application that nobody had before."""
    return f"app-{secrets.token_hex(6)}"
