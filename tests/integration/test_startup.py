"""A worker whose surroundings are not as it needs them: what it says at its start, and how it waits later."""

import json
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.services import Server
from tests.services.server import free_port
from tests.stack import Account, Load, RealStack, until
from tests.stack.fixtures import Pipeline
from tests.stack.jobs import chats

OPEN_MAX = 20
SOME = 40
STEADY = {"latency": {"kind": "uniform", "min_ms": 20, "max_ms": 100}}


class Said(NamedTuple):
    code: str
    error: str


def said(stack: RealStack, **environment: str) -> Said:
    """The one line that a worker logs when it cannot start."""
    event = json.loads(only_line(stack, **environment))
    assert event["event"] == "worker_failed"
    return Said(event["code"], event["error"])


def only_line(stack: RealStack, **environment: str) -> str:
    process = stack.command("worker", "all", "--health-port", "0", **environment)
    assert process.wait() == 1, process.tail()
    [line] = process.log.read_text().splitlines()
    return line


# at the start


@pytest.mark.parametrize(
    ("variable", "url", "code", "remedy"),
    [
        ("KAFKA__BOOTSTRAP_SERVERS", "{address}", "kafka_unavailable", "kafka.bootstrap_servers"),
        ("DATABASE__URL", "postgresql+asyncpg://u@{address}/d", "database_unavailable", "database.url"),
        ("REDIS__URL", "redis://{address}/0", "redis_unavailable", "redis.url"),
    ],
)
def test_a_server_that_is_absent_is_named(
    stack: RealStack, variable: str, url: str, code: str, remedy: str
) -> None:
    address = f"127.0.0.1:{free_port()}"
    told = said(stack, **{f"HEADWORKS_{variable}": url.format(address=address)})
    assert told.code == code
    assert remedy in told.error


def test_people_are_told_in_one_line_too(stack: RealStack) -> None:
    address = f"redis://127.0.0.1:{free_port()}/0"
    line = only_line(stack, HEADWORKS_REDIS__URL=address, HEADWORKS_LOG__FORMAT="console")
    assert line.startswith("error [redis_unavailable]: ")


def test_a_database_without_its_migrations_is_not_worked_on(stack: RealStack, database_url: str) -> None:
    told = said(stack, HEADWORKS_DATABASE__URL=database_url)
    assert told.code == "database_behind"
    assert "headworks db upgrade" in told.error


def test_a_misspelt_setting_is_named_with_the_right_one(stack: RealStack, tmp_path: Path) -> None:
    config = tmp_path / "headworks.toml"
    config.write_text("[kafka]\npartitons = 6\n")
    told = said(stack, HEADWORKS_CONFIG=str(config))
    assert told.code == "settings_invalid"
    assert "kafka.partitons" in told.error
    assert "did you mean partitions" in told.error


def test_a_secret_that_did_not_make_the_keys_is_refused(pipeline: Pipeline) -> None:
    other = "A" * 43 + "="
    told = said(pipeline.stack, HEADWORKS_SECRETS__KEY_ENCRYPTION_KEY=other)
    assert told.code == "secret_missing"
    assert other not in told.error


# later


@pytest.fixture(params=["kafka", "postgres", "redis_server"])
def server(request: pytest.FixtureRequest) -> Server:
    found: Server = request.getfixturevalue(request.param)
    return found


async def test_a_server_that_goes_away_is_waited_for(pipeline: Pipeline, server: Server, name: str) -> None:
    pipeline.provider.behave(STEADY)
    credential = await pipeline.stack.application(name)

    async def is_ready() -> bool:
        return pipeline.worker.ready()

    async def is_not_ready() -> bool:
        return not pipeline.worker.ready()

    async with pipeline.stack.client(credential) as client, Load(client, chats(), OPEN_MAX) as load:
        await load.reached(SOME)
        server.kill()
        await until(is_not_ready, "the worker to say that it is not ready")
        server.start()
        await until(is_ready, "the worker to be ready again")
        await load.reached(len(load.results) + SOME)
        load.enough()
    account = await Account.of(pipeline.stack, pipeline.provider, name, load.job_ids)
    assert len(account.calls) == len(load.job_ids)
    await account.holds_good(load.job_ids, load.results)
