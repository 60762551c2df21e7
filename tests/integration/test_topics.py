"""Topics on real Kafka and on the embedded one: made, mended, compared, and waited for."""

import asyncio
import uuid

import pytest

from broker.errors import KafkaUnavailable, SettingsInvalid, TopicsMissing
from broker.kafka import topics
from broker.kafka.cluster import NewTopicSpec, connect
from broker.kafka.embedded import EmbeddedKafka
from broker.kafka.probe import speaks_kafka_4, write_probe
from broker.kafka.topic_plan import Fault, plan
from broker.settings import KafkaSettings
from schemas.topics import Lane
from tests.services import KafkaServer

DEADLINE_S = 30


@pytest.fixture
def application() -> str:
    return f"app-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def real(kafka: KafkaServer) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=kafka.bootstrap_servers)


@pytest.fixture
def embedded(embedded_kafka: EmbeddedKafka) -> KafkaSettings:
    return KafkaSettings(
        bootstrap_servers=embedded_kafka.bootstrap_servers, idempotence=False, append_time="receipt"
    )


@pytest.fixture(params=["real", "embedded"])
def settings(request: pytest.FixtureRequest) -> KafkaSettings:
    found: KafkaSettings = request.getfixturevalue(request.param)
    return found


async def test_what_is_missing_is_made_and_nothing_is_done_twice(
    settings: KafkaSettings, application: str
) -> None:
    report = await topics.apply(settings, [application])
    assert f"made replies.{application} (16 partitions)" in report.done
    assert await topics.apply(settings, [application]) == ([], [])
    assert await topics.check(settings, [application]) == []
    await topics.require(settings)


async def test_every_partition_has_a_leader_at_once(settings: KafkaSettings, application: str) -> None:
    await topics.apply(settings, [application])
    async with connect(settings) as cluster:
        found = await cluster.topics()
    for name, spec in plan(settings, [application]).items():
        assert (found[name].partitions >= spec.partitions, found[name].leaderless) == (True, 0)


async def test_an_application_gets_its_own_topics_alone(settings: KafkaSettings, application: str) -> None:
    report = await topics.apply_application(settings, application, walled=True)
    own = [f"made jobs.{lane}.{application} (6 partitions)" for lane in Lane]
    assert report.done == [*own, f"made replies.{application} (16 partitions)"]


async def test_walls_that_stand_are_looked_after(settings: KafkaSettings, application: str) -> None:
    await topics.apply_application(settings, application, walled=True)
    async with connect(settings) as cluster:
        listed = {spec.name for spec, _ in await topics.overview(settings, [application])}
        assert {f"jobs.{lane}.{application}" for lane in Lane} <= listed
        await cluster.wait_for_leaders({f"jobs.{lane}.{application}": 6 for lane in Lane}, DEADLINE_S)


async def test_what_is_absent_is_named(settings: KafkaSettings, application: str) -> None:
    await topics.apply(settings, [])
    [difference] = await topics.check(settings, [application])
    assert (difference.topic, difference.fault) == (f"replies.{application}", Fault.MISSING)


async def test_the_embedded_broker_can_alter_nothing_and_that_is_told(
    embedded: KafkaSettings, application: str
) -> None:
    await topics.apply(embedded, [application])
    more = embedded.model_copy(update={"reply_partitions": 17, "inner_record_bytes_max": 13 * 2**20})
    report = await topics.apply(more, [application])
    assert report.done == []
    assert {d.fault for d in report.left if d.topic == f"replies.{application}"} == {
        Fault.PARTITIONS,
        Fault.SETTING,
    }


async def test_settings_that_differ_are_mended_and_others_kept(real: KafkaSettings, application: str) -> None:
    await topics.apply(real, [application])
    name = f"replies.{application}"
    async with connect(real) as cluster:
        await cluster.set_settings(name, {"retention.ms": "5", "segment.bytes": "20000000"})
        changed = {d.name for d in await topics.check(real, [application]) if d.topic == name}
        assert changed >= {"retention.ms", "message.timestamp.type", "max.message.bytes"}
        report = await topics.apply(real, [application])
        assert f"{name}: retention.ms is now 1209600000, was 5" in report.done
        assert report.left == []
        assert (await cluster.settings([name]))[name]["segment.bytes"].value == "20000000"
    assert await topics.check(real, [application]) == []


async def test_workers_do_not_start_without_the_append_time(real: KafkaSettings) -> None:
    await topics.apply(real, [])
    async with connect(real) as cluster:
        await cluster.set_settings("jobs.bulk", {"message.timestamp.type": "CreateTime"})
    with pytest.raises(TopicsMissing, match=r"jobs\.bulk: message\.timestamp\.type is CreateTime"):
        await topics.require(real)
    await topics.apply(real, [])
    await topics.require(real)


async def test_workers_do_not_start_without_topics() -> None:
    async with EmbeddedKafka() as empty:
        bare = KafkaSettings(bootstrap_servers=empty.bootstrap_servers)
        with pytest.raises(TopicsMissing, match=r"missing; and \d+ more; `headworks topics apply` mends"):
            await topics.require(bare)
        with pytest.raises(TopicsMissing, match="`headworks topics apply` makes it"):
            await write_probe(bare.model_copy(update={"idempotence": False}))


async def test_partitions_are_added(real: KafkaSettings, application: str) -> None:
    await topics.apply(real, [application])
    more = real.model_copy(update={"reply_partitions": 17})
    report = await topics.apply(more, [application])
    assert report.done == [f"replies.{application}: number of partitions is now 17, was 16"]
    async with connect(real) as cluster:
        state = (await cluster.topics())[f"replies.{application}"]
    assert (state.partitions, state.leaderless) == (17, 0)


async def test_outcomes_get_more_partitions_only_on_request(real: KafkaSettings) -> None:
    await topics.apply(real, [])
    async with connect(real) as cluster:
        had = (await cluster.topics())["outcomes.bulk"].partitions
    more = real.model_copy(update={"partitions": had + 1})
    left = {difference.topic for difference in (await topics.apply(more, [])).left}
    assert left == {f"outcomes.{lane}" for lane in Lane}
    assert (await topics.apply(more, [], grow_outcomes=True)).left == []


async def test_more_replicas_than_brokers_are_an_operators_mistake(
    real: KafkaSettings, application: str
) -> None:
    with pytest.raises(SettingsInvalid, match=r"kafka\.replication_factor exceeds the number of brokers"):
        await topics.apply_application(
            real.model_copy(update={"replication_factor": 3}), application, walled=False
        )


async def test_two_who_apply_at_once_both_succeed(real: KafkaSettings, application: str) -> None:
    await asyncio.gather(*(topics.apply(real, [application]) for _ in range(3)))
    assert await topics.check(real, [application]) == []


async def test_a_topic_without_leaders_is_waited_for_no_longer_than_said(real: KafkaSettings) -> None:
    async with connect(real) as cluster:
        with pytest.raises(KafkaUnavailable, match="not every partition has a leader"):
            await cluster.wait_for_leaders({"nowhere": 1}, timeout_s=0.2)


async def test_without_kafka_it_is_said_where_none_is(unused_tcp_port: int) -> None:
    absent = KafkaSettings(bootstrap_servers=f"127.0.0.1:{unused_tcp_port}")
    with pytest.raises(KafkaUnavailable, match=f"could not reach Kafka at {absent.bootstrap_servers}"):
        await topics.require(absent)


async def test_a_probe_is_stamped_by_kafka(real: KafkaSettings) -> None:
    await topics.apply(real, [])
    probe = await write_probe(real)
    assert probe.stamped
    assert probe.sent_ms <= probe.appended_ms <= probe.received_ms
    assert await speaks_kafka_4(real)


async def test_the_embedded_broker_stamps_nothing(embedded: KafkaSettings) -> None:
    await topics.apply(embedded, [])
    assert not (await write_probe(embedded)).stamped
    assert not await speaks_kafka_4(embedded)


async def test_a_topic_that_is_there_already_is_no_error(real: KafkaSettings, application: str) -> None:
    spec = NewTopicSpec(f"replies.{application}", 1, 1, {})
    async with connect(real) as cluster:
        await cluster.create([spec])
        await cluster.create([spec])
