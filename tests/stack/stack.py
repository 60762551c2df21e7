"""One installation on real servers: database, topics, an application with its key, and processes on demand."""

import base64
import secrets
from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from broker.identity.credential import Credential
from broker.identity.directory import ProjectSettings
from broker.kafka import topics
from broker.ops.bootstrap import bootstrap
from broker.ops.projects import Address
from broker.settings import DatabaseSettings, KafkaSettings, RedisSettings, SecretSettings, Settings
from broker.store.database import Database
from broker.store.migrate import upgrade
from headworks.client import Client
from tests.stack.processes import Process, SimulatorProcess, WorkerProcess

DOLLARS_PER_DAY = 1_000_000
_REFRESH_MS = 300


class RealStack:
    def __init__(self, bootstrap_servers: str, database_url: str, redis_url: str, folder: Path) -> None:
        self.folder = folder
        self.settings = Settings(
            kafka=KafkaSettings(
                bootstrap_servers=bootstrap_servers, session_timeout_ms=6_000, heartbeat_interval_ms=500
            ),
            database=DatabaseSettings(url=SecretStr(database_url)),
            redis=RedisSettings(url=SecretStr(redis_url)),
            secrets=SecretSettings(key_encryption_key=_fresh_key(), seal_key=_fresh_key()),
        )
        self.extra: dict[str, str] = {}
        self._processes: list[Process] = []
        self._started = 0

    async def prepare(self) -> None:
        await upgrade(self.settings.database.url.get_secret_value())
        await topics.apply(self.settings.kafka, [])

    async def application(
        self, name: str, settings: ProjectSettings | None = None, project: str | None = None
    ) -> Credential:
        """An application with its reply topic, in a project of its own unless one is named."""
        settings = settings or ProjectSettings(nanodollars_per_day=DOLLARS_PER_DAY * 10**9)
        database = await Database.open(self.settings.database)
        try:
            address = Address("acme", project or name)
            kek = self.settings.key_encryption_key()
            credential = await bootstrap(database, kek, address, name, settings)
        finally:
            await database.close()
        await topics.apply(self.settings.kafka, [name])
        return credential

    def client(self, credential: Credential, **options: object) -> Client:
        return Client(credential, kafka=self.settings.kafka, **options)  # type: ignore[arg-type]

    def simulator(self, *options: str) -> SimulatorProcess:
        process = SimulatorProcess({}, self.folder, *options)
        process.start()
        self._processes.append(process)
        self.extra["HEADWORKS_PROVIDERS__SIMULATED__BASE_URL"] = process.base_url
        return process

    def worker(self, *pools: str, wait: bool = True, **extra: str) -> WorkerProcess:
        self._started += 1
        log = self.folder / f"{self._started:02}-{'+'.join(pools)}.log"
        process = WorkerProcess(pools, {**self.environment(), **extra}, log)
        process.start(wait=wait)
        self._processes.append(process)
        return process

    def environment(self) -> Mapping[str, str]:
        settings, secrets_ = self.settings, self.settings.secrets
        kek, seal = secrets_.key_encryption_key, secrets_.seal_key
        return {
            "HEADWORKS_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
            "HEADWORKS_KAFKA__SESSION_TIMEOUT_MS": str(settings.kafka.session_timeout_ms),
            "HEADWORKS_KAFKA__HEARTBEAT_INTERVAL_MS": str(settings.kafka.heartbeat_interval_ms),
            "HEADWORKS_DATABASE__URL": settings.database.url.get_secret_value(),
            "HEADWORKS_REDIS__URL": settings.redis.url.get_secret_value(),
            "HEADWORKS_SECRETS__KEY_ENCRYPTION_KEY": kek.get_secret_value() if kek else "",
            "HEADWORKS_SECRETS__SEAL_KEY": seal.get_secret_value() if seal else "",
            "HEADWORKS_ADMIT__DIRECTORY_REFRESH_MS": str(_REFRESH_MS),
            **self.extra,
        }

    def close(self) -> None:
        for process in reversed(self._processes):
            process.close()


def _fresh_key() -> SecretStr:
    return SecretStr(base64.b64encode(secrets.token_bytes(32)).decode())
