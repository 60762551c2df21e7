"""A real Redis, as Headworks wants one: it keeps nothing on disk and evicts nothing."""

from pathlib import Path
from typing import ClassVar

from tests.services.container import Container
from tests.services.process import LocalProcess
from tests.services.programs import REDIS
from tests.services.runner import Runner
from tests.services.server import HOST, Server, ask

IMAGE = "redis:7.2.10"
OPTIONS = ["--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction"]


class RedisServer(Server):
    """Stopped and started again it is empty and has another run id."""

    name: ClassVar[str] = "redis"

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    def flush(self) -> None:
        """Drop every key. The server-wide run id stays, and so does what scripts it has loaded."""
        answer = ask(self.port, b"*2\r\n$8\r\nFLUSHALL\r\n$4\r\nSYNC\r\n", timeout_s=10)
        if answer != b"+OK\r\n":
            raise RuntimeError(f"redis did not flush: {answer!r}")

    def _answers(self) -> bool:
        return ask(self.port, b"*1\r\n$4\r\nPING\r\n") == b"+PONG\r\n"

    def _in_container(self) -> Runner:
        command = ["redis-server", "--protected-mode", "no", *OPTIONS]
        return Container(IMAGE, inner_port=6379, port=self.port, environment={}, command=command)

    def _as_process(self, home: Path) -> Runner:
        place = ["--bind", HOST, "--port", str(self.port), "--dir", str(home)]
        return LocalProcess([REDIS.find(), *place, *OPTIONS], home)
