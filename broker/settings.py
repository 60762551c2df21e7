"""Settings: one TOML file, overlaid by environment variables `HEADWORKS_<SECTION>__<FIELD>`.

`HEADWORKS_CONFIG` names the file; without it `headworks.toml` of the working directory, where there is one.
An unknown key is an error that names it.
"""

import base64
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from broker.errors import SecretMissing, SettingsInvalid
from broker.settings_faults import check_redis_url, check_servers, explain, unknown_section, whole_section

CONFIG_FILE = "headworks.toml"
_MEBIBYTE = 1024 * 1024
_REPLY_ROOM = 256 * 1024


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)


class KafkaSettings(Section):
    bootstrap_servers: str = "127.0.0.1:9092"
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_cafile: Path | None = None
    partitions: int = Field(6, ge=1, le=1000)
    """Of each work topic that `headworks topics apply` makes."""
    reply_partitions: int = Field(16, ge=1, le=1000)
    replication_factor: int = Field(1, ge=1, le=7)
    idempotence: bool = True
    """Off for the embedded broker alone, which lacks it."""
    append_time: Literal["log", "receipt"] = "log"
    """`receipt` judges freshness by the time of receipt: for the embedded broker alone."""
    session_timeout_ms: int = Field(10_000, ge=1_000)
    heartbeat_interval_ms: int = Field(3_000, ge=100)
    request_timeout_ms: int = Field(15_000, ge=2_000)
    """After so long without an answer a connection is given up, and another made."""
    linger_ms: int = Field(0, ge=0, le=1_000)
    fetch_wait_ms_max: int = Field(1_000, ge=1, le=30_000)
    fetch_bytes_max: int = Field(16 * _MEBIBYTE, ge=_MEBIBYTE)
    commit_interval_ms: int = Field(500, ge=10)
    jobs_record_bytes_max: int = Field(_MEBIBYTE, ge=1024)
    inner_record_bytes_max: int = Field(12 * _MEBIBYTE, ge=1024)

    @field_validator("bootstrap_servers")
    @classmethod
    def _servers(cls, value: str) -> str:
        check_servers(value)
        return value

    @model_validator(mode="after")
    def _waits_end(self) -> Self:
        if self.request_timeout_ms <= self.session_timeout_ms:
            raise ValueError(
                "request_timeout_ms must exceed session_timeout_ms: who joins a group waits for so long"
            )
        if self.request_timeout_ms <= self.fetch_wait_ms_max:
            raise ValueError(
                "request_timeout_ms must exceed fetch_wait_ms_max: a fetch waits for a record for so long"
            )
        return self


class DatabaseSettings(Section):
    url: SecretStr = SecretStr("postgresql+asyncpg://headworks@127.0.0.1:5432/headworks")
    pool_size: int = Field(5, ge=2, le=100)
    statement_timeout_ms: int = Field(15_000, ge=100)


class RedisSettings(Section):
    url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    """Of a cluster, any node of it."""
    cluster: bool = False
    """A Redis Cluster; the counters of one organization are on one node of it."""
    timeout_ms: int = Field(2_000, ge=10)
    prefix: str = "hw"

    @field_validator("url")
    @classmethod
    def _redis(cls, value: SecretStr) -> SecretStr:
        check_redis_url(value.get_secret_value())
        return value


class SecretSettings(Section):
    """Each key is 32 random bytes in base64; `headworks keys generate-secret` prints one."""

    key_encryption_key: SecretStr | None = None
    seal_key: SecretStr | None = None


class AdmitSettings(Section):
    request_bytes_max: int = Field(256 * 1024, ge=1024)
    """Of an envelope's value."""
    stale_after_s: int = Field(300, ge=1)
    future_within_s: int = Field(30, ge=0)
    depth_max: int = Field(64, ge=4, le=200)
    directory_refresh_ms: int = Field(1_000, ge=50)
    """A revoked key is refused no later than this."""
    cancel_refresh_ms: int = Field(500, ge=50)
    """Every worker knows of a job that is called off no later than this, and a query."""
    cancels_max: int = Field(100_000, ge=1)
    """Of one application, of jobs whose deadlines have not come: about 300 bytes each in every worker.
    More are not carried out.
    """
    dead_letter_sample_per_s: int = Field(10, ge=0)
    """Of records that are not authentic; the rest are counted only."""


class ReserveSettings(Section):
    hold_ttl_s: int = Field(900, ge=10)
    """A hold whose call never started expires after this."""
    park_recheck_ms: int = Field(1_000, ge=10)
    jobs_in_flight_max: int = Field(10_000, ge=1)
    """Of one project, held and not ended; more of its jobs wait parked, but for those of the interactive
    lane. At least twice the slots of all dispatch processes.
    """


class DispatchSettings(Section):
    slots: int = Field(2_000, ge=1, le=50_000)
    """Calls in flight in one process."""
    slots_interactive: int = Field(100, ge=0)
    """Of these, kept free for the interactive lane."""
    bytes_in_flight_max: int = Field(512 * _MEBIBYTE, ge=_MEBIBYTE)
    lease_s: int = Field(15, ge=2)
    lease_renew_s: float = Field(3, gt=0)
    takeover_check_ms: int = Field(500, ge=10)


class ConcurrencySettings(Section):
    """How calls to a target are limited when it slows down, fails or says so; the ceiling is the lesser of
    the target's connections_max and dispatch.slots.
    """

    calls_min: int = Field(1, ge=1)
    """Calls of one process to a target that is in trouble."""
    latency_tolerance: float = Field(2.0, ge=1.2, le=100)
    """So many times its latency without pressure a target may take under it."""
    window_ms: int = Field(500, ge=50, le=60_000)
    """Over which latency is judged, at least."""
    retry_after_max_s: float = Field(60, ge=0, le=3_600)
    """A target that asks for a longer rest is tried again after this."""
    share_ms: int = Field(500, ge=50, le=10_000)
    """How often processes tell each other through Redis how they find the targets."""


class RetrySettings(Section):
    base_ms: int = Field(1_000, ge=1)
    max_ms: int = Field(600_000, ge=1)


class ProviderTarget(Section):
    """An OpenAI-compatible endpoint. `models` maps the names that jobs use to the target's own."""

    base_url: str
    api_key: SecretStr | None = None
    models: dict[str, str] | list[str] = []
    """Served models; an empty list means every model that no other target names."""
    region: str | None = Field(None, pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")
    """Where it computes, as a label that policy rules ask for."""
    connect_timeout_s: float = Field(5, gt=0)
    timeout_s: float = Field(120, gt=0)
    response_bytes_max: int = Field(8 * _MEBIBYTE, ge=1024)
    connections_max: int = Field(10_000, ge=1)

    @field_validator("base_url")
    @classmethod
    def _http(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return value.rstrip("/")


class DetectorSettings(Section):
    """A detector that is plugged in; its section has the name of its entry point."""

    looks_at: list[Literal["request", "answer"]] = ["request"]
    """Requests as ADMIT sends them on, answers as DISPATCH does."""
    timeout_s: float = Field(5, gt=0, le=600)
    """For one job; its process is killed after that, and another made."""
    start_timeout_s: float = Field(60, gt=0, le=3_600)
    waiting_jobs_max: int = Field(1_000, ge=1)
    """Of one process; what comes beyond is not looked at, and counted."""
    waiting_bytes_max: int = Field(16 * _MEBIBYTE, ge=1024)


class WebhookSettings(Section):
    look_every_s: float = Field(5, gt=0, le=3_600)
    """How often budgets are looked at, and what is due is sent."""
    timeout_s: float = Field(10, gt=0, le=60)
    private_addresses: bool = False
    """Whether webhooks may go to addresses that are not public, and without TLS."""


class HealthSettings(Section):
    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65535)
    """0 switches the health and metrics endpoint off."""
    stall_after_s: float = Field(30, gt=0)
    """Readiness goes red when a consumer has not come round for this long."""


class LogSettings(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json"] = "auto"


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="HEADWORKS_", env_nested_delimiter="__", extra="forbid", frozen=True, allow_inf_nan=False
    )

    kafka: KafkaSettings = KafkaSettings()
    database: DatabaseSettings = DatabaseSettings()
    redis: RedisSettings = RedisSettings()
    secrets: SecretSettings = SecretSettings()
    admit: AdmitSettings = AdmitSettings()
    reserve: ReserveSettings = ReserveSettings()
    dispatch: DispatchSettings = DispatchSettings()
    concurrency: ConcurrencySettings = ConcurrencySettings()
    retry: RetrySettings = RetrySettings()
    providers: dict[Annotated[str, Field(pattern=r"^[a-z0-9_-]+$")], ProviderTarget] = {}
    detectors: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")], DetectorSettings] = {}
    """Plugged in beside policy: they flag jobs and nothing else."""
    prices: Path | None = None
    """A price book; without it the one that comes with Headworks."""
    tokenizers: Path | None = None
    """A folder of files `<encoding>.tiktoken`: for models that name such an encoding, texts are counted
    exactly.
    """
    webhooks: WebhookSettings = WebhookSettings()
    health: HealthSettings = HealthSettings()
    log: LogSettings = LogSettings()
    drain_s: float = Field(25, gt=0)
    """How long a worker that was told to stop waits for its calls."""

    @model_validator(mode="after")
    def _answers_fit(self) -> Self:
        room = self.kafka.inner_record_bytes_max - _REPLY_ROOM
        for name, target in self.providers.items():
            if target.response_bytes_max > room:
                raise ValueError(
                    f"providers.{name}.response_bytes_max must be {room} at most, for an answer travels "
                    "in a record of kafka.inner_record_bytes_max"
                )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, InitSettingsSource(settings_cls, _contents(config_path()))

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Read file and environment.

        Raises SettingsInvalid, naming each wrong key and its source, and never a value.
        """
        path = config_path()
        if "HEADWORKS_CONFIG" in os.environ and not path.is_file():
            raise SettingsInvalid(f"HEADWORKS_CONFIG names {path}, which is not a file")
        if (unknown := unknown_section(os.environ, cls.model_fields)) is not None:
            raise SettingsInvalid(unknown)
        try:
            return cls(**overrides)
        except ValidationError as error:
            raise SettingsInvalid(explain(error, cls, path)) from None
        except SettingsError:
            raise SettingsInvalid(whole_section(os.environ, cls.model_fields)) from None
        except ValueError as error:
            raise SettingsInvalid(f"{path} is not valid TOML: {error}") from None
        except OSError as error:
            raise SettingsInvalid(f"{path} cannot be read: {error.strerror}") from None

    def key_encryption_key(self) -> bytes:
        return _secret(self.secrets.key_encryption_key, "key_encryption_key")

    def seal_key(self) -> bytes:
        return _secret(self.secrets.seal_key, "seal_key")


def _contents(path: Path) -> dict[str, Any]:
    """TOML, also behind the byte-order mark that some editors put before it."""
    return tomllib.loads(path.read_text("utf-8-sig")) if path.is_file() else {}


def config_path() -> Path:
    return Path(os.environ.get("HEADWORKS_CONFIG", CONFIG_FILE))


def _secret(value: SecretStr | None, name: str) -> bytes:
    variable = f"HEADWORKS_SECRETS__{name.upper()}"
    if value is None:
        raise SecretMissing(f"{variable} is not set; `headworks keys generate-secret` prints a fresh one")
    try:
        key = base64.b64decode(value.get_secret_value(), validate=True)
    except ValueError:
        raise SecretMissing(f"{variable} is not valid base64") from None
    if len(key) != 32:
        raise SecretMissing(f"{variable} must be 32 bytes in base64, not {len(key)}")
    return key
