"""The client that was written from the document alone: held to the vectors, and to the running broker."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.integration import confluent_client as client
from tests.stack import RealStack

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "docs" / "vectors" / "envelope.json").read_text(encoding="utf-8")
)
CREDENTIAL = client.read_credential(VECTORS["credential"])


def signed(vector: dict[str, Any]) -> dict[str, str]:
    headers = vector["headers"]
    return client.signed_headers(
        CREDENTIAL,
        vector["topic"],
        headers["correlation_id"],
        headers["reply_to"],
        int(headers["hw-issued-at"]),
        vector["value"].encode(),
        headers["content-type"],
    )


def test_it_reads_the_credential() -> None:
    assert CREDENTIAL.secret.hex() == VECTORS["secret_hex"]


@pytest.mark.parametrize("vector", VECTORS["valid"], ids=lambda vector: vector["name"])
def test_it_signs_as_the_vectors_do(vector: dict[str, Any]) -> None:
    assert signed(vector) == vector["headers"]
    assert client.key_of(vector["headers"]["correlation_id"]).hex() == vector["key_hex"]


@pytest.mark.parametrize("vector", VECTORS["invalid"], ids=lambda vector: vector["name"])
def test_it_would_not_have_sent_what_was_altered(vector: dict[str, Any]) -> None:
    assert signed(vector) != vector["headers"]


@pytest.mark.parametrize("vector", VECTORS["derived_job_ids"], ids=lambda vector: vector["job_id"])
def test_it_derives_job_ids(vector: dict[str, Any]) -> None:
    assert client.derived_job_id(vector["application"], *vector["parts"]) == vector["job_id"]


@pytest.mark.parametrize("vector", VECTORS["reply_partitions"])
def test_it_knows_where_a_reply_goes(vector: dict[str, Any]) -> None:
    assert client.default_partition(vector["job_id"], vector["partitions"]) == vector["partition"]


def test_a_fresh_job_id_begins_with_the_time() -> None:
    job_id = client.fresh_job_id(0x019B76DAA800)

    assert job_id.startswith("019b76da-a800-7")
    assert job_id[19] in "89ab"


REPLY_TIMEOUT_S = 60.0
REQUEST = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "Schütz, 水門, 🚦"}],
    "max_tokens": 8,
}


@pytest_asyncio.fixture
async def running(stack: RealStack) -> AsyncIterator[client.ConfluentClient]:
    """A client of a broker whose pools all run."""
    credential = await stack.application("confluent")
    simulator = stack.simulator()
    worker = stack.worker("all")
    connected = client.ConfluentClient(stack.settings.kafka.bootstrap_servers, credential.reveal())
    try:
        yield connected
    finally:
        connected.close()
        worker.terminate()
        simulator.close()


def test_it_submits_jobs_and_reads_their_replies(running: client.ConfluentClient) -> None:
    envelope = json.dumps({"version": 1, "endpoint": "/v1/chat/completions", "request": REQUEST}).encode()
    job_id = client.derived_job_id("confluent", "invoice-1")
    running.publish("jobs.interactive", job_id, envelope)
    reply = running.reply(job_id, REPLY_TIMEOUT_S)

    assert (reply["status"], reply["run"], reply["attempts"], reply["status_code"]) == ("answered", 1, 1, 200)
    assert reply["response"]["choices"][0]["message"]["content"]
    assert reply["cost_nanodollars"] > 0

    running.forget(job_id)
    running.publish("jobs.bulk", job_id, envelope)
    assert running.reply(job_id, REPLY_TIMEOUT_S) == reply

    running.forget(job_id)
    running.publish("jobs.interactive", job_id, envelope.replace(b"8", b"9"))
    conflict = running.reply(job_id, REPLY_TIMEOUT_S)
    assert (conflict["status"], conflict["error"]["code"]) == ("refused", "job_id_conflict")

    refused = running.reply(running.submit(REQUEST | {"top_k": 1}), REPLY_TIMEOUT_S)
    assert (refused["error"]["code"], refused["error"]["param"]) == ("unpriced_parameter", "top_k")

    vector = running.submit({"model": "text-embedding-3-small", "input": "x"}, endpoint="/v1/embeddings")
    assert running.reply(vector, REPLY_TIMEOUT_S)["response"]["data"][0]["embedding"]
