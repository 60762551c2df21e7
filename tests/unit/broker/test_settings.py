"""Settings that are wrong are named by their key, never by their value, and most often in one line."""

from pathlib import Path

import pytest

from broker.errors import SettingsInvalid
from broker.settings import Settings


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _refused() -> str:
    with pytest.raises(SettingsInvalid) as caught:
        Settings.load()
    return str(caught.value)


def test_a_request_may_not_time_out_while_a_group_gathers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWORKS_KAFKA__SESSION_TIMEOUT_MS", "15000")
    assert "kafka: request_timeout_ms must exceed session_timeout_ms" in _refused()


def test_a_request_may_not_time_out_while_a_fetch_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWORKS_KAFKA__FETCH_WAIT_MS_MAX", "15000")
    assert "kafka: request_timeout_ms must exceed fetch_wait_ms_max" in _refused()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("localhost:6379", "must begin with redis://, rediss:// or unix://"),
        ("http://hidden@localhost:6379", "must begin with"),
        ("", "must begin with"),
        ("redis://hidden@localhost:port/0", "is not a URL"),
        ("redis://[::1:6379/0", "is not a URL"),
        ("redis://:6379/0", "names a port and no host"),
        ("redis://localhost:6379/hidden", "must end with the number of a database"),
        ("redis://localhost:6379/0?hidden=1", "has an unknown parameter; there are client_name, db,"),
        ("redis://localhost:6379?db=hidden", "has a parameter db or protocol that is not a number"),
        ("redis://:pa?hidden@localhost:6379/0", "is not a URL"),
    ],
)
def test_a_redis_url_that_cannot_serve(monkeypatch: pytest.MonkeyPatch, url: str, told: str) -> None:
    monkeypatch.setenv("HEADWORKS_REDIS__URL", url)
    refused = _refused()
    assert refused.startswith(f"redis.url: {told}")
    assert "\n" not in refused
    assert "hidden" not in refused


@pytest.mark.parametrize(
    "url",
    [
        "memory://",
        "redis://127.0.0.1:6379/0",
        "redis://127.0.0.1",
        "redis://user:pass%40word@redis.example:6380/2?protocol=3",
        "rediss://redis.example/0?ssl_ca_certs=/etc/ca.pem",
        "unix:///run/redis.sock?db=1",
    ],
)
def test_a_redis_url_that_serves(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("HEADWORKS_REDIS__URL", url)
    assert Settings.load().redis.url.get_secret_value() == url


@pytest.mark.parametrize(
    "addresses",
    ["", "kafka:port", "kafka:0", "kafka:70000", "[::1", "a:1,,b:2", "PLAINTEXT://kafka:9092", "a b"],
)
def test_addresses_of_kafka_that_are_none(monkeypatch: pytest.MonkeyPatch, addresses: str) -> None:
    monkeypatch.setenv("HEADWORKS_KAFKA__BOOTSTRAP_SERVERS", addresses)
    refused = _refused()
    assert refused.startswith("kafka.bootstrap_servers: must be host:port")
    assert "\n" not in refused


@pytest.mark.parametrize("addresses", ["kafka", "kafka-1.org:9092, kafka_2:9093", "127.0.0.1:1", "[::1]:92"])
def test_addresses_of_kafka(monkeypatch: pytest.MonkeyPatch, addresses: str) -> None:
    monkeypatch.setenv("HEADWORKS_KAFKA__BOOTSTRAP_SERVERS", addresses)
    assert Settings.load().kafka.bootstrap_servers == addresses


@pytest.mark.parametrize(
    ("variable", "told"),
    [
        ("KAFKA__PARTITONS", "kafka.partitons: there is no such setting; did you mean partitions?"),
        (
            "KAFKAA__PARTITIONS",
            "HEADWORKS_KAFKAA__PARTITIONS: there is no section kafkaa; did you mean kafka?",
        ),
        ("KAFKA__COLOUR", "kafka.colour: there is no such setting ("),
        ("KAFKA__PARTITIONS", "kafka.partitions: Input should be a valid integer"),
    ],
)
def test_a_variable_that_is_wrong(monkeypatch: pytest.MonkeyPatch, variable: str, told: str) -> None:
    monkeypatch.setenv(f"HEADWORKS_{variable}", "hidden")
    refused = _refused()
    assert refused.startswith(told)
    assert "\n" not in refused
    assert "hidden" not in refused


def test_several_wrong_things_are_a_line_each(nowhere: Path) -> None:
    (nowhere / "headworks.toml").write_text('drain_s = "hidden"\n[providers.openai]\nbase_ur = "hidden"\n')
    assert _refused().splitlines() == [
        "settings from headworks.toml and HEADWORKS_* variables are not valid:",
        "  providers.openai.base_url: Field required",
        "  providers.openai.base_ur: there is no such setting; did you mean base_url?",
        "  drain_s: Input should be a valid number, unable to parse string as a number",
    ]


def test_a_file_may_begin_with_a_byte_order_mark(nowhere: Path) -> None:
    (nowhere / "headworks.toml").write_bytes(b"\xef\xbb\xbfdrain_s = 7\n")
    assert Settings.load().drain_s == 7


def test_a_file_that_is_no_utf_8(nowhere: Path) -> None:
    (nowhere / "headworks.toml").write_bytes(b"\xff\xfed\x00")
    assert _refused().startswith("headworks.toml is not valid TOML: ")


def test_a_file_that_may_not_be_read(monkeypatch: pytest.MonkeyPatch, nowhere: Path) -> None:
    (nowhere / "headworks.toml").write_text("")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tomllib.loads", refuse)
    assert _refused() == "headworks.toml cannot be read: Permission denied"
