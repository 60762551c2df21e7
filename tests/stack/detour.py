"""Proxies between the processes of a stack and the servers that they need."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Literal

from tests.services import KafkaServer, PostgresServer, RedisServer
from tests.services.proxy import Proxy
from tests.services.server import free_port
from tests.stack.processes import SimulatorProcess
from tests.stack.stack import RealStack

Part = Literal["kafka", "postgres", "redis", "provider"]
Proxies = Mapping[Part, Proxy]


@contextmanager
def kafka_behind_proxy() -> Iterator[tuple[KafkaServer, Proxy]]:
    """A Kafka that sends all its clients to the proxy, whichever way they come."""
    with (
        KafkaServer(advertised_port=free_port()) as kafka,
        Proxy(kafka.port, kafka.advertised_port) as proxy,
    ):
        yield kafka, proxy


@contextmanager
def detour(
    stack: RealStack,
    to_kafka: Proxy,
    postgres: PostgresServer,
    redis: RedisServer,
    provider: SimulatorProcess,
) -> Iterator[Proxies]:
    """Every process that `stack` starts from now on passes the proxies; the tests' own reading does not."""
    ports = {"postgres": postgres.port, "redis": redis.port, "provider": provider.port}
    with ExitStack() as opened:
        to = {part: opened.enter_context(Proxy(port)) for part, port in ports.items()}
        urls = {
            "HEADWORKS_DATABASE__URL": stack.settings.database.url.get_secret_value(),
            "HEADWORKS_REDIS__URL": stack.settings.redis.url.get_secret_value(),
            "HEADWORKS_PROVIDERS__SIMULATED__BASE_URL": provider.base_url,
        }
        for (variable, url), part in zip(urls.items(), ports, strict=True):
            stack.extra[variable] = url.replace(f":{ports[part]}/", f":{to[part].port}/")
        yield {
            "kafka": to_kafka,
            "postgres": to["postgres"],
            "redis": to["redis"],
            "provider": to["provider"],
        }
