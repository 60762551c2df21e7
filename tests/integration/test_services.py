"""The harness itself: what the other tests take for granted of the real servers."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import asyncpg
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from redis.asyncio import Redis
from redis.exceptions import TimeoutError as RedisTimeoutError

from tests.services import KafkaServer, PostgresServer, RedisServer, ServerUnavailable, install
from tests.services.process import LocalProcess, wait_until_gone
from tests.services.programs import Program, find_java
from tests.services.server import free_port

DEADLINE_S = 30


def test_no_port_is_given_twice() -> None:
    """Two servers that are about to start would take it from each other."""
    ports = [free_port() for _ in range(500)]
    assert len(set(ports)) == len(ports)


class TestKafka:
    def test_a_record_outlives_an_orderly_stop(self, kafka: KafkaServer) -> None:
        topic = make_topic(kafka, "outlives-stop")
        publish(kafka, topic, b"kept")
        kafka.stop()
        kafka.start()
        assert first_value(kafka, topic) == b"kept"

    def test_a_record_outlives_a_kill(self, kafka: KafkaServer) -> None:
        topic = make_topic(kafka, "outlives-kill")
        publish(kafka, topic, b"kept")
        kafka.kill()
        kafka.start()
        assert first_value(kafka, topic) == b"kept"

    def test_paused_it_keeps_silent_and_resumed_it_answers(self, kafka: KafkaServer) -> None:
        kafka.pause()
        assert not kafka._answers()
        kafka.resume()
        assert make_topic(kafka, "after-pause") == "after-pause"

    def test_topics_are_made_on_purpose_only(self, kafka: KafkaServer) -> None:
        metadata = admin(kafka).list_topics("never-made", timeout=DEADLINE_S)
        assert metadata.topics["never-made"].error is not None


class TestPostgres:
    @pytest.mark.parametrize("end", ["stop", "kill"])
    async def test_a_committed_row_outlives_its_server(
        self, postgres: PostgresServer, database_url: str, end: str
    ) -> None:
        await execute(database_url, "CREATE TABLE kept (value int)", "INSERT INTO kept VALUES (7)")
        getattr(postgres, end)()
        postgres.start()
        assert await value(database_url, "SELECT value FROM kept") == 7

    async def test_each_test_has_a_database_of_its_own(self, postgres: PostgresServer) -> None:
        async with postgres.fresh_database() as one, postgres.fresh_database() as other:
            await execute(one, "CREATE TABLE mine (value int)")
            assert await value(other, "SELECT to_regclass('mine')") is None

    async def test_a_database_can_be_copied(self, postgres: PostgresServer) -> None:
        async with postgres.fresh_database() as original:
            await execute(original, "CREATE TABLE copied (value int)")
            async with postgres.fresh_database(template=original.rpartition("/")[2]) as copy:
                assert await value(copy, "SELECT to_regclass('copied')::text") == "copied"

    async def test_what_is_committed_is_on_disk(self, database_url: str) -> None:
        assert await value(database_url, "SHOW fsync") == "on"

    async def test_paused_it_freezes_open_sessions_too(
        self, postgres: PostgresServer, database_url: str
    ) -> None:
        connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
        postgres.pause()
        with pytest.raises(TimeoutError):
            await connection.fetchval("SELECT 1", timeout=0.3)
        postgres.resume()
        await connection.close()
        assert await value(database_url, "SELECT 1") == 1


class TestRedis:
    async def test_it_forgets_everything_when_it_stops(
        self, redis_server: RedisServer, redis_url: str
    ) -> None:
        async with Redis.from_url(redis_url) as client:
            await client.set("key", "value")
            before = (await client.info("server"))["run_id"]
        redis_server.stop()
        redis_server.start()
        async with Redis.from_url(redis_url) as client:
            assert await client.dbsize() == 0
            assert (await client.info("server"))["run_id"] != before

    async def test_it_evicts_nothing(self, redis_url: str) -> None:
        async with Redis.from_url(redis_url) as client:
            assert (await client.config_get("maxmemory-policy")) == {"maxmemory-policy": "noeviction"}

    async def test_paused_it_keeps_silent(self, redis_server: RedisServer, redis_url: str) -> None:
        async with Redis.from_url(redis_url, socket_timeout=0.2, retry=None) as client:
            await client.ping()
            redis_server.pause()
            with pytest.raises(RedisTimeoutError):
                await client.ping()
            redis_server.resume()
            assert await client.ping()


class TestLocalProcess:
    def test_a_server_that_ends_at_once_says_why(self, tmp_path: Path) -> None:
        class Broken(RedisServer):
            def _prepare(self) -> LocalProcess:
                return LocalProcess(["/bin/sh", "-c", "echo no such luck; exit 3"], tmp_path)

        with pytest.raises(ServerUnavailable, match="no such luck"), Broken():
            pass

    @pytest.mark.parametrize("state", [signal.SIGCONT, signal.SIGSTOP], ids=["running", "paused"])
    def test_it_ends_when_its_parent_is_killed(self, tmp_path: Path, state: signal.Signals) -> None:
        command = [sys.executable, "-c", PARENT, str(tmp_path)]
        parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        os.killpg(child, state)
        wait_until(child, stopped=state == signal.SIGSTOP)
        parent.kill()
        parent.wait()
        parent.stdout.close()
        wait_until_gone([child], timeout_s=DEADLINE_S)

    def test_stopping_waits_and_insists(self, tmp_path: Path) -> None:
        stubborn = LocalProcess(
            ["/bin/sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done"],
            tmp_path,
            stop_timeout_s=0.2,
        )
        stubborn.start()
        pid = stubborn.pid
        stubborn.stop()
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_missing_program_is_named_with_its_package() -> None:
    with pytest.raises(ServerUnavailable, match=r"no-such-server.*\n.*apt-get install no-such-package"):
        Program("no-such-server", "no-such-package").find()


def test_who_may_not_install_is_told_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(install, "engine_answers", lambda: False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(
        ServerUnavailable, match=r"sudo apt-get install default-jre-headless maven .*redis-server"
    ):
        install.install()


def test_an_old_java_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(ServerUnavailable, match=r'Java 17 or later; .*/bin/java is: openjdk version "11'):
        find_java()


PARENT = """
import sys, time
from pathlib import Path
from tests.services.process import LocalProcess
child = LocalProcess(["sleep", "600"], Path(sys.argv[1]))
child.start()
print(child.pid, flush=True)
time.sleep(600)
"""


def wait_until(group: int, *, stopped: bool) -> None:
    """A signal has come through when all of them show it."""
    deadline = time.monotonic() + DEADLINE_S
    while not all(state.startswith("T") == stopped for state in states(group)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def states(group: int) -> list[str]:
    listing = subprocess.run(["ps", "-A", "-o", "pgid=,stat="], check=True, capture_output=True, text=True)
    rows = (line.split() for line in listing.stdout.splitlines())
    return [state for number, state in rows if int(number) == group]


def admin(kafka: KafkaServer) -> AdminClient:
    return AdminClient({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 0})


def make_topic(kafka: KafkaServer, name: str) -> str:
    client = admin(kafka)
    client.create_topics([NewTopic(name, num_partitions=1, replication_factor=1)])[name].result(
        timeout=DEADLINE_S
    )
    return name


def publish(kafka: KafkaServer, topic: str, value: bytes) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "acks": "all", "log_level": 0})
    producer.produce(topic, value)
    assert producer.flush(DEADLINE_S) == 0


def first_value(kafka: KafkaServer, topic: str) -> bytes | None:
    options = {"bootstrap.servers": kafka.bootstrap_servers, "group.id": "reader", "log_level": 0}
    consumer = Consumer(options)
    consumer.assign([TopicPartition(topic, 0, 0)])
    try:
        message = consumer.poll(DEADLINE_S)
    finally:
        consumer.close()
    assert message is not None
    return message.value()


async def execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def value(url: str, query: str) -> object:
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()
