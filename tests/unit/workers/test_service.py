"""What keeps a worker from starting is said once, before any server is asked."""

import socket
from collections.abc import Iterator

import pytest

from broker.errors import SettingsInvalid
from broker.settings import HealthSettings, Settings
from workers.app import Worker
from workers.pools import POOLS
from workers.service import running


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


async def _start(health: HealthSettings) -> None:
    async with running(Worker(Settings(health=health), POOLS)):
        raise AssertionError("it cannot have started")


async def test_a_health_port_that_is_taken(taken_port: int, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SettingsInvalid, match=f"port {taken_port} on 127.0.0.1 .it is taken.: give another"):
        await _start(HealthSettings(port=taken_port))
    assert caplog.records == []


async def test_a_health_address_that_is_not_this_host_s(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SettingsInvalid, match=r"on 203\.0\.113\.1 .*HEADWORKS_HEALTH__PORT"):
        await _start(HealthSettings(host="203.0.113.1", port=9))
    assert caplog.records == []
