"""What operators do from the command line."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from broker.identity.credential import Credential
from broker.settings import Settings
from tests.unit.headworks.cli.conftest import Invoke


def _read(invoke: Invoke, command: str) -> Any:
    result = invoke(f"{command} --json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_before_the_migrations_every_command_says_so(invoke: Invoke) -> None:
    for command in ("orgs list", "projects list", "apps list", "keys list", "topics check", "db check"):
        result = invoke(command)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith("error [database_behind]: the database has no tables yet")
        assert "headworks db upgrade" in result.stderr


def test_upgrading_twice_is_harmless(invoke: Invoke) -> None:
    for command in ("db upgrade", "db upgrade", "db check"):
        assert invoke(command).stdout == "The database is up to date.\n"


def test_organizations(database: None, invoke: Invoke) -> None:
    assert invoke("orgs list").stderr == "None yet.\n"
    invoke("orgs create acme")
    invoke("orgs create bolt")
    assert [org["name"] for org in _read(invoke, "orgs list")] == ["acme", "bolt"]
    assert [line.split()[0] for line in invoke("orgs list").stdout.splitlines()] == ["name", "acme", "bolt"]


def test_an_organization_twice(database: None, invoke: Invoke) -> None:
    invoke("orgs create acme")
    result = invoke("orgs create acme")
    told = "error [conflict]: organization acme is there already; `headworks orgs set` changes it\n"
    assert (result.exit_code, result.stderr) == (1, told)


def test_a_projects_settings(database: None, invoke: Invoke) -> None:
    invoke("orgs create acme")
    invoke("projects create acme/search --model a --model b")
    invoke("budgets set acme/search --dollars-per-day 25.50 --requests-per-minute 600")
    [project] = _read(invoke, "projects list")
    assert project["project"] == "acme/search"
    assert (project["nanodollars_per_day"], project["requests_per_minute"]) == (25_500_000_000, 600)
    assert project["models_allowed"] == ["a", "b"]
    [_, row] = invoke("projects list").stdout.splitlines()
    assert re.split("  +", row)[:4] == ["acme/search", "$25.50", "600", "a, b"]


def test_changing_a_project_leaves_what_is_not_named(project: str, invoke: Invoke) -> None:
    invoke(f"projects set {project} --model a")
    invoke(f"budgets set {project} --dollars-per-day 25 --requests-per-minute 7")
    invoke(f"projects set {project} --output-tokens-default 99 --model any")
    invoke(f"budgets set {project} --requests-per-minute none")
    shown = _read(invoke, f"projects show {project}")
    assert (shown["nanodollars_per_day"], shown["output_tokens_default"]) == (25_000_000_000, 99)
    assert (shown["requests_per_minute"], shown["models_allowed"]) == (None, None)
    told = dict(re.split("  +", line) for line in invoke(f"projects show {project}").stdout.splitlines())
    assert told.pop("created").startswith("20")
    assert told == {
        "project": "acme/search",
        "dollars per day": "$25.00",
        "dollars per month": "no limit",
        "requests per minute": "no limit",
        "tokens per minute": "no limit",
        "tokens per day": "no limit",
        "tokens per month": "no limit",
        "jobs in flight": "no limit",
        "models": "all that have a price",
        "own prices": "none",
        "output tokens default": "99",
        "longest time to live": "7 days",
    }


LIMITS = (
    "--dollars-per-day 1.5 --dollars-per-month 20 --requests-per-minute 3 --tokens-per-minute 400 "
    "--tokens-per-day 5000 --tokens-per-month 60000 --jobs-in-flight 7"
)
STORED = {
    "nanodollars_per_day": 1_500_000_000,
    "nanodollars_per_month": 20_000_000_000,
    "requests_per_minute": 3,
    "tokens_per_minute": 400,
    "tokens_per_day": 5_000,
    "tokens_per_month": 60_000,
    "jobs_in_flight": 7,
}


def _limits(record: dict[str, Any]) -> dict[str, Any]:
    return {name: record[name] for name in STORED}


@pytest.mark.parametrize("level", ["organization", "project", "key"])
def test_every_limit_can_be_set_on_every_level_and_taken_back(
    indexer: str, invoke: Invoke, level: str
) -> None:
    key_id = Credential.parse(invoke("keys create indexer").stdout).key_id
    group, name, subject = {
        "organization": ("orgs", "acme", "acme"),
        "project": ("projects", "acme/search", "acme/search"),
        "key": ("keys", key_id, f"key:{key_id}"),
    }[level]
    assert invoke(f"budgets set {subject} {LIMITS}").exit_code == 0
    assert _limits(_read(invoke, f"{group} show {name}")) == STORED
    told = invoke(f"budgets set {subject} --dollars-per-month none --tokens-per-day none").stdout
    assert "dollars per month  " in told
    rest = STORED | {"nanodollars_per_month": None, "tokens_per_day": None}
    assert _limits(_read(invoke, f"{group} show {name}")) == rest
    [listed] = [row for row in _read(invoke, f"{group} list") if name in row.values()]
    assert _limits(listed) == rest
    assert invoke(f"budgets set {subject}").exit_code == 2


def test_an_organization_has_a_time_zone(project: str, invoke: Invoke) -> None:
    assert _read(invoke, "orgs show acme")["time_zone"] == "UTC"
    assert invoke("orgs set acme --time-zone America/New_York").exit_code == 0
    assert _read(invoke, "orgs show acme")["time_zone"] == "America/New_York"
    for wrong in ("Mars/Olympus", "/etc/passwd", "Europe", "--time-zone="):
        result = invoke("orgs set acme", wrong if wrong.startswith("--") else f"--time-zone={wrong}")
        assert result.exit_code == 1
        assert result.stderr.startswith(
            "error [settings_invalid]: settings of organization acme are not valid"
        )
    assert _read(invoke, "orgs show acme")["time_zone"] == "America/New_York"


def test_a_projects_own_prices(project: str, invoke: Invoke, tmp_path: Path) -> None:
    price = {
        "model": "house-model",
        "provider": "ours",
        "endpoint": "/v1/chat/completions",
        "rates": {"input": 1, "cached_input": 1, "cache_write": 1, "output": 2},
    }
    (tmp_path / "prices.json").write_text(json.dumps([price]))
    assert invoke(f"projects set {project} --prices prices.json").exit_code == 0
    [stored] = _read(invoke, f"projects show {project}")["prices"]
    assert stored["model"] == "house-model"
    assert "own prices             house-model\n" in invoke(f"projects show {project}").stdout
    (tmp_path / "prices.json").write_text(json.dumps([price, price]))
    assert "a name stands for two prices" in invoke(f"projects set {project} --prices prices.json").stderr
    (tmp_path / "prices.json").write_text("[")
    assert invoke(f"projects set {project} --prices prices.json").exit_code == 2


@pytest.mark.parametrize(
    "command",
    [
        "budgets set acme/search --dollars-per-day ten",
        "budgets set acme/search --dollars-per-day 99999999",
        "budgets set acme/search --requests-per-minute few",
        "projects set acme/search --ttl-s-max 9999999",
    ],
)
def test_settings_out_of_bounds_are_refused(project: str, invoke: Invoke, command: str) -> None:
    result = invoke(command)
    assert result.exit_code == 1
    assert result.stderr.startswith("error [settings_invalid]: ")


def test_a_change_of_nothing_is_wrong_usage(project: str, invoke: Invoke) -> None:
    assert invoke(f"projects set {project}").exit_code == 2


def test_a_project_is_written_with_its_organization(database: None, invoke: Invoke) -> None:
    result = invoke("projects create search")
    assert result.exit_code == 1
    assert "a project is written organization/project" in result.stderr


def test_an_application_gets_its_topics(indexer: str, invoke: Invoke) -> None:
    [application] = _read(invoke, "apps list")
    assert (application["name"], application["project"]) == ("indexer", "acme/search")
    listed = {topic["topic"]: topic["state"] for topic in _read(invoke, "topics list")}
    assert listed["replies.indexer"] == "up"


def test_topics_are_listed_in_units_that_fit(indexer: str, invoke: Invoke) -> None:
    invoke("topics apply")
    shown = {topic: rest for topic, *rest in map(str.split, invoke("topics list").stdout.splitlines())}
    assert shown["probe"] == ["up", "1", "1", "1", "hour", "1", "KiB"]
    assert shown["admitted.bulk"] == ["up", "6", "1", "14", "days", "12", "MiB"]
    [probe] = [topic for topic in _read(invoke, "topics list") if topic["topic"] == "probe"]
    assert (probe["retention_ms"], probe["record_bytes_max"]) == (3_600_000, 1024)


def test_an_application_with_walls(project: str, embedded: None, invoke: Invoke) -> None:
    result = invoke(f"apps create walled --project {project} --own-topics")
    assert "made jobs.bulk.walled (6 partitions)" in result.stderr


def test_topics_that_could_not_be_made_do_not_undo_the_application(project: str, invoke: Invoke) -> None:
    result = invoke(f"apps create indexer --project {project}")
    assert result.exit_code == 1
    assert "Its topics are still to be made: headworks topics apply" in result.stderr
    assert "error [kafka_unavailable]" in result.stderr
    assert len(_read(invoke, "apps list")) == 1


def test_a_credential_is_all_that_goes_to_standard_output(indexer: str, invoke: Invoke) -> None:
    result = invoke("keys create indexer")
    credential = Credential.parse(result.stdout)
    assert credential.application == "indexer"
    assert credential.reveal() not in result.stderr
    [key] = _read(invoke, "keys list indexer")
    assert (key["key"], key["revoked"]) == (credential.key_id, None)


def test_no_list_shows_a_secret(indexer: str, invoke: Invoke) -> None:
    secret = invoke("keys create indexer").stdout.strip().rpartition(".")[2]
    for command in ("keys list", "keys list --json", "apps list --json"):
        assert secret not in invoke(command).output


def test_a_key_can_be_revoked(indexer: str, invoke: Invoke) -> None:
    key_id = Credential.parse(invoke("keys create indexer").stdout).key_id
    assert f"Key {key_id} of indexer is revoked" in invoke(f"keys revoke {key_id}").stderr
    assert _read(invoke, "keys list")[0]["revoked"] is not None
    assert invoke("keys revoke 0123456789abcdef").exit_code == 1


def test_no_key_without_the_key_encryption_key(
    indexer: str, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HEADWORKS_SECRETS__KEY_ENCRYPTION_KEY")
    result = invoke("keys create indexer")
    assert result.stderr.startswith(
        "error [secret_missing]: HEADWORKS_SECRETS__KEY_ENCRYPTION_KEY is not set"
    )


def test_secrets_are_fresh_and_fit(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (invoke("keys generate-secret").stdout.strip() for _ in range(2))
    assert first != second
    monkeypatch.setenv("HEADWORKS_SECRETS__SEAL_KEY", first)
    assert len(Settings.load().seal_key()) == 32


def test_topics_are_made_and_checked(indexer: str, invoke: Invoke) -> None:
    assert invoke("topics apply").exit_code == 0
    assert invoke("topics apply").stdout == "All topics are as they should be.\n"
    assert invoke("topics check").stdout == "All topics are as they should be.\n"
    assert _read(invoke, "topics check") == []


def test_topics_that_differ(indexer: str, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    invoke("topics apply")
    monkeypatch.setenv("HEADWORKS_KAFKA__REPLY_PARTITIONS", "40")
    result = invoke("topics check --json")
    assert result.exit_code == 1
    [difference] = [each for each in json.loads(result.stdout) if each["topic"] == "replies.indexer"]
    assert (difference["wanted"], difference["remedy"]) == ("40", "headworks topics apply")
    assert "number of partitions" in invoke("topics check").stdout
    assert (
        "left as it is: replies.indexer: number of partitions is 16, not 40" in invoke("topics apply").stderr
    )


def test_a_typo_in_the_settings_file_names_the_key(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "headworks.toml").write_text('[kafka]\nbootstrap_server = "secret-host:9092"\n')
    result = invoke("topics check")
    assert result.exit_code == 1
    assert "error [settings_invalid]" in result.stderr
    assert (
        "kafka.bootstrap_server: there is no such setting; did you mean bootstrap_servers?" in result.stderr
    )
    assert "secret-host" not in result.output


def test_a_settings_file_that_is_no_toml(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "headworks.toml").write_text("kafka = [")
    assert "headworks.toml is not valid TOML" in invoke("orgs list").stderr


def test_a_variable_for_a_whole_section_is_named(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWORKS_SECRETS", "my-secret")
    result = invoke("orgs list")
    assert "HEADWORKS_SECRETS stands for a whole section" in result.stderr
    assert "my-secret" not in result.output


def test_no_time_is_infinite(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWORKS_DRAIN_S", "inf")
    assert "drain_s: Input should be a finite number" in invoke("orgs list").stderr


def test_without_kafka_it_is_said_in_one_line(database: None, invoke: Invoke) -> None:
    result = invoke("topics apply")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "error [kafka_unavailable]: could not reach Kafka at 127.0.0.1:1: KafkaConnectionError; "
        "start Kafka, or mend kafka.bootstrap_servers; `headworks doctor` checks it\n"
    )


def test_dead_letters_are_listed_without_what_they_say(buried: str, invoke: Invoke) -> None:
    [row] = [line for line in invoke("dead list").stdout.splitlines() if line.startswith(f"{buried} ")]
    assert re.split("  +", row)[2:] == ["admit", "bad_signature", "-", "-"]
    for command in ("dead list", "dead list --json", f"dead show {buried}", f"dead show {buried} --json"):
        assert "a prompt" not in invoke(command).output
    assert "origin       jobs.bulk/0/0\n" in invoke(f"dead show {buried}").stdout


def test_what_a_dead_letter_says_goes_to_a_file_of_its_owner_s(
    buried: str, invoke: Invoke, tmp_path: Path
) -> None:
    result = invoke(f"dead show {buried} --value letter.bin")
    assert (tmp_path / "letter.bin").read_bytes() == b"a prompt"
    assert (tmp_path / "letter.bin").stat().st_mode & 0o777 == 0o600
    assert "a prompt" not in result.output
    again = invoke(f"dead show {buried} --value letter.bin")
    assert (again.exit_code, again.stdout) == (2, "")
    assert "File exists" in again.stderr


@pytest.mark.parametrize(
    ("coordinate", "status"), [("dead/0/99999999", 1), ("jobs.bulk/0/0", 1), ("dead", 2), ("dead/x/y", 2)]
)
def test_a_dead_letter_that_is_not_there(buried: str, invoke: Invoke, coordinate: str, status: int) -> None:
    result = invoke(f"dead show {coordinate}")
    assert (result.exit_code, result.stdout) == (status, "")


@pytest.mark.parametrize("offset", [2**63 - 1, 2**63, 10**30])
def test_a_dead_letter_beyond_all_offsets(buried: str, invoke: Invoke, offset: int) -> None:
    result = invoke(f"dead show {buried.rpartition('/')[0]}/{offset}")
    assert result.exit_code == 1
    assert result.stderr.startswith("error [not_found]: no dead letter dead/")


@pytest.mark.parametrize("tokens", [2**31, 10**30])
def test_an_output_limit_that_no_request_may_have(project: str, invoke: Invoke, tokens: int) -> None:
    result = invoke(f"projects set {project} --output-tokens-default {tokens}")
    assert result.exit_code == 1
    assert result.stderr.startswith("error [settings_invalid]: ")
    assert _read(invoke, "projects list")[0]["output_tokens_default"] == 1024


@pytest.mark.parametrize("models", [("any", "gpt-4o"), ("",), ("gpt-4o", "")])
def test_any_and_nothing_are_no_models(project: str, invoke: Invoke, models: tuple[str, ...]) -> None:
    result = invoke(f"projects set {project}", *(f"--model={model}" for model in models))
    assert result.exit_code == 2
    assert _read(invoke, "projects list")[0]["models_allowed"] is None


@pytest.mark.parametrize("content", ["[", "[" * 100_000, ""])
def test_a_file_of_prices_that_is_no_json(project: str, invoke: Invoke, tmp_path: Path, content: str) -> None:
    (tmp_path / "prices.json").write_text(content)
    result = invoke(f"projects set {project} --prices prices.json")
    assert result.exit_code == 2
    assert "not valid JSON" in result.stderr
