"""The options of every Kafka client, and what aiokafka's errors become."""

import ssl
from pathlib import Path

import pytest
from aiokafka import errors as kafka
from pydantic import SecretStr

from broker.errors import KafkaUnavailable, SettingsInvalid, TopicsMissing
from broker.kafka.connection import client_options, kafka_errors, translate
from broker.settings import KafkaSettings


def _all(kind: type[Exception]) -> list[type[Exception]]:
    return [kind, *(below for each in kind.__subclasses__() for below in _all(each))]


ALL_ERRORS = _all(kafka.KafkaError)
MENDED_BY_HAND = [
    kafka.TopicAuthorizationFailedError,
    kafka.SaslAuthenticationFailed,
    kafka.UnsupportedVersionError,
    kafka.InvalidReplicationFactorError,
    kafka.PolicyViolationError,
]


def test_by_default_there_is_no_security() -> None:
    options = client_options(KafkaSettings(bootstrap_servers="a:1,b:2"))
    assert options == {
        "bootstrap_servers": "a:1,b:2",
        "client_id": "headworks",
        "security_protocol": "PLAINTEXT",
        "request_timeout_ms": 15_000,
    }


def test_with_sasl_and_tls() -> None:
    options = client_options(
        KafkaSettings(security_protocol="SASL_SSL", sasl_username="me", sasl_password=SecretStr("secret"))
    )
    assert isinstance(options["ssl_context"], ssl.SSLContext)
    assert options["ssl_context"].verify_mode is ssl.CERT_REQUIRED
    assert (options["sasl_mechanism"], options["sasl_plain_username"]) == ("SCRAM-SHA-512", "me")
    assert options["sasl_plain_password"] == "secret"


def test_sasl_without_a_password_is_refused() -> None:
    with pytest.raises(SettingsInvalid, match=r"needs kafka\.sasl_username and kafka\.sasl_password"):
        client_options(KafkaSettings(security_protocol="SASL_PLAINTEXT", sasl_username="me"))


def test_a_ca_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match=r"kafka\.ssl_cafile cannot be used"):
        client_options(KafkaSettings(security_protocol="SSL", ssl_cafile=tmp_path / "absent.pem"))


@pytest.mark.parametrize("kind", ALL_ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_is_translated_without_its_text(kind: type[Exception]) -> None:
    error = kind.__new__(kind)
    error.args = ("a prompt",)
    translated = translate(error, "send a record")
    assert isinstance(translated, KafkaUnavailable | SettingsInvalid | TopicsMissing)
    assert str(translated).startswith("could not send a record")
    assert "a prompt" not in str(translated)


@pytest.mark.parametrize("kind", ALL_ERRORS, ids=lambda kind: kind.__name__)
def test_what_aiokafka_would_try_again_is_worth_another_try(kind: type[Exception]) -> None:
    translated = translate(kind.__new__(kind), "send a record")
    if getattr(kind, "retriable", False) and not isinstance(translated, TopicsMissing):
        assert translated.retryable


@pytest.mark.parametrize("kind", MENDED_BY_HAND, ids=lambda kind: kind.__name__)
def test_what_time_does_not_mend_is_for_an_operator(kind: type[Exception]) -> None:
    assert isinstance(translate(kind("no"), "send a record"), SettingsInvalid)


def test_a_missing_topic_says_how_to_make_it() -> None:
    with pytest.raises(TopicsMissing, match="headworks topics apply"), kafka_errors("read"):
        raise kafka.UnknownTopicOrPartitionError


@pytest.mark.parametrize("error", [ConnectionRefusedError(), TimeoutError(), OSError()])
def test_trouble_on_the_way_is_kafka_away(error: OSError) -> None:
    with pytest.raises(KafkaUnavailable), kafka_errors("read"):
        raise error


def test_other_errors_pass() -> None:
    with pytest.raises(ZeroDivisionError), kafka_errors("read"):
        raise ZeroDivisionError
