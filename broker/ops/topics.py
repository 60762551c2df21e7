"""Topics for the applications that the database knows."""

from broker.kafka import topics
from broker.kafka.cluster import NewTopicSpec, TopicState
from broker.kafka.topic_plan import Difference
from broker.kafka.topics import Report, Work
from broker.ops import applications
from broker.ops.changes import act, record_change
from broker.settings import KafkaSettings
from broker.store.database import Database


async def apply(database: Database, kafka: KafkaSettings, *, grow_outcomes: bool) -> Report:
    """What is done goes on the record of operations, also where it breaks off, with what was under way then.
    Raises Unavailable, SettingsInvalid.
    """
    work = Work()
    known = await applications.names(database)
    try:
        return await topics.apply(kafka, known, grow_outcomes=grow_outcomes, work=work)
    finally:
        after = {name: lines for name, lines in (("done", work.done), ("failed", work.begun)) if lines}
        if after:
            async with act(database) as connection:
                await record_change(connection, "topics.apply", "topics", {}, after)


async def check(database: Database, kafka: KafkaSettings) -> list[Difference]:
    """Raises Unavailable, SettingsInvalid."""
    return await topics.check(kafka, await applications.names(database))


async def list_all(database: Database, kafka: KafkaSettings) -> list[tuple[NewTopicSpec, TopicState | None]]:
    """Each topic as planned and as it stands. Raises Unavailable, SettingsInvalid."""
    return await topics.overview(kafka, await applications.names(database))
