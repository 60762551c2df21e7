"""A server as a Docker container, by testcontainers, which removes it even when we are killed."""

import functools
import gc
import os
import time
import warnings
from collections.abc import Mapping

from docker.errors import DockerException
from docker.models.containers import Container as Handle
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient

from tests.services.runner import ServerUnavailable

ENGINE_TIMEOUT_S = 3
LOG_LINES_SHOWN = 30
_LOOPBACK = {"localhost", "127.0.0.1"}


@functools.cache
def engine_answers() -> bool:
    """Whether this machine has an engine to ask for containers; HEADWORKS_TEST_SERVERS=local forbids it."""
    if os.environ.get("HEADWORKS_TEST_SERVERS") == "local":
        return False
    with warnings.catch_warnings():
        # Docker's client drops its socket unclosed where nobody answers.
        warnings.simplefilter("ignore", ResourceWarning)
        answer = _ping()
        gc.collect()
    return answer


def _ping() -> bool:
    try:
        client = DockerClient(timeout=ENGINE_TIMEOUT_S)
        return client.host() in _LOOPBACK and bool(client.client.ping())
    except (DockerException, OSError):
        return False


class Container:
    """An image whose `inner_port` is reached at `port` of this machine.

    One `of_host` shares this machine's network, as containers must that speak to each other under the names
    that they have here; it listens where its settings say. That needs an engine on Linux.
    """

    def __init__(
        self,
        image: str,
        *,
        inner_port: int,
        port: int,
        environment: Mapping[str, str],
        command: list[str],
        of_host: bool = False,
    ) -> None:
        self._container = DockerContainer(image).with_envs(**environment)
        if of_host:
            self._container.with_kwargs(network_mode="host")
        else:
            self._container.with_bind_ports(inner_port, port)
        if command:
            self._container.with_command(command)
        self._started = False

    def start(self) -> None:
        if self._started:
            self._handle.start()
            return
        try:
            self._container.start()
        except DockerException as error:
            advice = "HEADWORKS_TEST_SERVERS=local uses local processes instead"
            raise ServerUnavailable(f"Docker has no {self._container.image} ({error}); {advice}") from error
        self._started = True

    def stop(self) -> None:
        if self._status() == "paused":
            self._handle.unpause()
        self._handle.stop(timeout=20)

    def kill(self) -> None:
        self._handle.kill()
        self._handle.wait(timeout=20)

    def pause(self) -> None:
        self._handle.pause()

    def resume(self) -> None:
        if self._status() == "paused":
            self._handle.unpause()

    def wait(self, timeout_s: float) -> bool:
        if self._status() not in {"exited", "dead"}:
            time.sleep(timeout_s)
        return self._status() in {"exited", "dead"}

    def log_tail(self) -> str:
        return bytes(self._handle.logs(tail=LOG_LINES_SHOWN)).decode(errors="replace")

    def close(self) -> None:
        self._container.stop()

    @property
    def _handle(self) -> Handle:
        return self._container.get_wrapped_container()

    def _status(self) -> str:
        self._handle.reload()
        return str(self._handle.status)
