"""Topics that are made and mended are on the record of operations, also where that breaks off midway."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from pydantic import SecretStr

from broker.errors import KafkaUnavailable
from broker.kafka import topics as kafka_topics
from broker.kafka.cluster import NewTopicSpec, Setting, TopicState
from broker.kafka.topic_plan import plan
from broker.ops import topics
from broker.settings import DatabaseSettings, KafkaSettings
from broker.store.database import Database
from broker.store.migrate import upgrade
from broker.store.operations import Operation, latest

KAFKA = KafkaSettings()


class Cluster:
    """One that knows a few topics, and goes away in the middle of what `away_at` names."""

    def __init__(self, known: dict[str, TopicState], away_at: str | None) -> None:
        self.known = known
        self.away_at = away_at

    async def topics(self) -> dict[str, TopicState]:
        return dict(self.known)

    async def settings(self, names: Iterable[str]) -> dict[str, dict[str, Setting]]:
        return {name: dict(self.known[name].settings) for name in names}

    async def create(self, specs: Iterable[NewTopicSpec]) -> None:
        self._step("create")
        self.known |= {spec.name: _state(spec) for spec in specs}

    async def set_settings(self, topic: str, settings: Mapping[str, str]) -> None:
        self._step(topic)
        own = {name: Setting(value, own=True) for name, value in settings.items()}
        self.known[topic] = self.known[topic]._replace(settings=own)

    async def add_partitions(self, topic: str, total: int) -> None:
        self._step("partitions")
        self.known[topic] = self.known[topic]._replace(partitions=total)

    async def wait_for_leaders(self, _topics: Mapping[str, int], _timeout_s: float) -> None:
        self._step("leaders")

    def _step(self, name: str) -> None:
        if name == self.away_at:
            raise KafkaUnavailable("no broker answers")


def _state(spec: NewTopicSpec) -> TopicState:
    own = {name: Setting(value, own=True) for name, value in spec.settings.items()}
    return TopicState(spec.partitions, spec.replication_factor, 0, own)


def _cluster(away_at: str | None = None) -> Cluster:
    """`parked` is missing, two others keep their records for another time than they should."""
    known = {name: _state(spec) for name, spec in plan(KAFKA, []).items() if name != "parked"}
    for name in ("dead", "events"):
        own = {**known[name].settings, "retention.ms": Setting("5", own=True)}
        known[name] = known[name]._replace(settings=own)
    return Cluster(known, away_at)


@pytest_asyncio.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    url = f"sqlite+aiosqlite:///{tmp_path}/headworks.db"
    await upgrade(url)
    opened = await Database.open(DatabaseSettings(url=SecretStr(url)))
    yield opened
    await opened.close()


async def _applied(database: Database, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> list[Operation]:
    @asynccontextmanager
    async def connect(_settings: KafkaSettings) -> AsyncIterator[Cluster]:
        yield cluster

    monkeypatch.setattr(kafka_topics, "connect", connect)
    if cluster.away_at is None:
        await topics.apply(database, KAFKA, grow_outcomes=False)
    else:
        with pytest.raises(KafkaUnavailable, match="no broker answers"):
            await topics.apply(database, KAFKA, grow_outcomes=False)
    return [row.operation for row in await latest(database, 9)]


async def test_what_was_done_is_on_record_and_again_there_is_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = _cluster()
    [operation] = await _applied(database, cluster, monkeypatch)
    assert (operation.action, operation.subject) == ("topics.apply", "topics")
    assert set(operation.after) == {"done"}
    assert [line.split()[0] for line in operation.after["done"]] == ["made", "dead:", "events:"]
    assert await _applied(database, cluster, monkeypatch) == [operation]


@pytest.mark.parametrize(
    ("away_at", "done", "failed"),
    [
        ("create", [], ["made parked"]),
        ("leaders", ["made parked"], []),
        ("dead", ["made parked"], ["dead: retention.ms"]),
        ("events", ["made parked", "dead: retention.ms"], ["events: retention.ms"]),
    ],
)
async def test_what_broke_off_is_on_record_as_far_as_it_came(
    database: Database, monkeypatch: pytest.MonkeyPatch, away_at: str, done: list[str], failed: list[str]
) -> None:
    [operation] = await _applied(database, _cluster(away_at), monkeypatch)
    told = {name: [" ".join(line.split()[:2]) for line in lines] for name, lines in operation.after.items()}
    assert told == {name: lines for name, lines in (("done", done), ("failed", failed)) if lines}


async def test_where_nothing_was_begun_nothing_is_on_record(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = _cluster()
    await _applied(database, cluster, monkeypatch)
    cluster.away_at = "leaders"
    assert len(await _applied(database, cluster, monkeypatch)) == 1
