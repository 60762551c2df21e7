import json
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pytest

from broker.errors import NotBelieved
from broker.identity import vectors
from broker.identity.authenticate import Freshness, authenticate
from broker.identity.credential import Credential
from broker.identity.directory import Key
from broker.records import Headers, partition_of
from headworks.client.identifiers import derived_job_id
from schemas.reasons import Failure, Notice, Refusal, Unauthentic

DOCUMENT: dict[str, Any] = json.loads(vectors.FILE.read_text(encoding="utf-8"))
PAGE = (Path(__file__).parents[4] / "docs" / "envelope.md").read_text(encoding="utf-8")
CREDENTIAL = Credential.parse(DOCUMENT["credential"])


class Record(NamedTuple):
    topic: str
    key: bytes
    value: bytes
    headers: Headers
    partition: int = 0
    offset: int = 0
    timestamp: int = int(vectors.ISSUED_AT) + 1_000
    timestamp_type: int = 1


def record_of(vector: dict[str, Any]) -> Record:
    carried = [(name, text.encode()) for name, text in vector["headers"].items()]
    return Record(vector["topic"], bytes.fromhex(vector["key_hex"]), vector["value"].encode(), carried)


def keys(key_id: str) -> Key | None:
    if key_id != CREDENTIAL.key_id:
        return None
    return Key(
        id=key_id,
        application=CREDENTIAL.application,
        secret=CREDENTIAL.secret,
        application_id=1,
        project_id=1,
        organization_id=1,
        revoked=False,
    )


def named(group: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", DOCUMENT[group], ids=lambda vector: vector["name"])


def believe(vector: dict[str, Any]) -> Any:
    record = record_of(vector)
    return authenticate(record, record.timestamp, keys, Freshness(300_000, 30_000))


def test_the_file_is_as_the_code_writes_it() -> None:
    assert vectors.FILE.read_text(encoding="utf-8") == vectors.text()


@named("valid")
def test_the_broker_believes_each_valid_record(vector: dict[str, Any]) -> None:
    authentic = believe(vector)

    assert str(authentic.job_id) == vector["headers"]["correlation_id"]
    assert authentic.reply_to == vector["headers"]["reply_to"]
    assert authentic.sha256.hex() == vector["value_sha256"]
    assert authentic.job_id.bytes.hex() == vector["key_hex"]


@named("invalid")
def test_the_broker_believes_no_altered_record(vector: dict[str, Any]) -> None:
    with pytest.raises(NotBelieved) as caught:
        believe(vector)
    assert caught.value.reason.value == vector["because"]


@pytest.mark.parametrize("vector", DOCUMENT["derived_job_ids"], ids=lambda vector: vector["job_id"])
def test_the_client_derives_the_same_job_ids(vector: dict[str, Any]) -> None:
    job_id = derived_job_id(vector["application"], *vector["parts"])

    assert str(job_id) == vector["job_id"]
    assert job_id.version == 8


@pytest.mark.parametrize("vector", DOCUMENT["reply_partitions"])
def test_replies_go_to_the_same_partitions(vector: dict[str, Any]) -> None:
    assert partition_of(UUID(vector["job_id"]).bytes, vector["partitions"]) == vector["partition"]


def test_the_worked_example_on_the_page_is_the_first_vector() -> None:
    first = DOCUMENT["valid"][0]
    page = "".join(PAGE.split())

    assert DOCUMENT["credential"] in page
    assert "".join(first["value"].split()) in page
    assert first["value"] in PAGE
    assert first["value_sha256"] in page
    assert first["canonical_hex"] in page
    assert first["headers"]["hw-signature"] in page


@pytest.mark.parametrize("code", [*Refusal, *Failure, *Notice, *Unauthentic], ids=str)
def test_every_code_stands_on_the_page(code: str) -> None:
    assert f"`{code}`" in PAGE
