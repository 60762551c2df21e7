"""Jobs that Kafka still has, decided by two revisions: those that ADMIT registered, each as whose it is."""

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest

from broker.kafka.cluster import NewTopicSpec, connect
from broker.kafka.producing import Producer
from broker.ops import applications
from broker.records import Outgoing
from broker.settings import Settings
from broker.store.database import Database
from broker.store.jobs import JobRow, Jobs
from schemas import headers
from schemas.topics import Coordinate
from tests.unit.broker.policy.jobs import rule
from tests.unit.headworks.cli.conftest import Invoke
from tests.unit.headworks.cli.test_policy_trial import document


def envelope(content: str, **request: Any) -> bytes:
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": content}], **request}
    return orjson.dumps({"version": 1, "endpoint": "/v1/chat/completions", "request": body})


async def publish(topic: str, application: str, values: list[bytes]) -> list[tuple[UUID, Coordinate, bytes]]:
    """To a topic of its own with one partition."""
    settings = Settings.load().kafka
    async with connect(settings) as cluster:
        await cluster.create([NewTopicSpec(topic, 1, 1, {})])
    producer = Producer(settings)
    await producer.start()
    sent = []
    try:
        for value in values:
            job_id = uuid4()
            carried = [
                (headers.APPLICATION, application.encode()),
                (headers.CORRELATION_ID, str(job_id).encode()),
            ]
            at = await producer.send(Outgoing(topic, None, value, carried, partition=0))
            sent.append((job_id, at, value))
    finally:
        await producer.stop()
    return sent


async def register(jobs: list[tuple[UUID, Coordinate, bytes]], application: str) -> None:
    database = await Database.open(Settings.load().database)
    try:
        shop = await applications.show(database, application)
        rows = [
            JobRow(shop.id, job_id, hashlib.sha256(value).hexdigest(), str(at), "bulk", 1, 1, 2)
            for job_id, at, value in jobs
        ]
        await Jobs(database).register(rows)
    finally:
        await database.close()


@pytest.fixture
def topic() -> str:
    """Of an application's own; the embedded Kafka outlives a test."""
    return f"jobs.bulk.a{uuid4().hex[:8]}"


def test_what_a_topic_has_is_decided_anew(invoke: Invoke, indexer: str, tmp_path: Path, topic: str) -> None:
    hot, cool, strange = envelope("One.", temperature=2), envelope("Two."), envelope("Three.", temperature=2)
    jobs = asyncio.run(publish(topic, indexer, [hot, cool, strange]))
    asyncio.run(register(jobs[:2], indexer))
    is_hot = "has(request.temperature) && request.temperature > 1.0 && application == 'indexer'"
    old = document(tmp_path / "old.yaml")
    new = document(
        tmp_path / "new.yaml", rule("hot", is_hot, scope={"project": ["search"], "lane": ["bulk"]})
    )
    result = invoke("policy diff --json", str(old), str(new), "--topic", topic)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["compared"], told["changed"], told["refused"]) == (2, 1, 1)
    [change] = told["changes"]
    assert (change["line"], change["label"], change["gained"]) == (1, f"{topic}/0/0", ["hot"])
    assert "One." not in result.stdout
    shown = invoke("policy diff", str(old), str(new), "--topic", topic, "--last", "2")
    assert shown.stderr.startswith(
        "0 of 1 jobs change.\nNo jobs, or not such as pass: 1; first, line 2: row: "
    )


def test_revisions_that_were_handed_in_are_named_by_their_ids(
    invoke: Invoke, project: str, tmp_path: Path
) -> None:
    old, new = document(tmp_path / "old.yaml"), document(tmp_path / "new.yaml", rule("all"))
    for path in (old, new):
        assert invoke("policy activate", str(path)).exit_code == 0
    first, second = [row["revision"] for row in json.loads(invoke("policy list --json").stdout)]
    jobs = tmp_path / "jobs.jsonl"
    jobs.write_bytes(envelope("One.") + b"\n")
    told = json.loads(invoke("policy diff --json", first, second[:8], str(jobs)).stdout)
    assert (told["before"], told["after"], told["changed"]) == (first, second, 1)
    missing = invoke("policy diff", first, "0" * 12, str(jobs))
    assert (missing.exit_code, "no policy revision" in missing.stderr) == (1, True)


@pytest.mark.parametrize(
    ("named", "code"), [("outcomes.bulk", "settings_invalid"), ("jobs.bulk.nobody", "not_found")]
)
def test_only_a_topic_of_jobs_that_is_there_is_read(
    invoke: Invoke, indexer: str, tmp_path: Path, named: str, code: str
) -> None:
    path = str(document(tmp_path / "p.yaml"))
    failed = invoke("policy diff", path, path, "--topic", named)
    assert (failed.exit_code, f"error [{code}]" in failed.stderr) == (1, True)
