"""Real Kafka, PostgreSQL and Redis for tests, benchmarks and development.

Each is a container where a Docker engine answers, and a local process elsewhere. `python -m tests.services`
installs what the local ones need, or keeps all three up.
"""

from tests.services.kafka.server import KafkaServer
from tests.services.postgres import PostgresServer
from tests.services.redis import RedisServer
from tests.services.redis_cluster import RedisClusterServer
from tests.services.runner import ServerUnavailable
from tests.services.server import Server

__all__ = [
    "KafkaServer",
    "PostgresServer",
    "RedisClusterServer",
    "RedisServer",
    "Server",
    "ServerUnavailable",
]
