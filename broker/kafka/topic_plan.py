"""Which topics there are to be, with which settings, and in what those that are there differ."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple

from broker.errors import SettingsInvalid
from broker.kafka.cluster import NewTopicSpec, Setting, TopicState
from broker.settings import KafkaSettings
from schemas import topics
from schemas.envelope import TTL_S_MAX
from schemas.topics import Lane, RetryDelay

PROBE = "probe"
"""Where `headworks doctor` writes an empty record, to see that it can and to compare clocks."""

WORK_RETENTION_MS = (TTL_S_MAX + 7 * 86_400) * 1000
"""The longest deadline, and a week to mend what broke."""
DEAD_RETENTION_MS = 30 * 86_400 * 1000
PROBE_RETENTION_MS = 3_600 * 1000
HEADER_BYTES_ROOM = 128 * 1024
"""An inner record is an application's value, a state header and a seal."""

Plan = Mapping[str, NewTopicSpec]


def plan(settings: KafkaSettings, applications: Iterable[str], walled: Iterable[str] = ()) -> Plan:
    """Every topic, by name. Applications in `walled` have topics of their own to publish on.

    Raises SettingsInvalid where an inner record could not hold what a record of `jobs.*` may.
    """
    room = settings.inner_record_bytes_max - settings.jobs_record_bytes_max
    if room < HEADER_BYTES_ROOM:
        raise SettingsInvalid(
            "kafka.inner_record_bytes_max must exceed kafka.jobs_record_bytes_max by "
            f"{HEADER_BYTES_ROOM} at least, for the headers"
        )
    job_names = [topics.jobs(lane) for lane in Lane]
    job_names += [topics.jobs(lane, application) for application in walled for lane in Lane]
    specs = [_jobs(settings, name) for name in job_names]
    specs += [_inner(settings, name) for name in _inner_names()]
    specs += [_dead(settings), _events(settings), _probe(settings)]
    specs += [_replies(settings, application) for application in applications]
    return {spec.name: spec for spec in specs}


def _inner_names() -> list[str]:
    names = [of(lane) for of in (topics.admitted, topics.reserved, topics.outcomes) for lane in Lane]
    return [*names, *map(topics.retry, RetryDelay), topics.PARKED]


def _jobs(settings: KafkaSettings, name: str) -> NewTopicSpec:
    # A broker that stores uncompressed inflates what a client compressed, and then measures it.
    own = _log(settings, settings.jobs_record_bytes_max, WORK_RETENTION_MS) | {
        "compression.type": "uncompressed"
    }
    return NewTopicSpec(name, settings.partitions, settings.replication_factor, own)


def _inner(settings: KafkaSettings, name: str) -> NewTopicSpec:
    own = _log(settings, settings.inner_record_bytes_max, WORK_RETENTION_MS)
    return NewTopicSpec(name, settings.partitions, settings.replication_factor, own)


def _dead(settings: KafkaSettings) -> NewTopicSpec:
    own = _log(settings, settings.inner_record_bytes_max, DEAD_RETENTION_MS)
    return NewTopicSpec(topics.DEAD, settings.partitions, settings.replication_factor, own)


def _events(settings: KafkaSettings) -> NewTopicSpec:
    own = _log(settings, settings.inner_record_bytes_max, WORK_RETENTION_MS)
    return NewTopicSpec(topics.EVENTS, 1, settings.replication_factor, own)


def _probe(settings: KafkaSettings) -> NewTopicSpec:
    own = _log(settings, 1024, PROBE_RETENTION_MS)
    return NewTopicSpec(PROBE, 1, settings.replication_factor, own)


def _replies(settings: KafkaSettings, application: str) -> NewTopicSpec:
    own = _log(settings, settings.inner_record_bytes_max, WORK_RETENTION_MS)
    name = topics.replies(application)
    return NewTopicSpec(name, settings.reply_partitions, settings.replication_factor, own)


def _log(settings: KafkaSettings, record_bytes_max: int, retention_ms: int) -> dict[str, str]:
    """What all topics share. Deadlines and freshness are judged by the append time; a job may be lost
    neither to a size limit on the log nor to a replica that was behind when it was made leader.
    """
    return {
        "cleanup.policy": "delete",
        "compression.type": "producer",
        "max.message.bytes": str(record_bytes_max),
        "message.timestamp.type": "LogAppendTime",
        "min.insync.replicas": _insync_min(settings.replication_factor),
        "retention.bytes": "-1",
        "retention.ms": str(retention_ms),
        "unclean.leader.election.enable": "false",
    }


def _insync_min(replication_factor: int) -> str:
    return "2" if replication_factor >= 3 else "1"


class Fault(StrEnum):
    """In what a topic can differ from the plan."""

    MISSING = "missing"
    SETTING = "setting"
    PARTITIONS = "partitions"
    REPLICATION = "replication"
    LEADERLESS = "leaderless"


class Difference(NamedTuple):
    """One thing in which a topic is not as planned."""

    topic: str
    fault: Fault
    name: str
    wanted: str
    found: str

    def __str__(self) -> str:
        if self.fault is Fault.MISSING:
            return f"{self.topic} is missing"
        return f"{self.topic}: {self.name} is {self.found}, not {self.wanted}"

    @property
    def stops_work(self) -> bool:
        """Whether workers cannot do with it."""
        return self.fault is Fault.MISSING or self.name == "message.timestamp.type"

    @property
    def remedy(self) -> str:
        """What an operator can do about it."""
        if self.fault is Fault.REPLICATION:
            return "move replicas with Kafka's own kafka-reassign-partitions.sh"
        if self.fault is Fault.LEADERLESS:
            return "bring the brokers back that hold these partitions"
        if self.fault is Fault.PARTITIONS and is_outcomes(self.topic):
            return "headworks topics apply --grow-outcomes, once no job is under way"
        return "headworks topics apply"


def is_outcomes(topic: str) -> bool:
    """A job finds its outcome by its partition there, so more partitions mislead jobs that are under way."""
    return topic in {topics.outcomes(lane) for lane in Lane}


def fit(planned: Plan, found: Mapping[str, TopicState]) -> Plan:
    """Ask of each topic no more replicas in sync than its own replication allows: a topic of one replica that
    must have two in sync takes no record any more.
    """
    fitted = dict(planned)
    for name in planned.keys() & found.keys():
        spec = planned[name]
        replicas = min(spec.replication_factor, found[name].replication_factor)
        own = {**spec.settings, "min.insync.replicas": _insync_min(replicas)}
        fitted[name] = spec._replace(settings=own)
    return fitted


def compare(planned: Plan, found: Mapping[str, TopicState]) -> list[Difference]:
    """More partitions than planned are no difference: they cannot be taken away."""
    differences: list[Difference] = []
    for spec in planned.values():
        state = found.get(spec.name)
        if state is None:
            differences.append(Difference(spec.name, Fault.MISSING, "topic", "there", "missing"))
        else:
            differences += _shape(spec, state)
            differences += _settings(spec, state.settings)
    return differences


def _shape(spec: NewTopicSpec, state: TopicState) -> list[Difference]:
    found: list[Difference] = []
    if state.partitions < spec.partitions:
        found.append(_number(spec.name, Fault.PARTITIONS, spec.partitions, state.partitions))
    if state.replication_factor < spec.replication_factor:
        found.append(_number(spec.name, Fault.REPLICATION, spec.replication_factor, state.replication_factor))
    if state.leaderless:
        found.append(_number(spec.name, Fault.LEADERLESS, 0, state.leaderless))
    return found


def _number(topic: str, fault: Fault, wanted: int, found: int) -> Difference:
    names = {
        Fault.PARTITIONS: "number of partitions",
        Fault.REPLICATION: "replication factor",
        Fault.LEADERLESS: "number of partitions without a leader",
    }
    return Difference(topic, fault, names[fault], str(wanted), str(found))


def _settings(spec: NewTopicSpec, found: Mapping[str, Setting]) -> list[Difference]:
    different: list[Difference] = []
    for name, wanted in spec.settings.items():
        value = found[name].value if name in found else None
        if value != wanted:
            different.append(Difference(spec.name, Fault.SETTING, name, wanted, value or "not set"))
    return different


def walled_applications(names: Iterable[str]) -> set[str]:
    """The applications that have a topic of their own in some lane."""
    found: set[str] = set()
    for name in names:
        try:
            application = topics.parse_jobs(name).application
        except ValueError:
            continue
        if application is not None:
            found.add(application)
    return found
