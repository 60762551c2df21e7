"""Everything in one process, on embedded parts: Kafka and Redis in memory, SQLite, a simulated provider.

The way of a job is the real one; what the parts keep is gone when the process ends.
"""

import base64
import secrets
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from broker.identity.credential import Credential
from broker.identity.directory import ProjectSettings
from broker.kafka import topics as kafka_topics
from broker.kafka.embedded import EmbeddedKafka
from broker.ops.bootstrap import bootstrap
from broker.ops.projects import Address
from broker.settings import (
    DatabaseSettings,
    HealthSettings,
    KafkaSettings,
    LogSettings,
    ProviderTarget,
    RedisSettings,
    SecretSettings,
    Settings,
)
from broker.settings_faults import EMBEDDED_REDIS
from broker.store.database import Database
from broker.store.migrate import upgrade
from headworks.simulate.behaviour import Behaviour
from headworks.simulate.server import SimulatedProvider
from workers.app import Worker
from workers.pools import POOLS
from workers.service import running

APPLICATION = "dev"
PROJECT = Address("dev", "dev")
DOLLARS_PER_DAY = 50
_PROVIDER = "HEADWORKS_PROVIDERS__SIMULATED__BASE_URL"


@dataclass(frozen=True)
class DevStack:
    settings: Settings
    credential: Credential
    provider: SimulatedProvider | None
    """None where the settings name providers of their own."""
    worker: Worker
    database_file: Path

    def environment(self) -> Mapping[str, str]:
        """What a client needs to find this stack, and whoever looks after it: for its bill, its dead letters,
        its topics, and to see whether it is well. As Settings.load reads it.
        """
        kafka, secrets_ = self.settings.kafka, self.settings.secrets
        keys = {"KEY_ENCRYPTION_KEY": secrets_.key_encryption_key, "SEAL_KEY": secrets_.seal_key}
        own = {} if self.provider is None else {_PROVIDER: self.provider.base_url}
        return {
            "HEADWORKS_CREDENTIAL": self.credential.reveal(),
            "HEADWORKS_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "HEADWORKS_KAFKA__IDEMPOTENCE": str(kafka.idempotence).lower(),
            "HEADWORKS_KAFKA__FETCH_WAIT_MS_MAX": str(kafka.fetch_wait_ms_max),
            "HEADWORKS_KAFKA__APPEND_TIME": kafka.append_time,
            "HEADWORKS_KAFKA__PARTITIONS": str(kafka.partitions),
            "HEADWORKS_KAFKA__REPLY_PARTITIONS": str(kafka.reply_partitions),
            "HEADWORKS_DATABASE__URL": self.settings.database.url.get_secret_value(),
            "HEADWORKS_REDIS__URL": self.settings.redis.url.get_secret_value(),
            **{f"HEADWORKS_SECRETS__{name}": key.get_secret_value() for name, key in keys.items() if key},
            **own,
        }


@asynccontextmanager
async def dev_stack(
    *,
    providers: Mapping[str, ProviderTarget] | None = None,
    behaviour: Behaviour | None = None,
    calls: Path | None = None,
    health_port: int = 0,
    log: LogSettings | None = None,
) -> AsyncIterator[DevStack]:
    """Start all parts; stop them in reverse order. `providers` in place of the simulated one; `calls`: where
    that one keeps its own log of its calls.
    """
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headworks-dev-")))
        kafka = await stack.enter_async_context(EmbeddedKafka())
        provider = None
        if not providers:
            provider = await stack.enter_async_context(SimulatedProvider(behaviour=behaviour, log=calls))
            providers = {"simulated": ProviderTarget(base_url=provider.base_url)}
        settings = _settings(kafka.bootstrap_servers, folder / "headworks.db", providers)
        settings = settings.model_copy(
            update={"health": HealthSettings(port=health_port), "log": log or LogSettings()}
        )
        credential = await _prepare(settings)
        worker = await stack.enter_async_context(running(Worker(settings, POOLS)))
        yield DevStack(settings, credential, provider, worker, folder / "headworks.db")


def _settings(bootstrap_servers: str, database: Path, providers: Mapping[str, ProviderTarget]) -> Settings:
    return Settings.load(
        kafka=KafkaSettings(
            bootstrap_servers=bootstrap_servers,
            partitions=3,
            reply_partitions=4,
            idempotence=False,
            append_time="receipt",
            session_timeout_ms=1_000,
            heartbeat_interval_ms=100,
            fetch_wait_ms_max=20,
        ),
        database=DatabaseSettings(url=SecretStr(f"sqlite+aiosqlite:///{database}")),
        redis=RedisSettings(url=SecretStr(EMBEDDED_REDIS)),
        secrets=SecretSettings(key_encryption_key=_fresh_key(), seal_key=_fresh_key()),
        providers=dict(providers),
        drain_s=5,
    )


def _fresh_key() -> SecretStr:
    return SecretStr(base64.b64encode(secrets.token_bytes(32)).decode())


async def _prepare(settings: Settings) -> Credential:
    await upgrade(settings.database.url.get_secret_value())
    await kafka_topics.apply(settings.kafka, [APPLICATION])
    database = await Database.open(settings.database)
    try:
        project = ProjectSettings(nanodollars_per_day=DOLLARS_PER_DAY * 10**9)
        return await bootstrap(database, settings.key_encryption_key(), PROJECT, APPLICATION, project)
    finally:
        await database.close()
