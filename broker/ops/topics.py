"""Topics for the applications that the database knows."""

from broker.kafka import topics
from broker.kafka.cluster import NewTopicSpec, TopicState
from broker.kafka.topic_plan import Difference
from broker.kafka.topics import Report
from broker.ops import applications
from broker.ops.changes import act, record_change
from broker.settings import KafkaSettings
from broker.store.database import Database


async def apply(database: Database, kafka: KafkaSettings, *, grow_outcomes: bool) -> Report:
    """What is done goes on the record of operations. Raises Unavailable, SettingsInvalid."""
    report = await topics.apply(kafka, await applications.names(database), grow_outcomes=grow_outcomes)
    if report.done:
        async with act(database) as connection:
            await record_change(connection, "topics.apply", "topics", {}, {"done": report.done})
    return report


async def check(database: Database, kafka: KafkaSettings) -> list[Difference]:
    """Raises Unavailable, SettingsInvalid."""
    return await topics.check(kafka, await applications.names(database))


async def list_all(database: Database, kafka: KafkaSettings) -> list[tuple[NewTopicSpec, TopicState | None]]:
    """Each topic as planned and as it stands. Raises Unavailable, SettingsInvalid."""
    return await topics.overview(kafka, await applications.names(database))
