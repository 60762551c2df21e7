"""The checks of Kafka: there, the topics right, records taken, the clock kept."""

from collections.abc import Sequence

from broker.errors import HeadworksError, TopicsMissing, Unavailable
from broker.kafka import topics
from broker.kafka.cluster import connect
from broker.kafka.probe import Probe, speaks_kafka_4, write_probe
from broker.kafka.topic_plan import Difference
from broker.ops import applications
from broker.ops.checks import Check, attempt, compare_clocks
from broker.settings import KafkaSettings, Settings
from broker.store import migrate
from broker.store.database import Database

_SHOWN = 3
_APPLY = "headworks topics apply"


async def check_kafka(settings: Settings) -> Sequence[Check]:
    """The rest is left out where no broker answers."""
    fix = "start Kafka, or mend kafka.bootstrap_servers and kafka.security_protocol"
    reached = await attempt("kafka", fix, lambda: _reach(settings.kafka))
    if not reached.ok:
        return [reached]
    return reached, await _topics(settings), *await check_writing(settings.kafka)


async def _reach(kafka: KafkaSettings) -> str:
    async with connect(kafka) as cluster:
        brokers = await cluster.brokers()
    found = f"{brokers} broker{'' if brokers == 1 else 's'} at {kafka.bootstrap_servers}"
    if await speaks_kafka_4(kafka):
        return f"{found}, Kafka 4.0 or later"
    return f"{found}; it speaks an older protocol than that of Kafka 4, with which Headworks is tested"


async def _topics(settings: Settings) -> Check:
    try:
        names = await _applications(settings)
        differences = await topics.check(settings.kafka, names or ())
    except HeadworksError as error:
        return Check.failed("topics", error, _APPLY)
    if not differences:
        unseen = "; those of applications not, for the database cannot be read" if names is None else ""
        return Check.passed("topics", f"all there, with settings and leaders as they should be{unseen}")
    differences.sort(key=lambda difference: not difference.stops_work)
    return Check.failed("topics", TopicsMissing(told(differences)), differences[0].remedy)


async def _applications(settings: Settings) -> list[str] | None:
    """None where the database is away or behind, which has checks of its own."""
    try:
        database = await Database.open(settings.database)
    except HeadworksError:
        return None
    try:
        await migrate.check(database)
        return await applications.names(database)
    except HeadworksError:
        return None
    finally:
        await database.close()


def told(differences: Sequence[Difference]) -> str:
    """The first few, and how many more."""
    more = f"; and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
    return "; ".join(map(str, differences[:_SHOWN])) + more


async def check_writing(kafka: KafkaSettings) -> Sequence[Check]:
    """That a record is taken, and what time it is at the broker."""
    try:
        probe = await write_probe(kafka)
    except HeadworksError as error:
        fix = "wait, and look at the brokers' logs" if isinstance(error, Unavailable) else _APPLY
        return [Check.failed("kafka writing", error, fix)]
    took_ms = probe.received_ms - probe.sent_ms
    written = Check.passed("kafka writing", f"a record was acknowledged by all replicas within {took_ms} ms")
    return [written, _clock(kafka, probe)]


def _clock(kafka: KafkaSettings, probe: Probe) -> Check:
    name = "kafka clock"
    if probe.stamped:
        return compare_clocks(name, probe.sent_ms, probe.appended_ms, probe.received_ms)
    if kafka.append_time == "receipt":
        return Check.passed(name, "not used: kafka.append_time is receipt")
    error = TopicsMissing("the broker does not stamp the append time (message.timestamp.type)")
    return Check.failed(name, error, _APPLY)
