"""A part that stands still, is slow, drops its connections or goes silent: jobs wait, and nothing is redone.

The lease of workers is longer here than any part is away, so no call may be made again for nothing.
"""

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from schemas.reasons import Failure
from tests.forked import Forked
from tests.services import KafkaServer, PostgresServer, RedisServer
from tests.stack import Account, Load, RealStack, SimulatorProcess, WorkerProcess, until
from tests.stack.detour import Part, Proxies, detour, kafka_behind_proxy
from tests.stack.fixtures import HEARTBEAT_INTERVAL_MS, QUICK, SESSION_TIMEOUT_MS
from tests.stack.jobs import chats
from workers.pools import POOLS

NEEDED: tuple[Part, ...] = ("kafka", "postgres", "redis")
"""Without them nothing goes on; without a provider its jobs alone wait."""

OPEN_MAX = 20
SOME = 40
DELAY_S = 0.2
CUTS = 5
TRIES = 3
STEADY = {"latency": {"kind": "uniform", "min_ms": 20, "max_ms": 100}}
IMPATIENT = {
    "HEADWORKS_KAFKA__REQUEST_TIMEOUT_MS": "5000",
    "HEADWORKS_DATABASE__STATEMENT_TIMEOUT_MS": "3000",
    "HEADWORKS_REDIS__TIMEOUT_MS": "2500",
    "HEADWORKS_PROVIDERS__SIMULATED__TIMEOUT_S": "3",
    "HEADWORKS_DISPATCH__LEASE_S": "60",
}
"""Short, but many times what an answer takes through a proxy that delays, on a machine that is busy."""


@dataclass(frozen=True)
class Surroundings:
    """Two workers with all pools, and between them and each part a proxy. Kafka's clients pass one too."""

    stack: RealStack
    provider: SimulatorProcess
    workers: tuple[WorkerProcess, ...]
    proxies: Proxies
    pauses: dict[Part, Callable[[], None]]
    resumes: dict[Part, Callable[[], None]]

    async def both_ready(self) -> None:
        async def ready() -> bool:
            return all(worker.ready() for worker in self.workers)

        await until(ready, "both workers to be ready")

    async def neither_ready(self) -> None:
        async def away() -> bool:
            return not any(worker.ready() for worker in self.workers)

        await until(away, "both workers to say that they are not ready")

    async def nothing_is_called(self) -> None:
        """While a part is away for good: what was begun ends, and however often is tried, nothing follows."""

        async def idle() -> bool:
            return int(self.provider.counts()["in_flight"]) == 0

        await until(idle, "the calls under way to end")
        calls = self.provider.counts()["total"]
        before = self._troubles()

        async def tried() -> bool:
            return self._troubles() >= before + TRIES

        await until(tried, f"{TRIES} more tries")
        assert self.provider.counts()["total"] == calls

    def _troubles(self) -> float:
        return sum(worker.counted("headworks_troubles_total") for worker in self.workers)

    def restore(self) -> None:
        for resume in self.resumes.values():
            resume()
        for proxy in self.proxies.values():
            proxy.restore()
        self.provider.behave(STEADY)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def built(
    postgres: PostgresServer, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Surroundings]:
    with ExitStack() as opened:
        kafka, to_kafka = opened.enter_context(kafka_behind_proxy())
        async with postgres.fresh_database() as database_url:
            stack = await _stack(kafka, database_url, redis_server, tmp_path_factory.mktemp("away"))
            opened.callback(stack.close)
            provider = stack.simulator()
            proxies = opened.enter_context(detour(stack, to_kafka, postgres, redis_server, provider))
            workers = tuple(stack.worker(*POOLS, wait=False, extra=QUICK | IMPATIENT) for _ in range(2))
            for worker in workers:
                worker.wait_until_ready()
            yield Surroundings(
                stack,
                provider,
                workers,
                proxies,
                {
                    "kafka": kafka.pause,
                    "postgres": postgres.pause,
                    "redis": redis_server.pause,
                    "provider": lambda: provider.send(signal.SIGSTOP),
                },
                {
                    "kafka": kafka.resume,
                    "postgres": postgres.resume,
                    "redis": redis_server.resume,
                    "provider": lambda: provider.send(signal.SIGCONT),
                },
            )
            assert [worker.terminate() for worker in workers] == [0, 0]
            stack.close()


async def _stack(kafka: KafkaServer, database_url: str, redis: RedisServer, folder: Path) -> RealStack:
    stack = RealStack(
        kafka.bootstrap_servers,
        database_url,
        redis.url,
        folder,
        Forked,
        session_timeout_ms=SESSION_TIMEOUT_MS,
        heartbeat_interval_ms=HEARTBEAT_INTERVAL_MS,
        request_timeout_ms=int(IMPATIENT["HEADWORKS_KAFKA__REQUEST_TIMEOUT_MS"]),
        partitions=3,
        reply_partitions=1,
    )
    await stack.prepare()
    return stack


@pytest_asyncio.fixture(loop_scope="session")
async def away(built: Surroundings) -> AsyncIterator[Surroundings]:
    """With every part there, and an ordinary provider."""
    built.restore()
    await built.both_ready()
    yield built
    built.restore()


async def books_are_in_order(away: Surroundings, name: str, load: Load) -> Account:
    account = await Account.of(away.stack, away.provider, name, load.job_ids)
    account.each_ended_once(load.job_ids, load.results)
    account.each_attempt_is_charged_once(load.results)
    account.each_call_is_intended()
    assert account.lost() == set()
    await account.nothing_is_held()
    assert await away.stack.ledger.broken_chains() == []
    return account


async def no_call_was_made_again(away: Surroundings, name: str, load: Load) -> None:
    account = await books_are_in_order(away, name, load)
    assert account.verdicts == []
    assert len(account.calls) == len(load.job_ids)


# a part without which nothing goes on


@pytest.mark.parametrize("how", ["paused", "silent"])
@pytest.mark.parametrize("part", NEEDED)
async def test_a_part_that_does_not_answer_is_waited_for(
    away: Surroundings, part: Part, how: str, name: str
) -> None:
    begin = away.pauses[part] if how == "paused" else away.proxies[part].silence
    end = away.resumes[part] if how == "paused" else away.proxies[part].restore
    credential = await away.stack.application(name)
    async with away.stack.client(credential) as client, Load(client, chats(), OPEN_MAX) as load:
        await load.reached(SOME)
        begin()
        await away.neither_ready()
        await away.nothing_is_called()
        end()
        await away.both_ready()
        await load.reached(len(load.results) + SOME)
        load.enough()
    await no_call_was_made_again(away, name, load)


@pytest.mark.parametrize("part", NEEDED)
async def test_readiness_tells_of_it_when_there_is_no_work(away: Surroundings, part: Part) -> None:
    away.proxies[part].refuse()
    await away.neither_ready()
    away.proxies[part].restore()
    await away.both_ready()


@pytest.mark.parametrize("part", NEEDED)
async def test_a_part_that_is_slow_slows_jobs_and_nothing_else(
    away: Surroundings, part: Part, name: str
) -> None:
    credential = await away.stack.application(name)
    async with away.stack.client(credential) as client, Load(client, chats(), OPEN_MAX) as load:
        await load.reached(SOME)
        away.proxies[part].delay_s = DELAY_S
        await load.reached(len(load.results) + SOME)
        assert all(worker.ready() for worker in away.workers)
        load.enough()
    await no_call_was_made_again(away, name, load)


@pytest.mark.parametrize("part", NEEDED)
async def test_connections_that_are_cut_are_made_again(away: Surroundings, part: Part, name: str) -> None:
    credential = await away.stack.application(name)
    async with away.stack.client(credential) as client, Load(client, chats(), OPEN_MAX) as load:
        for _ in range(CUTS):
            await load.reached(len(load.results) + OPEN_MAX // 2)
            away.proxies[part].cut()
        await load.reached(len(load.results) + SOME)
        load.enough()
    await away.both_ready()
    await no_call_was_made_again(away, name, load)


# the provider


@pytest.mark.parametrize("how", ["paused", "silent"])
async def test_a_provider_that_does_not_answer_costs_attempts(
    away: Surroundings, how: str, name: str
) -> None:
    begin = away.pauses["provider"] if how == "paused" else away.proxies["provider"].silence
    end = away.resumes["provider"] if how == "paused" else away.proxies["provider"].restore
    credential = await away.stack.application(name)

    async def timed_out() -> bool:
        return len(await away.stack.ledger.verdicts(name)) >= OPEN_MAX // 2

    async with away.stack.client(credential) as client, Load(client, chats(), OPEN_MAX) as load:
        await load.reached(SOME)
        begin()
        await until(timed_out, "calls to time out")
        assert all(worker.ready() for worker in away.workers)
        end()
        await load.reached(len(load.results) + SOME)
        load.enough()
    account = await books_are_in_order(away, name, load)
    assert {row.reason for row in account.verdicts} == {Failure.TIMEOUT}


async def test_a_provider_that_drops_connections_costs_attempts(away: Surroundings, name: str) -> None:
    credential = await away.stack.application(name)
    async with away.stack.client(credential) as client, Load(client, chats(), OPEN_MAX) as load:
        for _ in range(CUTS):
            await load.reached(len(load.results) + OPEN_MAX // 2)
            away.proxies["provider"].cut()
        load.enough()
    account = await books_are_in_order(away, name, load)
    assert {row.reason for row in account.verdicts} <= {Failure.CONNECTION_LOST}
