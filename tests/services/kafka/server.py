"""A real Apache Kafka: one node that is broker and controller (KRaft)."""

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

_JVM = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_CLUSTER_ID = "SGVhZHdvcmtzLXRlc3RzIQ"
_CONTAINER_PORT = 9092
_CONTAINER_CONTROLLER_PORT = 9093
_SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
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
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "5",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
}
"""What one node needs, and what makes tests quick: few threads that hand requests on between them, no wait
before a group's first rebalance, few inner partitions, and after a kill a new start that is let in within two
seconds. Topics are made on purpose or not at all."""


class KafkaServer(Server):
    name: ClassVar[str] = "kafka"

    @property
    def bootstrap_servers(self) -> str:
        return f"{HOST}:{self.port}"

    def _answers(self) -> bool:
        """Whether it serves metadata with a broker in it; a listener alone is open earlier."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})
        try:
            return bool(admin.list_topics(timeout=1).brokers)
        except KafkaException:
            return False

    def _in_container(self) -> Runner:
        settings = _SETTINGS | _listeners(
            "0.0.0.0", _CONTAINER_PORT, _CONTAINER_CONTROLLER_PORT, self.bootstrap_servers
        )
        environment = {f"KAFKA_{name.upper().replace('.', '_')}": value for name, value in settings.items()}
        image = f"apache/kafka:{jars.version()}"
        return Container(
            image, inner_port=_CONTAINER_PORT, port=self.port, environment=environment, command=[]
        )

    def _as_process(self, home: Path) -> Runner:
        java, classes = find_java(), f"{jars.fetch()}/*"
        settings = _SETTINGS | _listeners(HOST, self.port, free_port(), self.bootstrap_servers)
        properties = home / "server.properties"
        properties.write_text(_properties(settings | {"log.dirs": str(home / "logs")}))
        tool = [java, *_JVM, "-cp", classes, "kafka.tools.StorageTool"]
        run([*tool, "format", "--cluster-id", _CLUSTER_ID, "--config", str(properties)], home=home)
        return LocalProcess([java, *_JVM, "-cp", classes, "kafka.Kafka", str(properties)], home)


def _listeners(host: str, port: int, controller_port: int, advertised: str) -> dict[str, str]:
    return {
        "listeners": f"PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{advertised}",
        "controller.quorum.voters": f"1@{HOST}:{controller_port}",
    }


def _properties(settings: dict[str, str]) -> str:
    return "".join(f"{name}={value}\n" for name, value in settings.items())
