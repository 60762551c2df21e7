"""Commands on a SQLite database of the test's own, in an empty folder; some on the embedded Kafka."""

import asyncio
import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from broker.kafka.embedded import EmbeddedKafka
from broker.kafka.producing import Producer
from broker.records import Outgoing
from broker.settings import KafkaSettings, Settings
from headworks.cli import app
from schemas.dead_letter import DeadLetter

Invoke = Callable[..., Result]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADWORKS_DATABASE__URL", f"sqlite+aiosqlite:///{tmp_path}/headworks.db")
    monkeypatch.setenv("HEADWORKS_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    for name in ("KEY_ENCRYPTION_KEY", "SEAL_KEY"):
        monkeypatch.setenv(f"HEADWORKS_SECRETS__{name}", base64.b64encode(bytes(range(32))).decode())


@pytest.fixture
def invoke() -> Invoke:
    def invoke(command: str, *more: str) -> Result:
        return CliRunner().invoke(app, [*command.split(), *more])

    return invoke


@pytest.fixture
def database(invoke: Invoke) -> None:
    assert invoke("db upgrade").exit_code == 0


@pytest.fixture
def project(database: None, invoke: Invoke) -> str:
    assert invoke("orgs create acme").exit_code == 0
    assert invoke("projects create acme/search").exit_code == 0
    return "acme/search"


@pytest.fixture
def embedded(embedded_kafka: EmbeddedKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWORKS_KAFKA__BOOTSTRAP_SERVERS", embedded_kafka.bootstrap_servers)
    monkeypatch.setenv("HEADWORKS_KAFKA__APPEND_TIME", "receipt")
    monkeypatch.setenv("HEADWORKS_KAFKA__IDEMPOTENCE", "false")


@pytest.fixture
def indexer(project: str, embedded: None, invoke: Invoke) -> str:
    assert invoke(f"apps create indexer --project {project}").exit_code == 0
    return "indexer"


async def _bury(kafka: KafkaSettings) -> None:
    note = DeadLetter(stage="admit", reason="bad_signature", origin="jobs.bulk/0/0", at_ms=1)
    producer = Producer(kafka)
    await producer.start()
    try:
        await producer.send(
            Outgoing(
                "dead", None, b"a prompt", [("hw-dead-letter", note.model_dump_json().encode())], partition=0
            )
        )
    finally:
        await producer.stop()


@pytest.fixture
def buried(indexer: str, invoke: Invoke) -> str:
    """The coordinate of a dead letter."""
    assert invoke("topics apply").exit_code == 0
    asyncio.run(_bury(Settings.load().kafka))
    return str(json.loads(invoke("dead list --limit 1 --json").stdout)[0]["coordinate"])
