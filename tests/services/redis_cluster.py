"""A real Redis Cluster of three nodes, without replicas."""

import time
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from redis import Redis

from tests.services.container import Container
from tests.services.process import LocalProcess
from tests.services.programs import REDIS
from tests.services.redis import IMAGE, OPTIONS, RedisServer
from tests.services.runner import Runner, ServerUnavailable
from tests.services.server import HOST, free_port

SLOTS = 16_384
NODES = 3
_JOIN_TIMEOUT_S = 30


class RedisNode(RedisServer):
    """One of a cluster, which knows no others yet."""

    name: ClassVar[str] = "redis-node"

    def __init__(self) -> None:
        super().__init__()
        self.bus_port = free_port()

    def _in_container(self) -> Runner:
        command = ["redis-server", "--protected-mode", "no", *self._place(), *OPTIONS]
        return Container(
            IMAGE, inner_port=self.port, port=self.port, environment={}, command=command, of_host=True
        )

    def _as_process(self, home: Path) -> Runner:
        return LocalProcess([REDIS.find(), "--dir", str(home), *self._place(), *OPTIONS], home)

    def _place(self) -> list[str]:
        ports = ["--port", str(self.port), "--cluster-port", str(self.bus_port)]
        return ["--bind", HOST, *ports, "--cluster-enabled", "yes"]


class RedisClusterServer:
    """`with RedisClusterServer() as cluster`: every slot is served."""

    def __init__(self) -> None:
        self.nodes = [RedisNode() for _ in range(NODES)]

    @property
    def url(self) -> str:
        """Of any node."""
        return self.nodes[0].url

    def __enter__(self) -> Self:
        try:
            for node in self.nodes:
                node.start()
            self._join()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        for node in self.nodes:
            node.close()

    def _join(self) -> None:
        first, *others = self.nodes
        for number, node in enumerate(self.nodes):
            start, end = SLOTS * number // NODES, SLOTS * (number + 1) // NODES - 1
            _ask(node, "CLUSTER", "ADDSLOTSRANGE", start, end)
        for node in others:
            _ask(first, "CLUSTER", "MEET", HOST, node.port, node.bus_port)
        deadline = time.monotonic() + _JOIN_TIMEOUT_S
        while not all(_is_whole(node) for node in self.nodes):
            if time.monotonic() > deadline:
                raise ServerUnavailable(f"the nodes found no cluster within {_JOIN_TIMEOUT_S} s")
            time.sleep(0.05)


def _ask(node: RedisNode, *command: str | int) -> Any:
    with Redis(host=HOST, port=node.port) as client:
        return client.execute_command(*command)


def _is_whole(node: RedisNode) -> bool:
    facts = _ask(node, "CLUSTER", "INFO")
    said = facts if isinstance(facts, dict) else dict(line.split(":") for line in facts.decode().split())
    return said["cluster_state"] == "ok" and int(said["cluster_size"]) == NODES
