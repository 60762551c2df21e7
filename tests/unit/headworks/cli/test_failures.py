"""A failure is one line: for people by the top of the command line, in a log of JSON lines as an event."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from broker.errors import Conflict, DatabaseUnavailable
from headworks.cli.failures import told
from tests.unit.headworks.cli.conftest import Invoke


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root, library = logging.getLogger(), logging.getLogger("aiokafka")
    handlers, level, library_level = root.handlers[:], root.level, library.level
    yield
    root.handlers, library.propagate = handlers, True
    root.setLevel(level)
    library.setLevel(library_level)
    structlog.reset_defaults()


@pytest.fixture
def without_kafka(database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWORKS_REDIS__URL", "memory://")


def test_what_to_do_is_said_where_the_text_cannot_know_it() -> None:
    assert told(DatabaseUnavailable("away")) == (
        "away; start PostgreSQL, or mend database.url; `headworks doctor` checks it"
    )
    assert told(Conflict("it is there already")) == "it is there already"


def test_where_headworks_dev_runs_an_operator_is_told_how_to_reach_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".headworks").mkdir()
    (tmp_path / ".headworks" / "dev.env").write_text("HEADWORKS_DATABASE__URL=sqlite+aiosqlite:///x.db\n")
    assert "headworks dev" not in told(DatabaseUnavailable("away"))
    monkeypatch.delenv("HEADWORKS_KAFKA__BOOTSTRAP_SERVERS")
    hint = "; for the `headworks dev` of this folder: set -a; . .headworks/dev.env; set +a"
    assert told(DatabaseUnavailable("away")).endswith(hint)


def test_a_worker_that_cannot_start_says_so_in_json_once(without_kafka: None, invoke: Invoke) -> None:
    result = invoke("worker all --health-port 0")
    assert (result.exit_code, result.stdout) == (1, "")
    [line] = result.stderr.splitlines()
    event = json.loads(line)
    assert (event["event"], event["level"], event["code"]) == ("worker_failed", "error", "kafka_unavailable")
    assert "127.0.0.1:1" in event["error"]
    assert "start Kafka, or mend kafka.bootstrap_servers" in event["error"]


def test_a_worker_that_cannot_start_says_so_to_people_once(
    without_kafka: None, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWORKS_LOG__FORMAT", "console")
    result = invoke("worker all --health-port 0")
    assert (result.exit_code, result.stdout) == (1, "")
    [line] = result.stderr.splitlines()
    assert line.startswith("error [kafka_unavailable]: could not reach Kafka at 127.0.0.1:1: ")


def test_settings_that_are_wrong_are_an_event_too(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWORKS_REDIS__URL", "redis://:hidden@localhost:port")
    result = invoke("worker all")
    [line] = result.stderr.splitlines()
    assert json.loads(line)["code"] == "settings_invalid"
    assert "hidden" not in line
