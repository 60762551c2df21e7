"""The client that was written from the document alone, held to the document's vectors."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration import confluent_client as client

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
