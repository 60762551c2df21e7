"""What all our Kafka clients share: where the brokers are, how to speak to them, what errors mean."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiokafka import errors as kafka
from aiokafka.helpers import create_ssl_context

from broker.errors import HeadworksError, KafkaUnavailable, SettingsInvalid, TopicsMissing
from broker.kafka import closed_transport
from broker.settings import KafkaSettings

CLIENT_ID = "headworks"

_CONFIGURATION: dict[type[Exception], str] = {
    kafka.TopicAuthorizationFailedError: "this user may not use a topic: grant it in the cluster's ACLs",
    kafka.GroupAuthorizationFailedError: "this user may not use a consumer group: grant it in the ACLs",
    kafka.ClusterAuthorizationFailedError: "this user may not administer the cluster: grant it in the ACLs",
    kafka.TransactionalIdAuthorizationFailed: "this user may not produce idempotently: grant it in the ACLs",
    kafka.SaslAuthenticationFailed: "kafka.sasl_username or kafka.sasl_password is wrong",
    kafka.UnsupportedSaslMechanismError: "the broker does not offer kafka.sasl_mechanism",
    kafka.IllegalSaslStateError: "kafka.security_protocol does not fit the broker's listener",
    kafka.SecurityDisabled: "the broker has no security enabled",
    kafka.IncompatibleBrokerVersion: "the broker lacks a request that Headworks needs: use Apache Kafka 4",
    kafka.UnsupportedVersionError: "the broker lacks a request that Headworks needs: use Apache Kafka 4",
    kafka.InvalidReplicationFactorError: "kafka.replication_factor exceeds the number of brokers",
    kafka.InvalidPartitionsError: "the broker refuses that number of partitions",
    kafka.InvalidConfigurationError: "the broker refuses a setting of a topic",
    kafka.PolicyViolationError: "a policy of the cluster refuses the topic or its settings",
    kafka.MessageSizeTooLargeError: "a record is larger than its topic takes: see `headworks topics check`",
}


def client_options(settings: KafkaSettings) -> dict[str, Any]:
    """Keyword arguments that aiokafka's producer, consumer and admin client all take.

    Raises SettingsInvalid where a CA file cannot be read.
    """
    closed_transport.mend()
    options: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap_servers,
        "client_id": CLIENT_ID,
        "security_protocol": settings.security_protocol,
        "request_timeout_ms": settings.request_timeout_ms,
    }
    if settings.security_protocol.endswith("SSL"):
        options["ssl_context"] = _ssl_context(settings)
    if settings.security_protocol.startswith("SASL"):
        options |= _sasl(settings)
    return options


def _ssl_context(settings: KafkaSettings) -> Any:
    cafile = None if settings.ssl_cafile is None else str(settings.ssl_cafile)
    try:
        return create_ssl_context(cafile=cafile)
    except OSError as error:
        raise SettingsInvalid(f"kafka.ssl_cafile cannot be used: {error.strerror or error}") from None


def _sasl(settings: KafkaSettings) -> dict[str, Any]:
    if settings.sasl_username is None or settings.sasl_password is None:
        raise SettingsInvalid(
            f"kafka.security_protocol {settings.security_protocol} needs kafka.sasl_username and "
            "kafka.sasl_password"
        )
    return {
        "sasl_mechanism": settings.sasl_mechanism,
        "sasl_plain_username": settings.sasl_username,
        "sasl_plain_password": settings.sasl_password.get_secret_value(),
    }


@contextmanager
def kafka_errors(doing: str) -> Iterator[None]:
    """Let no error of aiokafka through but as one of ours; `doing` says what failed, as in "list topics"."""
    try:
        yield
    except (kafka.KafkaError, OSError, TimeoutError) as error:
        raise translate(error, doing) from error


def translate(error: Exception, doing: str) -> HeadworksError:
    """What time does not mend is a ConfigurationError; the rest is KafkaUnavailable, and worth another try.

    The text holds the error's class alone: its arguments may quote records.
    """
    name = type(error).__name__
    for kind, meaning in _CONFIGURATION.items():
        if isinstance(error, kind):
            return SettingsInvalid(f"could not {doing} ({name}): {meaning}")
    if isinstance(error, kafka.UnknownTopicOrPartitionError):
        return TopicsMissing(f"could not {doing}: a topic is missing; `headworks topics apply` makes it")
    return KafkaUnavailable(f"could not {doing}: {name}")
