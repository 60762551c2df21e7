"""One installation on real servers: database, topics, applications with their keys, processes on demand."""

import base64
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from sqlalchemy import select

from broker.identity.credential import Credential
from broker.identity.directory import ProjectSettings
from broker.kafka import topics
from broker.ops import keys
from broker.ops.bootstrap import bootstrap
from broker.ops.projects import Address
from broker.settings import DatabaseSettings, KafkaSettings, RedisSettings, SecretSettings, Settings
from broker.store.database import Database
from broker.store.migrate import upgrade
from broker.store.tables.identity import directory_revision
from headworks.client import Client
from tests.stack.children import Begin
from tests.stack.ledger import Ledger
from tests.stack.processes import CommandProcess, Process, SimulatorProcess, WorkerProcess

DOLLARS_PER_DAY = 1_000_000
_REFRESH_MS = 100


class RealStack:
    """`kafka` overrides settings of Kafka. The gate's keys have a prefix of this stack's own."""

    def __init__(
        self,
        bootstrap_servers: str,
        database_url: str,
        redis_url: str,
        folder: Path,
        begin: Begin | None = None,
        /,
        **kafka: Any,
    ) -> None:
        """`begin`: how workers and simulators do, if not from nothing."""
        self.folder = folder
        self._begin = begin
        self.settings = Settings(
            kafka=KafkaSettings(
                bootstrap_servers=bootstrap_servers, session_timeout_ms=6_000, heartbeat_interval_ms=500
            ).model_copy(update=kafka),
            database=DatabaseSettings(url=SecretStr(database_url)),
            redis=RedisSettings(url=SecretStr(redis_url), prefix=f"hw-{secrets.token_hex(3)}"),
            secrets=SecretSettings(key_encryption_key=_fresh_key(), seal_key=_fresh_key()),
        )
        self.ledger = Ledger(self.settings)
        self.extra: dict[str, str] = {}
        self._processes: list[Process] = []
        self._started = 0

    async def prepare(self) -> None:
        await upgrade(self.settings.database.url.get_secret_value())
        await topics.apply(self.settings.kafka, [])

    async def application(
        self,
        name: str,
        settings: ProjectSettings | None = None,
        project: str | None = None,
        *,
        walled: bool = False,
    ) -> Credential:
        """An application with its reply topic, in a project of its own unless one is named.

        Returns when the workers that run know its key.
        """
        settings = settings or ProjectSettings(nanodollars_per_day=DOLLARS_PER_DAY * 10**9)
        await topics.apply_application(self.settings.kafka, name, walled=walled)
        database = await Database.open(self.settings.database)
        try:
            address = Address(project or name, project or name)
            kek = self.settings.key_encryption_key()
            credential = await bootstrap(database, kek, address, name, settings)
        finally:
            await database.close()
        await self.directories_follow()
        return credential

    async def revoke(self, credential: Credential) -> None:
        """Returns when the workers that run know it."""
        database = await Database.open(self.settings.database)
        try:
            await keys.revoke(database, credential.key_id)
        finally:
            await database.close()
        await self.directories_follow()

    async def directories_follow(self) -> None:
        """Return when the workers that run have read the identity tables as they are now."""
        database = await Database.open(self.settings.database)
        try:
            async with database.connect() as connection:
                revision = (await connection.execute(select(directory_revision.c.revision))).scalar_one()
        finally:
            await database.close()
        for process in self._processes:
            if isinstance(process, WorkerProcess) and process.is_alive():
                await process.knows_revision(revision)

    def client(self, credential: Credential, **options: object) -> Client:
        return Client(credential, kafka=self.settings.kafka, **options)  # type: ignore[arg-type]

    def simulator(self, *options: str) -> SimulatorProcess:
        process = SimulatorProcess(self.folder, *options, begin=self._begin)
        process.start()
        self._processes.append(process)
        self.extra["HEADWORKS_PROVIDERS__SIMULATED__BASE_URL"] = process.base_url
        return process

    def worker(self, *pools: str, wait: bool = True, extra: Mapping[str, str] | None = None) -> WorkerProcess:
        """`extra` variables beside those of the stack."""
        environment = {**self.environment(), **(extra or {})}
        begin = None if "PYTHONPATH" in (extra or {}) else self._begin  # which is read when Python starts
        process = WorkerProcess(pools, environment, self._log("+".join(pools)), begin)
        self._processes.append(process)
        process.start(wait=wait)
        return process

    def command(self, *arguments: str, **extra: str) -> CommandProcess:
        """Any other command of `headworks`, started."""
        process = CommandProcess(arguments, {**self.environment(), **extra}, self._log(arguments[0]))
        self._processes.append(process)
        process.start()
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
            "HEADWORKS_REDIS__PREFIX": settings.redis.prefix,
            "HEADWORKS_SECRETS__KEY_ENCRYPTION_KEY": kek.get_secret_value() if kek else "",
            "HEADWORKS_SECRETS__SEAL_KEY": seal.get_secret_value() if seal else "",
            "HEADWORKS_ADMIT__DIRECTORY_REFRESH_MS": str(_REFRESH_MS),
            **self.extra,
        }

    @contextmanager
    def ending(self) -> Iterator[None]:
        """What is started inside ends with it, however it ends. It is one of the stack's still: a fleet that
        took it over starts it again.
        """
        before = len(self._processes)
        try:
            yield
        finally:
            self.close(before)

    def close(self, kept: int = 0) -> None:
        """End what was started, the last first, but for the first `kept`."""
        for process in reversed(self._processes[kept:]):
            process.close()

    def _log(self, name: str) -> Path:
        self._started += 1
        return self.folder / f"{self._started:02}-{name}.log"


def _fresh_key() -> SecretStr:
    return SecretStr(base64.b64encode(secrets.token_bytes(32)).decode())
