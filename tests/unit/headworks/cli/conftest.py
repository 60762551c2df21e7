"""Commands on a SQLite database of the test's own, in an empty folder."""

import base64
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from headworks.cli import app

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
