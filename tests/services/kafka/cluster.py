"""Three Kafka nodes, each broker and controller: any one of them may be killed."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from confluent_kafka.admin import AdminClient

from tests.services.kafka.server import KafkaServer
from tests.services.server import free_port

NODES = (1, 2, 3)
_HEAP_MB = 256


class KafkaCluster:
    def __init__(self) -> None:
        controllers = {node_id: free_port() for node_id in NODES}
        self.nodes = {
            node_id: KafkaServer(node_id=node_id, controllers=controllers, heap_mb=_HEAP_MB)
            for node_id in NODES
        }

    @property
    def bootstrap_servers(self) -> str:
        return ",".join(node.bootstrap_servers for node in self.nodes.values())

    def leader(self, topic: str, partition: int) -> KafkaServer:
        """The node that takes what is written there."""
        found = AdminClient({"bootstrap.servers": self.bootstrap_servers}).list_topics(topic, timeout=10)
        return self.nodes[found.topics[topic].partitions[partition].leader]

    def in_sync(self, topic: str, partition: int) -> int:
        """How many nodes have all that was written there."""
        found = AdminClient({"bootstrap.servers": self.bootstrap_servers}).list_topics(topic, timeout=10)
        return len(found.topics[topic].partitions[partition].isrs)

    def __enter__(self) -> Self:
        try:
            self._each(KafkaServer.start)
        except BaseException:
            self._each(KafkaServer.close)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._each(KafkaServer.close)

    def _each(self, act: Callable[[KafkaServer], None]) -> None:
        """At the same time: no node answers before most of them are up."""
        with ThreadPoolExecutor(len(NODES)) as pool:
            list(pool.map(act, self.nodes.values()))
