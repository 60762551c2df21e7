"""A real Apache Kafka: a node that is broker and controller (KRaft), alone or one of several."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.services.command import run
from tests.services.container import Container
from tests.services.kafka import jars
from tests.services.process import LocalProcess
from tests.services.programs import find_java
from tests.services.runner import Runner
from tests.services.server import HOST, Server, free_port

_JVM = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_HEAP_MB = 512
_CLUSTER_ID = "SGVhZHdvcmtzLXRlc3RzIQ"
_CONTAINER_PORT = 9092
_CONTAINER_CONTROLLER_PORT = 9093
_SETTINGS = {
    "process.roles": "broker,controller",
    "num.network.threads": "1",
    "num.io.threads": "2",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "auto.create.topics.enable": "false",
    "broker.heartbeat.interval.ms": "500",
    "broker.session.timeout.ms": "2000",
    "unclean.leader.election.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "500",
    "offsets.topic.num.partitions": "5",
    "transaction.state.log.num.partitions": "5",
}
"""What a node needs, and what makes tests quick: few threads that hand requests on between them, no wait
before a group's first rebalance, few inner partitions, and after a kill a new start that is let in within two
seconds. Topics are made on purpose or not at all."""
_OWN_TOPICS = ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic")


class KafkaServer(Server):
    """`advertised_port` is where clients are told to come: to a proxy's.

    `controllers`: the ports on which the nodes of a cluster vote, by their ids. All of them take its place
    together: a node answers once most of them are up.
    """

    name: ClassVar[str] = "kafka"

    def __init__(
        self,
        *,
        advertised_port: int | None = None,
        node_id: int = 1,
        controllers: Mapping[int, int] | None = None,
        heap_mb: int = _HEAP_MB,
    ) -> None:
        super().__init__()
        self.advertised_port = self.port if advertised_port is None else advertised_port
        self._node_id = node_id
        self._is_alone = controllers is None
        self._controllers = {node_id: free_port()} if controllers is None else controllers
        self._jvm = (f"-Xmx{heap_mb}m", *_JVM)

    @property
    def bootstrap_servers(self) -> str:
        return f"{HOST}:{self.advertised_port}"

    def _answers(self) -> bool:
        """Whether it serves metadata with a broker in it; a listener alone is open earlier."""
        admin = AdminClient({"bootstrap.servers": f"{HOST}:{self.port}", "log_level": 0})
        try:
            return bool(admin.list_topics(timeout=1).brokers)
        except KafkaException:
            return False

    def _in_container(self) -> Runner:
        if self._is_alone:
            settings = self._settings("0.0.0.0", _CONTAINER_PORT, {self._node_id: _CONTAINER_CONTROLLER_PORT})
        else:
            settings = self._settings(HOST, self.port, self._controllers)
        environment = {f"KAFKA_{name.upper().replace('.', '_')}": value for name, value in settings.items()}
        return Container(
            f"apache/kafka:{jars.version()}",
            inner_port=_CONTAINER_PORT,
            port=self.port,
            environment=environment,
            command=[],
            of_host=not self._is_alone,
        )

    def _as_process(self, home: Path) -> Runner:
        java, classes = find_java(), f"{jars.fetch()}/*"
        settings = self._settings(HOST, self.port, self._controllers)
        properties = home / "server.properties"
        properties.write_text(_properties(settings | {"log.dirs": str(home / "logs")}))
        tool = [java, *self._jvm, "-cp", classes, "kafka.tools.StorageTool"]
        run([*tool, "format", "--cluster-id", _CLUSTER_ID, "--config", str(properties)], home=home)
        return LocalProcess([java, *self._jvm, "-cp", classes, "kafka.Kafka", str(properties)], home)

    def _settings(self, host: str, port: int, controllers: Mapping[int, int]) -> dict[str, str]:
        replicas = min(3, len(controllers))
        voters = ",".join(f"{node_id}@{HOST}:{voting}" for node_id, voting in controllers.items())
        return {
            **_SETTINGS,
            **{f"{topic}.replication.factor": str(replicas) for topic in _OWN_TOPICS},
            **{f"{topic}.min.isr": str(min(2, replicas)) for topic in _OWN_TOPICS[1:]},
            "node.id": str(self._node_id),
            "listeners": f"PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controllers[self._node_id]}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap_servers}",
            "controller.quorum.voters": voters,
        }


def _properties(settings: dict[str, str]) -> str:
    return "".join(f"{name}={value}\n" for name, value in settings.items())
