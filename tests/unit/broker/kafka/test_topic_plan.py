"""Which topics there are to be, and in what those that are there differ."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import SettingsInvalid
from broker.kafka.cluster import NewTopicSpec, Setting, TopicState
from broker.kafka.topic_plan import (
    HEADER_BYTES_ROOM,
    PROBE,
    Fault,
    compare,
    fit,
    is_outcomes,
    plan,
    walled_applications,
)
from broker.settings import KafkaSettings
from schemas import topics
from schemas.envelope import TTL_S_MAX
from schemas.topics import Lane, RetryDelay

ONE_BROKER = KafkaSettings()
THREE_BROKERS = KafkaSettings(replication_factor=3)


def _as_planned(planned: Mapping[str, NewTopicSpec]) -> dict[str, TopicState]:
    return {
        name: TopicState(
            spec.partitions,
            spec.replication_factor,
            0,
            {key: Setting(value, own=True) for key, value in spec.settings.items()},
        )
        for name, spec in planned.items()
    }


def test_it_names_every_topic() -> None:
    expected = {of(lane) for of in (topics.admitted, topics.reserved, topics.outcomes) for lane in Lane}
    expected |= {topics.jobs(lane) for lane in Lane} | {topics.retry(delay) for delay in RetryDelay}
    expected |= {topics.PARKED, topics.DEAD, topics.EVENTS, PROBE, "replies.indexer"}
    assert plan(ONE_BROKER, ["indexer"]).keys() == expected


def test_a_walled_application_has_a_topic_in_each_lane() -> None:
    own = plan(ONE_BROKER, ["indexer"], ["indexer"]).keys() - plan(ONE_BROKER, ["indexer"]).keys()
    assert own == {topics.jobs(lane, "indexer") for lane in Lane}


def test_everything_is_judged_by_the_append_time_and_kept_past_the_longest_deadline() -> None:
    for name, spec in plan(ONE_BROKER, ["indexer"]).items():
        assert spec.settings["message.timestamp.type"] == "LogAppendTime"
        assert spec.settings["unclean.leader.election.enable"] == "false"
        assert spec.settings["retention.bytes"] == "-1"
        if name != PROBE:
            assert int(spec.settings["retention.ms"]) >= (TTL_S_MAX + 7 * 86_400) * 1000


def test_a_compressed_bomb_is_measured_inflated() -> None:
    for name, spec in plan(ONE_BROKER, ["indexer"], ["indexer"]).items():
        uncompressed = spec.settings["compression.type"] == "uncompressed"
        assert uncompressed == name.startswith("jobs.")


def test_inner_topics_take_larger_records_than_those_of_jobs() -> None:
    planned = plan(ONE_BROKER, ["indexer"])
    of_jobs = int(planned["jobs.bulk"].settings["max.message.bytes"])
    assert of_jobs == ONE_BROKER.jobs_record_bytes_max
    for name in ("admitted.bulk", "outcomes.bulk", "retry.1s", "parked", "dead", "replies.indexer"):
        assert int(planned[name].settings["max.message.bytes"]) >= of_jobs + HEADER_BYTES_ROOM


def test_inner_records_without_room_for_headers_are_refused() -> None:
    tight = KafkaSettings(jobs_record_bytes_max=2**20, inner_record_bytes_max=2**20 + HEADER_BYTES_ROOM - 1)
    with pytest.raises(SettingsInvalid, match=r"kafka\.inner_record_bytes_max must exceed"):
        plan(tight, [])


@pytest.mark.parametrize(("settings", "insync_min"), [(ONE_BROKER, "1"), (THREE_BROKERS, "2")])
def test_with_three_replicas_two_must_have_a_record(settings: KafkaSettings, insync_min: str) -> None:
    assert {spec.settings["min.insync.replicas"] for spec in plan(settings, ["a"]).values()} == {insync_min}


def test_a_topic_of_one_replica_is_not_asked_for_two_in_sync() -> None:
    planned = plan(THREE_BROKERS, [])
    single = _as_planned(plan(ONE_BROKER, []))
    fitted = fit(planned, single)
    assert {spec.settings["min.insync.replicas"] for spec in fitted.values()} == {"1"}
    assert {difference.fault for difference in compare(fitted, single)} == {Fault.REPLICATION}


@given(st.sampled_from(sorted(plan(ONE_BROKER, ["a"]))))
def test_what_is_not_there_is_missing(absent: str) -> None:
    planned = plan(ONE_BROKER, ["a"])
    found = _as_planned(planned)
    del found[absent]
    [difference] = compare(planned, found)
    assert (difference.topic, difference.fault, difference.stops_work) == (absent, Fault.MISSING, True)


def test_what_is_as_planned_does_not_differ() -> None:
    planned = plan(ONE_BROKER, ["a"], ["a"])
    assert compare(planned, _as_planned(planned)) == []


@given(st.sampled_from(sorted(plan(ONE_BROKER, [])["dead"].settings)), st.booleans())
def test_every_setting_is_compared(name: str, absent: bool) -> None:
    planned = plan(ONE_BROKER, [])
    found = _as_planned(planned)
    own = dict(found["dead"].settings)
    own[name] = Setting("another", own=False)
    if absent:
        del own[name]
    [difference] = compare(planned, found | {"dead": found["dead"]._replace(settings=own)})
    assert (difference.topic, difference.fault, difference.name) == ("dead", Fault.SETTING, name)
    assert difference.found == ("not set" if absent else "another")
    assert difference.stops_work == (name == "message.timestamp.type")


def test_too_few_partitions_differ_and_more_do_not() -> None:
    planned = plan(ONE_BROKER, [])
    found = _as_planned(planned)
    found["dead"] = found["dead"]._replace(partitions=5)
    found["parked"] = found["parked"]._replace(partitions=7)
    [difference] = compare(planned, found)
    assert str(difference) == "dead: number of partitions is 5, not 6"


def test_a_partition_without_a_leader_differs() -> None:
    planned = plan(ONE_BROKER, [])
    found = _as_planned(planned)
    found["dead"] = found["dead"]._replace(leaderless=2)
    [difference] = compare(planned, found)
    assert (difference.fault, difference.found) == (Fault.LEADERLESS, "2")


def test_more_partitions_of_outcomes_are_an_operators_decision() -> None:
    planned = plan(ONE_BROKER, [])
    found = {name: state._replace(partitions=1) for name, state in _as_planned(planned).items()}
    for difference in compare(planned, found):
        assert ("--grow-outcomes" in difference.remedy) == is_outcomes(difference.topic)


def test_walls_are_known_by_their_topics() -> None:
    names = [
        "jobs.bulk",
        "jobs.bulk.indexer",
        "jobs.standard.indexer",
        "jobs.slow.other",
        "replies.third",
        "x",
    ]
    assert walled_applications(names) == {"indexer"}
