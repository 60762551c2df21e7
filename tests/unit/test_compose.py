"""docker-compose.yml and the Dockerfile, judged without an engine."""

import base64
import os
import re
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import yaml

from broker.settings import Settings
from tests.services import postgres, redis
from tests.services.kafka import jars

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
POOLS = ["admit", "reserve", "dispatch", "settle", "retry"]
OURS = [*POOLS, "migrate", "provider"]
SERVERS = ["kafka", "postgres", "redis"]
VARIABLE = re.compile(r"\$\{(\w+)([^}]*)\}")


def test_every_pool_server_and_step_is_there() -> None:
    assert sorted(SERVICES) == sorted(OURS + SERVERS)


@pytest.mark.parametrize("pool", POOLS)
def test_a_pool_waits_for_the_servers_and_the_migrations(pool: str) -> None:
    conditions = {name: wish["condition"] for name, wish in SERVICES[pool]["depends_on"].items()}
    assert conditions["migrate"] == "service_completed_successfully"
    assert {conditions[server] for server in SERVERS} == {"service_healthy"}


def test_dispatch_waits_for_the_provider_too() -> None:
    assert SERVICES["dispatch"]["depends_on"]["provider"] == {"condition": "service_healthy"}


def test_the_migrations_run_once_and_before_the_topics() -> None:
    migrate = SERVICES["migrate"]
    assert migrate["restart"] == "no"
    assert migrate["command"] == ["headworks db upgrade && headworks topics apply"]
    assert {wish["condition"] for wish in migrate["depends_on"].values()} == {"service_healthy"}


@pytest.mark.parametrize("name", [name for name in OURS + SERVERS if name != "migrate"])
def test_what_stays_up_is_checked_and_comes_back(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] == "CMD"
    assert {"interval", "timeout", "retries"} <= check.keys()
    assert SERVICES[name]["restart"] == "unless-stopped"


@pytest.mark.parametrize("pool", POOLS)
def test_a_pool_is_healthy_when_it_says_that_it_is_ready(pool: str) -> None:
    probe = SERVICES[pool]["healthcheck"]["test"]
    assert probe[1] == "python"
    compile(probe[-1], "healthcheck", "exec")
    assert "http://localhost:8080/readyz" in probe[-1]


@pytest.mark.parametrize("pool", POOLS)
def test_a_pool_has_more_time_to_stop_than_it_takes(pool: str) -> None:
    grace_s = int(SERVICES[pool]["stop_grace_period"].removesuffix("s"))
    assert grace_s > Settings.model_fields["drain_s"].default + 10


@pytest.mark.parametrize("name", OURS)
def test_our_containers_can_do_little(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_images_are_pinned_to_what_the_tests_run_against() -> None:
    images = {server: SERVICES[server]["image"] for server in SERVERS}
    assert images == {
        "kafka": f"apache/kafka:{jars.version()}",
        "postgres": postgres.IMAGE,
        "redis": redis.IMAGE,
    }
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert all(re.search(r":\d+\.\d+", image) for image in [*images.values(), *bases])


def test_redis_evicts_nothing_and_kafka_makes_no_topic_by_itself() -> None:
    assert "noeviction" in SERVICES["redis"]["command"]
    assert SERVICES["kafka"]["environment"]["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


def test_secrets_come_from_outside_or_not_at_all() -> None:
    values = [
        str(value) for service in SERVICES.values() for value in service.get("environment", {}).values()
    ]
    wanted = {name: rule for value in values for name, rule in VARIABLE.findall(value)}
    assert set(wanted) == {
        "HEADWORKS_DATABASE_PASSWORD",
        "HEADWORKS_SECRETS__KEY_ENCRYPTION_KEY",
        "HEADWORKS_SECRETS__SEAL_KEY",
    }
    assert all(rule.startswith(":?") for rule in wanted.values())


@pytest.mark.parametrize("pool", POOLS)
def test_a_pool_starts_with_settings_that_are_valid(pool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = base64.b64encode(bytes(32)).decode()
    for name, value in SERVICES[pool]["environment"].items():
        monkeypatch.setenv(name, VARIABLE.sub(lambda _: secret, value))
    monkeypatch.setenv("HEADWORKS_CONFIG", str(ROOT / COMPOSE["configs"]["headworks"]["file"]))
    settings = Settings.load()
    assert settings.kafka.bootstrap_servers == "kafka:19092"
    assert settings.health.port == 8080
    assert settings.providers["simulated"].base_url == "http://provider:8400/v1"
    assert settings.key_encryption_key() == settings.seal_key() == bytes(32)


def test_the_provider_listens_where_it_is_looked_for() -> None:
    command = SERVICES["provider"]["command"]
    assert command[command.index("--port") + 1] == "8400"
    assert ":8400/" in SERVICES["provider"]["healthcheck"]["test"][-1]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["worker"], POOLS),
        (["db", "upgrade"], []),
        (["topics", "apply"], []),
        (["simulate"], ["--host", "--port", "--latency"]),
    ],
    ids=" ".join,
)
def test_the_commands_that_it_names_exist(command: list[str], words: list[str]) -> None:
    script = Path(sysconfig.get_path("scripts")) / "headworks"
    done = subprocess.run(
        [script, *command, "--help"],
        env=os.environ | {"COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [word for word in words if word not in done.stdout] == []


def test_the_image_is_built_in_stages_from_the_lock_and_is_not_root() -> None:
    build, run = DOCKERFILE.split("FROM ")[1:]
    assert build.count("--require-hashes") == 2
    assert "COPY --from=build" in run
    user = re.search(r"^USER (\d+)", run, re.MULTILINE)
    assert user is not None
    assert int(user[1]) > 0
    assert "pip" not in run


def test_the_image_is_built_where_a_c_compiler_is() -> None:
    """On the same release of the system as it runs on, and not left unbuilt in silence."""
    build, run = re.findall(r"^FROM python:(\S+)", DOCKERFILE, re.MULTILINE)
    assert run.replace("-slim", "") == build != run
    assert "-I -c 'import broker.policy.injection.kernel'" in DOCKERFILE


def test_the_image_is_given_what_it_is_built_from() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    packages = {"schemas", "broker", "workers", "headworks", "migrations", "config"}
    assert allowed == packages | {"LICENSE", "README.md", "alembic.ini", "pyproject.toml", "requirements"}
