"""What the doctor says of settings that no worker would start with."""

from pathlib import Path

import pytest

from broker.ops.doctor import diagnose
from broker.policy.injection import readers


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("BASE_URL", "http://hidden:99999/v1"),
        ("BASE_URL", "http://u:hidden@127.0.0.1:1/v1"),
        ("API_KEY", "hidden é"),
    ],
)
async def test_a_provider_that_workers_would_refuse_spoils_no_other_check(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, value: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content in {
        "KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "DATABASE__URL": "sqlite+aiosqlite:///headworks.db",
        "REDIS__URL": "memory://",
        "PROVIDERS__X__BASE_URL": "http://127.0.0.1:1/v1",
        f"PROVIDERS__X__{variable}": value,
    }.items():
        monkeypatch.setenv(f"HEADWORKS_{name}", content)
    checks = {check.name: check for check in await diagnose()}
    assert {"settings", "kafka", "redis"} <= checks.keys()
    assert checks["provider x"].code == "settings_invalid"
    assert checks["provider x"].detail.startswith(f"providers.x.{variable.lower()}: ")
    assert "hidden" not in repr(checks)


@pytest.mark.parametrize(("named", "code"), [("nowhere", "settings_invalid"), (".", None)])
async def test_the_folder_of_tokenizers_is_looked_at(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, named: str, code: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADWORKS_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("HEADWORKS_DATABASE__URL", "sqlite+aiosqlite:///headworks.db")
    monkeypatch.setenv("HEADWORKS_REDIS__URL", "memory://")
    monkeypatch.setenv("HEADWORKS_TOKENIZERS", str(tmp_path / named))
    checks = {check.name: check for check in await diagnose()}
    assert checks["prices"].code == code


@pytest.mark.parametrize(("compiled", "told"), [(True, "what was compiled"), (False, "install a C compiler")])
async def test_says_whether_the_detector_was_compiled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, compiled: bool, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(readers, "COMPILED", compiled)
    monkeypatch.setenv("HEADWORKS_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("HEADWORKS_DATABASE__URL", "sqlite+aiosqlite:///headworks.db")
    monkeypatch.setenv("HEADWORKS_REDIS__URL", "memory://")
    checks = {check.name: check for check in await diagnose()}
    assert checks["detector"].ok
    assert told in checks["detector"].detail
