"""A Kafka cluster as an operator sees it: its topics, their settings, and what can be done to them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, UnknownTopicOrPartitionError, for_code

from broker.errors import KafkaUnavailable
from broker.kafka.connection import client_options, kafka_errors
from broker.settings import KafkaSettings

_SHOWN_WITHIN_S = 15.0
_POLL_S = 0.05
_DYNAMIC_TOPIC_CONFIG = 1
"""The source of a setting that was made for this topic, in DescribeConfigs from version 1 (KIP-226)."""


class Setting(NamedTuple):
    """One setting of a topic."""

    value: str | None
    own: bool
    """Made for this topic; otherwise the broker's default."""


class TopicState(NamedTuple):
    """A topic as it stands."""

    partitions: int
    replication_factor: int
    leaderless: int
    """Partitions that have no leader, and so can be neither written nor read."""
    settings: Mapping[str, Setting]


class NewTopicSpec(NamedTuple):
    """A topic to be made."""

    name: str
    partitions: int
    replication_factor: int
    settings: Mapping[str, str]


class Cluster:
    """`async with connect(settings) as cluster`. Every method raises KafkaUnavailable or SettingsInvalid."""

    def __init__(self, admin: AIOKafkaAdminClient) -> None:
        self._admin = admin

    async def brokers(self) -> int:
        """How many brokers there are."""
        with kafka_errors("describe the cluster"):
            return len((await self._admin.describe_cluster())["brokers"])

    async def topics(self) -> dict[str, TopicState]:
        """Every topic, without its settings."""
        with kafka_errors("list topics"):
            found = await self._admin.describe_topics()
        return {topic["topic"]: _state(topic) for topic in found if not topic["is_internal"]}

    async def settings(self, names: Iterable[str]) -> dict[str, dict[str, Setting]]:
        """By topic, then by setting. A topic that is gone by now is left out."""
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        if not resources:
            return {}
        with kafka_errors("read the settings of topics"):
            [answer] = await self._admin.describe_configs(resources)
            return {
                name: dict(map(_setting, entries))
                for error_code, message, _, name, entries in answer.resources
                if not _is(UnknownTopicOrPartitionError, error_code, message)
            }

    async def create(self, specs: Iterable[NewTopicSpec]) -> None:
        """One that is there already, made by somebody else this moment, is no error."""
        new = [
            NewTopic(spec.name, spec.partitions, spec.replication_factor, topic_configs=dict(spec.settings))
            for spec in specs
        ]
        with kafka_errors("make topics"):
            answer = await self._admin.create_topics(new)
            for _, error_code, message in answer.topic_errors:
                _is(TopicAlreadyExistsError, error_code, message)

    async def set_settings(self, topic: str, settings: Mapping[str, str]) -> None:
        """Replace all the settings that were made for the topic: AlterConfigs drops those not named.

        Returns when the broker shows them: it answers before it has taken them in.
        """
        with kafka_errors(f"set the settings of {topic}"):
            resource = ConfigResource(ConfigResourceType.TOPIC, topic, dict(settings))
            [answer] = await self._admin.alter_configs([resource])
            for error_code, message, *_ in answer.resources:
                _raise_for(error_code, message)

        async def shown() -> bool:
            found = (await self.settings([topic]))[topic]
            return all(found[name].value == value for name, value in settings.items())

        await _until(shown, _SHOWN_WITHIN_S, f"{topic} does not show its new settings")

    async def add_partitions(self, topic: str, total: int) -> None:
        with kafka_errors(f"add partitions to {topic}"):
            await self._admin.create_partitions({topic: NewPartitions(total)})

    async def wait_for_leaders(self, topics: Mapping[str, int], timeout_s: float) -> None:
        """Return when each topic has so many partitions or more, and a leader for each.

        Raises KafkaUnavailable after `timeout_s`.
        """

        async def led() -> bool:
            return topics.keys() <= await self._led(topics)

        await _until(led, timeout_s, "not every partition has a leader; see `headworks topics check`")

    async def _led(self, topics: Mapping[str, int]) -> set[str]:
        found = await self.topics()
        return {
            name
            for name, state in found.items()
            if name in topics and state.partitions >= max(topics[name], 1) and not state.leaderless
        }


@asynccontextmanager
async def connect(settings: KafkaSettings) -> AsyncIterator[Cluster]:
    """Raises KafkaUnavailable where no broker answers."""
    admin = AIOKafkaAdminClient(**client_options(settings))
    try:
        with kafka_errors(f"reach Kafka at {settings.bootstrap_servers}"):
            await admin.start()
        yield Cluster(admin)
    finally:
        await admin.close()


async def _until(condition: Callable[[], Awaitable[bool]], timeout_s: float, otherwise: str) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                if await condition():
                    return
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise KafkaUnavailable(f"{otherwise}, even after {timeout_s:g} s") from None


def _state(topic: Mapping[str, Any]) -> TopicState:
    partitions = topic["partitions"]
    return TopicState(
        partitions=len(partitions),
        replication_factor=min((len(partition["replicas"]) for partition in partitions), default=0),
        leaderless=sum(partition["leader"] < 0 for partition in partitions),
        settings={},
    )


def _setting(entry: tuple[Any, ...]) -> tuple[str, Setting]:
    name, value, _read_only, source, *_ = entry
    return name, Setting(value, own=source == _DYNAMIC_TOPIC_CONFIG)


def _is(borne: type[KafkaError], error_code: int, message: str | None) -> bool:
    """Whether it is the one error that the caller can bear; any other is raised."""
    if error_code == borne.errno:
        return True
    _raise_for(error_code, message)
    return False


def _raise_for(error_code: int, message: str | None) -> None:
    """These answers are about names and settings, never about records, so the broker's words may be shown."""
    if error_code:
        raise for_code(error_code)(message)
