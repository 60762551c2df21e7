"""The floor: the same five hops through Kafka with nothing done at any of them.

A record goes through four topics in batches and comes back on a fifth, in one process on aiokafka with
`acks=all`. No seal, no ledger, no provider: what a job costs above this is what Headworks adds.
"""

import asyncio
import resource
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from benchmarks.load import Latency, percentile

HOPS = 5
_PARTITIONS = 6


class RelayResult(NamedTuple):
    records_per_s: float
    cpu_us_per_hop: float
    latency: list[dict[str, Any]]
    """At each of the rates asked for, as `Latency` has it."""


async def measure(
    bootstrap_servers: str, rates_per_s: Sequence[int], records: int = 10_000, value_bytes: int = 1024
) -> RelayResult:
    """Throughput with everything published at once, then latency at low rates."""
    run = str(time.time_ns())
    topics = [f"relay-{run}-{hop}" for hop in range(HOPS)]
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    await admin.create_topics([NewTopic(topic, _PARTITIONS, 1) for topic in topics])
    await _leaders(admin, topics)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers, acks="all", enable_idempotence=True)
    await producer.start()
    hops = [
        asyncio.create_task(_hop(bootstrap_servers, producer, run, source, target))
        for source, target in pairwise(topics)
    ]
    end = await _consumer(bootstrap_servers, run, topics[-1])
    try:
        await _drive(producer, end, topics[0], 200, value_bytes)
        cpu, started = _cpu_s(), time.monotonic()
        await _drive(producer, end, topics[0], records, value_bytes)
        elapsed, used = time.monotonic() - started, _cpu_s() - cpu
        paced = [await _paced(producer, end, topics[0], rate, value_bytes) for rate in rates_per_s]
    finally:
        for hop in hops:
            hop.cancel()
        await asyncio.gather(*hops, return_exceptions=True)
        await end.stop()
        await producer.stop()
        await admin.delete_topics(topics)
        await admin.close()
    return RelayResult(records / elapsed, used / records / HOPS * 1e6, [each._asdict() for each in paced])


async def _leaders(admin: AIOKafkaAdminClient, topics: Sequence[str]) -> None:
    while True:
        described = await admin.describe_topics(list(topics))
        if all(p["leader"] >= 0 for topic in described for p in topic["partitions"]):
            return
        await asyncio.sleep(0.05)


async def _consumer(bootstrap_servers: str, run: str, topic: str) -> AIOKafkaConsumer:
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap_servers,
        group_id=f"relay-{run}-{topic}",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    return consumer


async def _hop(
    bootstrap_servers: str, producer: AIOKafkaProducer, run: str, source: str, target: str
) -> None:
    consumer = await _consumer(bootstrap_servers, run, source)
    try:
        while True:
            fetched = await consumer.getmany(timeout_ms=1000, max_records=200)
            sends = [
                await producer.send(target, record.value, headers=list(record.headers))
                for records in fetched.values()
                for record in records
            ]
            if sends:
                await asyncio.gather(*sends)
                await consumer.commit()
    finally:
        await consumer.stop()


async def _drive(
    producer: AIOKafkaProducer, end: AIOKafkaConsumer, topic: str, records: int, value_bytes: int
) -> None:
    value = bytes(value_bytes)

    async def publish() -> None:
        for _ in range(records):
            await producer.send(topic, value)

    publishing = asyncio.create_task(publish())
    seen = 0
    while seen < records:
        fetched = await end.getmany(timeout_ms=1000, max_records=500)
        seen += sum(map(len, fetched.values()))
    await publishing


async def _paced(
    producer: AIOKafkaProducer, end: AIOKafkaConsumer, topic: str, rate_per_s: int, value_bytes: int
) -> Latency:
    total = rate_per_s * 6
    latencies: list[float] = []

    async def publish() -> None:
        start = time.monotonic()
        for number in range(total):
            await asyncio.sleep(max(0.0, start + number / rate_per_s - time.monotonic()))
            stamp = f"{time.monotonic():.6f}".encode()
            await producer.send(topic, stamp.ljust(value_bytes))

    publishing = asyncio.create_task(publish())
    while len(latencies) < total:
        fetched = await end.getmany(timeout_ms=1000)
        now = time.monotonic()
        latencies += [now - float(record.value) for records in fetched.values() for record in records]
    await publishing
    times = sorted(1000 * latency for latency in latencies)
    return Latency(rate_per_s, percentile(times, 0.5), percentile(times, 0.99))


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
