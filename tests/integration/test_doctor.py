"""`headworks doctor` on real servers: all well, and each thing that can be wrong, told with what mends it."""

import asyncio
import base64
import json
import secrets
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
import redis
from pydantic import SecretStr
from typer.testing import CliRunner

from broker.identity.credential import Credential
from broker.identity.directory import ProjectSettings
from broker.kafka import topics
from broker.kafka.cluster import connect
from broker.ops.bootstrap import bootstrap
from broker.ops.checks import Check
from broker.ops.doctor import diagnose
from broker.ops.doctor_client import diagnose_client
from broker.ops.projects import Address
from broker.settings import DatabaseSettings, KafkaSettings
from broker.store.database import Database
from broker.store.migrate import upgrade
from headworks.cli import app
from tests.services import KafkaServer

ALL_CHECKS = [
    "settings",
    "secrets",
    "prices",
    "detector",
    "database",
    "database clock",
    "migrations",
    "keys",
    "kafka",
    "topics",
    "kafka writing",
    "kafka clock",
    "redis",
    "redis clock",
    "provider simulated",
]
KEK = secrets.token_bytes(32)


def _base64(key: bytes) -> str:
    return base64.b64encode(key).decode()


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings but the test's own."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def kafka_settings(kafka: KafkaServer) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=kafka.bootstrap_servers)


@pytest_asyncio.fixture
async def provider() -> AsyncIterator[str]:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.fixture
def environment(
    monkeypatch: pytest.MonkeyPatch,
    kafka_settings: KafkaSettings,
    database_url: str,
    redis_url: str,
    provider: str,
) -> None:
    for name, value in {
        "KAFKA__BOOTSTRAP_SERVERS": kafka_settings.bootstrap_servers,
        "DATABASE__URL": database_url,
        "REDIS__URL": redis_url,
        "SECRETS__KEY_ENCRYPTION_KEY": _base64(KEK),
        "SECRETS__SEAL_KEY": _base64(secrets.token_bytes(32)),
        "PROVIDERS__SIMULATED__BASE_URL": provider,
    }.items():
        monkeypatch.setenv(f"HEADWORKS_{name}", value)


@pytest_asyncio.fixture
async def credential(environment: None, kafka_settings: KafkaSettings, database_url: str) -> Credential:
    """A whole installation with one application."""
    await upgrade(database_url)
    database = await Database.open(DatabaseSettings(url=SecretStr(database_url)))
    name = f"app-{uuid.uuid4().hex[:8]}"
    made = await bootstrap(database, KEK, Address("acme", "search"), name, ProjectSettings())
    await database.close()
    await topics.apply(kafka_settings, [name])
    return made


async def _failed() -> dict[str, Check]:
    return {check.name: check for check in await diagnose() if not check.ok}


async def test_all_is_well(credential: Credential) -> None:
    checks = await diagnose()
    assert [check.name for check in checks] == ALL_CHECKS
    assert [check for check in checks if not check.ok] == []
    told = {check.name: check.detail for check in checks}
    assert told["kafka"].endswith("Kafka 4.0 or later")
    assert told["database"].startswith("PostgreSQL ")
    assert told["redis"].startswith("Redis ")


async def test_what_is_away_spoils_no_other_check(
    credential: Credential, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    monkeypatch.setenv("HEADWORKS_REDIS__URL", f"redis://127.0.0.1:{unused_tcp_port}/0")
    failed = await _failed()
    assert failed.keys() == {"redis"}
    assert (failed["redis"].code, failed["redis"].fix) == (
        "redis_unavailable",
        "start Redis, or mend redis.url",
    )


async def test_with_nothing_there_every_server_is_named(
    environment: None, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    gone = f"127.0.0.1:{unused_tcp_port}"
    monkeypatch.setenv("HEADWORKS_KAFKA__BOOTSTRAP_SERVERS", gone)
    monkeypatch.setenv("HEADWORKS_DATABASE__URL", f"postgresql+asyncpg://headworks@{gone}/headworks")
    monkeypatch.setenv("HEADWORKS_REDIS__URL", f"redis://{gone}/0")
    monkeypatch.setenv("HEADWORKS_PROVIDERS__SIMULATED__BASE_URL", f"http://{gone}")
    codes = {name: check.code for name, check in (await _failed()).items()}
    assert codes == {
        "kafka": "kafka_unavailable",
        "database": "database_unavailable",
        "redis": "redis_unavailable",
        "provider simulated": "provider_unreachable",
    }


async def test_a_typo_in_the_settings_is_all_there_is_to_say(
    environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWORKS_KAFKA__BOOTSTRAP_SERVER", "127.0.0.1:9092")
    [check] = await diagnose()
    assert (check.name, check.ok, check.code) == ("settings", False, "settings_invalid")
    assert "kafka.bootstrap_server" in check.detail


async def test_missing_secrets(credential: Credential, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEADWORKS_SECRETS__KEY_ENCRYPTION_KEY")
    failed = await _failed()
    assert {name: check.code for name, check in failed.items()} == {"secrets": "secret_missing"}
    assert "`headworks keys generate-secret`" in str(failed["secrets"].fix)


async def test_a_key_encryption_key_that_does_not_fit(
    credential: Credential, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWORKS_SECRETS__KEY_ENCRYPTION_KEY", _base64(secrets.token_bytes(32)))
    failed = await _failed()
    assert failed.keys() == {"keys"}
    assert f"does not fit key {credential.key_id}" in failed["keys"].detail


async def test_a_database_behind_on_migrations(environment: None, kafka_settings: KafkaSettings) -> None:
    await topics.apply(kafka_settings, [])
    failed = await _failed()
    assert failed.keys() == {"migrations"}
    assert (failed["migrations"].code, failed["migrations"].fix) == (
        "database_behind",
        "headworks db upgrade",
    )


async def test_an_application_without_its_topic(
    credential: Credential, database_url: str, kafka_settings: KafkaSettings
) -> None:
    database = await Database.open(DatabaseSettings(url=SecretStr(database_url)))
    name = f"app-{uuid.uuid4().hex[:8]}"
    await bootstrap(database, KEK, Address("acme", "search"), name, ProjectSettings())
    await database.close()
    failed = await _failed()
    assert failed.keys() == {"topics"}
    assert (failed["topics"].detail, failed["topics"].fix) == (
        f"replies.{name} is missing",
        "headworks topics apply",
    )


async def test_a_topic_that_does_not_stamp_the_append_time(
    credential: Credential, kafka_settings: KafkaSettings
) -> None:
    async with connect(kafka_settings) as cluster:
        await cluster.set_settings("probe", {"message.timestamp.type": "CreateTime"})
        failed = await _failed()
        await topics.apply(kafka_settings, [])
    assert failed.keys() == {"topics", "kafka clock"}
    assert failed["topics"].detail.startswith(
        "probe: message.timestamp.type is CreateTime, not LogAppendTime"
    )
    assert await _failed() == {}


async def test_a_redis_that_evicts(credential: Credential, evicting: None) -> None:
    failed = await _failed()
    assert failed.keys() == {"redis"}
    assert failed["redis"].code == "redis_unfit"
    assert failed["redis"].fix is not None
    assert "noeviction" in failed["redis"].fix


@pytest.fixture
def evicting(redis_url: str) -> Iterator[None]:
    with redis.Redis.from_url(redis_url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        yield
        client.config_set("maxmemory-policy", "noeviction")


async def test_without_a_provider_every_job_would_be_refused(
    credential: Credential, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HEADWORKS_PROVIDERS__SIMULATED__BASE_URL")
    failed = await _failed()
    assert failed.keys() == {"providers"}


async def test_a_price_book_that_is_none(
    credential: Credential, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "prices.json").write_text("{}")
    monkeypatch.setenv("HEADWORKS_PRICES", str(tmp_path / "prices.json"))
    failed = await _failed()
    assert {name: check.code for name, check in failed.items()} == {"prices": "price_book_invalid"}


async def test_an_application_is_well(credential: Credential, kafka_settings: KafkaSettings) -> None:
    checks = await diagnose_client(kafka_settings, credential.reveal())
    assert [check.name for check in checks] == [
        "credential",
        "kafka",
        "topics",
        "kafka writing",
        "kafka clock",
    ]
    assert [check for check in checks if not check.ok] == []
    shown = " ".join(str(part) for check in checks for part in check)
    assert credential.reveal().rpartition(".")[2] not in shown


@pytest.mark.parametrize(
    ("text", "code"), [(None, "secret_missing"), ("hw.app.nonsense", "settings_invalid")]
)
async def test_an_application_without_a_credential(
    credential: Credential, kafka_settings: KafkaSettings, text: str | None, code: str
) -> None:
    [failed] = [check for check in await diagnose_client(kafka_settings, text) if not check.ok]
    assert (failed.name, failed.code) == ("credential", code)
    assert "nonsense" not in failed.detail


async def test_an_application_without_a_reply_topic(
    credential: Credential, kafka_settings: KafkaSettings
) -> None:
    other = Credential.generate(f"app-{uuid.uuid4().hex[:8]}")
    [failed] = [check for check in await diagnose_client(kafka_settings, other.reveal()) if not check.ok]
    assert (failed.name, failed.code) == ("topics", "topics_missing")
    assert f"replies.{other.application}" in failed.detail


async def test_an_application_without_kafka(credential: Credential, unused_tcp_port: int) -> None:
    gone = KafkaSettings(bootstrap_servers=f"127.0.0.1:{unused_tcp_port}")
    checks = await diagnose_client(gone, credential.reveal())
    assert [(check.name, check.ok) for check in checks] == [("credential", True), ("kafka", False)]


def test_the_command_says_it_in_json_and_by_its_exit_code(credential: Credential) -> None:
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert result.exit_code == 0, result.output
    assert [check["name"] for check in json.loads(result.stdout)] == ALL_CHECKS


def test_the_command_says_what_to_mend(credential: Credential, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEADWORKS_SECRETS__SEAL_KEY")
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert "FAILED  secrets" in result.stdout
    assert "To mend, in this order:\n  1. set the secrets that all other workers have;" in result.stdout
    assert "\n     for secrets [secret_missing]\n" in result.stdout


def test_what_is_to_be_done_stands_in_the_order_to_do_it(
    environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWORKS_KAFKA__PARTITIONS", "7")
    result = CliRunner().invoke(app, ["doctor"])
    steps = result.stdout.partition("To mend, in this order:\n")[2].splitlines()
    assert steps[:2] == ["  1. headworks db upgrade", "     for migrations [database_behind]"]
    assert steps[2].startswith("  2. headworks topics apply")


def test_the_command_as_an_application_sees_it(
    credential: Credential, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWORKS_CREDENTIAL", credential.reveal())
    result = CliRunner().invoke(app, ["doctor", "--client"])
    assert result.exit_code == 0, result.output
    assert "All is well." in result.stdout
