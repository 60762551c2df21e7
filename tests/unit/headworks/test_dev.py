"""What `headworks dev` leaves in its folder: enough to use it, and to look after it."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from broker.identity.credential import Credential
from broker.settings import ProviderTarget, Settings
from headworks.dev import DevStack, _settings
from headworks.simulate.server import SimulatedProvider
from workers.app import Worker


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:8400/v1", None])
def test_who_takes_its_environment_sees_the_same_installation(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, base_url: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    providers = {"simulated": ProviderTarget(base_url=base_url)} if base_url else {}
    made = _settings("127.0.0.1:9", tmp_path / "headworks.db", providers)
    provider = SimpleNamespace(base_url=base_url) if base_url else None
    stack = DevStack(
        made,
        Credential.generate("dev"),
        cast(SimulatedProvider | None, provider),
        cast(Worker, None),
        tmp_path / "headworks.db",
    )
    for name, value in stack.environment().items():
        monkeypatch.setenv(name, value)
    seen = Settings.load()
    assert (seen.database, seen.redis, seen.secrets) == (made.database, made.redis, made.secrets)
    assert seen.providers == made.providers
    for name in ("bootstrap_servers", "idempotence", "append_time", "partitions", "reply_partitions"):
        assert getattr(seen.kafka, name) == getattr(made.kafka, name)
