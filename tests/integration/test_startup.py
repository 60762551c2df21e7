"""A worker whose surroundings are not as it needs them: what it says at its start, and how it waits later."""

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio

from tests.services import PostgresServer, Server
from tests.services.server import free_port
from tests.stack import Account, CommandProcess, Load, RealStack, until
from tests.stack.fixtures import Pipeline
from tests.stack.jobs import chats

OPEN_MAX = 20
SOME = 40
OTHER_KEY = "A" * 43 + "="
STEADY = {"latency": {"kind": "uniform", "min_ms": 20, "max_ms": 100}}


class Said(NamedTuple):
    code: str
    error: str


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def refused(
    stack: RealStack, postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """The one line of each worker that could not start, by what was wrong. All start side by side."""
    await stack.application(f"sealed-{secrets.token_hex(4)}")
    away = f"127.0.0.1:{free_port()}"
    async with postgres.fresh_database() as behind:
        wrong = {
            "kafka": {"HEADWORKS_KAFKA__BOOTSTRAP_SERVERS": away},
            "database": {"HEADWORKS_DATABASE__URL": f"postgresql+asyncpg://u@{away}/d"},
            "redis": {"HEADWORKS_REDIS__URL": f"redis://{away}/0"},
            "console": {"HEADWORKS_REDIS__URL": f"redis://{away}/0", "HEADWORKS_LOG__FORMAT": "console"},
            "behind": {"HEADWORKS_DATABASE__URL": behind},
            "misspelt": {"HEADWORKS_CONFIG": str(misspelt(tmp_path_factory.mktemp("misspelt")))},
            "secret": {"HEADWORKS_SECRETS__KEY_ENCRYPTION_KEY": OTHER_KEY},
        }
        started = {
            name: stack.command("worker", "all", "--health-port", "0", **environment)
            for name, environment in wrong.items()
        }
        return {name: only_line(process) for name, process in started.items()}


def misspelt(folder: Path) -> Path:
    config = folder / "headworks.toml"
    config.write_text("[kafka]\npartitons = 6\n")
    return config


def only_line(process: CommandProcess) -> str:
    assert process.wait() == 1, process.tail()
    [line] = process.log.read_text().splitlines()
    return line


def said(line: str) -> Said:
    event = json.loads(line)
    assert event["event"] == "worker_failed"
    return Said(event["code"], event["error"])


# at the start


@pytest.mark.parametrize(
    ("server", "code", "remedy"),
    [
        ("kafka", "kafka_unavailable", "kafka.bootstrap_servers"),
        ("database", "database_unavailable", "database.url"),
        ("redis", "redis_unavailable", "redis.url"),
    ],
)
def test_a_server_that_is_absent_is_named(
    refused: Mapping[str, str], server: str, code: str, remedy: str
) -> None:
    told = said(refused[server])
    assert told.code == code
    assert remedy in told.error


def test_people_are_told_in_one_line_too(refused: Mapping[str, str]) -> None:
    assert refused["console"].startswith("error [redis_unavailable]: ")


def test_a_database_without_its_migrations_is_not_worked_on(refused: Mapping[str, str]) -> None:
    told = said(refused["behind"])
    assert told.code == "database_behind"
    assert "headworks db upgrade" in told.error


def test_a_misspelt_setting_is_named_with_the_right_one(refused: Mapping[str, str]) -> None:
    told = said(refused["misspelt"])
    assert told.code == "settings_invalid"
    assert "kafka.partitons" in told.error
    assert "did you mean partitions" in told.error


def test_a_secret_that_did_not_make_the_keys_is_refused(refused: Mapping[str, str]) -> None:
    told = said(refused["secret"])
    assert told.code == "secret_missing"
    assert OTHER_KEY not in told.error


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
