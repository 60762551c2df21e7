"""What the real servers have in common: a port, a home, and a start that returns when the server answers."""

import os
import random
import shutil
import socket
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from tests.services.container import engine_answers
from tests.services.runner import Runner, ServerUnavailable

HOST = "127.0.0.1"
_PORTS = range(20_000, 32_000)
"""Below the ports that systems hand out to outgoing connections: one of these could take a stopped server's
place, or a client that keeps trying could even connect to itself."""
_given: set[int] = set()
"""By this process."""


class Server(ABC):
    """A real server on a free port. `stop` and `start` keep port and data, as a machine's restart would."""

    name: ClassVar[str]
    start_timeout_s: ClassVar[float] = 90

    def __init__(self) -> None:
        self.port = free_port()
        self._home: Path | None = None
        self._runner: Runner | None = None
        self._up = False
        self._paused = False

    @abstractmethod
    def _in_container(self) -> Runner: ...

    @abstractmethod
    def _as_process(self, home: Path) -> Runner:
        """Prepare the data under `home` too. Raises ServerUnavailable where the program is missing."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether the server takes requests by now."""

    def start(self) -> None:
        """Return when the server answers. Raises ServerUnavailable, with its last words."""
        if self._runner is None:
            self._runner = self._prepare()
        self._runner.start()
        self._up = True
        self._wait_until_it_answers(self._runner)

    def stop(self) -> None:
        self._running().stop()
        self._up = self._paused = False

    def kill(self) -> None:
        """End it as a power cut would."""
        self._running().kill()
        self._up = self._paused = False

    def pause(self) -> None:
        """Freeze it: connections stay open, nothing answers."""
        self._running().pause()
        self._paused = True

    def resume(self) -> None:
        self._running().resume()
        self._paused = False

    def restore(self) -> None:
        """Make it answer again, whatever was done to it."""
        if self._paused:
            self.resume()
        if not self._up:
            self.start()

    def close(self) -> None:
        """Stop it and remove its data."""
        if self._runner is not None:
            self._runner.close()
        if self._home is not None:
            shutil.rmtree(self._home)
        self._runner = self._home = None
        self._up = self._paused = False

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _prepare(self) -> Runner:
        if engine_answers():
            return self._in_container()
        self._home = Path(tempfile.mkdtemp(prefix=f"headworks-{self.name}-"))
        return self._as_process(self._home)

    def _running(self) -> Runner:
        if self._runner is None or not self._up:
            raise RuntimeError(f"{self.name} is not running")
        return self._runner

    def _wait_until_it_answers(self, runner: Runner) -> None:
        deadline = time.monotonic() + self.start_timeout_s
        while not self._answers():
            if runner.wait(timeout_s=0.05):
                raise ServerUnavailable(f"{self.name} ended while it started:\n{runner.log_tail()}")
            if time.monotonic() > deadline:
                waited = f"{self.name} did not answer within {self.start_timeout_s:g} s"
                raise ServerUnavailable(f"{waited}:\n{runner.log_tail()}")


def free_port() -> int:
    """A port of the loopback interface that nobody listens on, nor was given before: they may be about to."""
    ports = [port for port in _own_ports() if port not in _given]
    for port in random.sample(ports, k=len(ports)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if _binds(probe, port):
                _given.add(port)
                return port
    raise ServerUnavailable(f"no free port between {_PORTS.start} and {_PORTS.stop - 1}")


def ask(port: int, question: bytes, *, timeout_s: float = 1) -> bytes:
    """The first bytes that a server of this machine answers, or none where it does not answer in time."""
    try:
        with socket.create_connection((HOST, port), timeout=timeout_s) as connection:
            connection.sendall(question)
            return connection.recv(1024)
    except OSError:
        return b""


def _own_ports() -> range:
    """Test processes that run side by side share no port: what one stops finds its own free again."""
    worker, workers = (
        os.environ.get("PYTEST_XDIST_WORKER", "gw0"),
        os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"),
    )
    return _PORTS[int(worker.removeprefix("gw")) :: int(workers)]


def _binds(probe: socket.socket, port: int) -> bool:
    try:
        probe.bind((HOST, port))
    except OSError:
        return False
    return True
