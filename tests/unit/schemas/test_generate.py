import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.identity.authenticate import _REQUIRED
from schemas import generate, headers, topics
from schemas.envelope import Envelope
from schemas.topics import Lane, RetryDelay

ASYNCAPI: dict[str, Any] = json.loads((generate.DIRECTORY / "asyncapi.json").read_text(encoding="utf-8"))


def references_in(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for inner in node.values():
            yield from references_in(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from references_in(inner)


def resolve(document: Any, reference: str) -> Any:
    node = document
    for step in reference.removeprefix("#/").split("/"):
        node = node[step]
    return node


def test_the_documents_are_as_the_code_writes_them() -> None:
    assert generate.stale(generate.DIRECTORY) == [], "run `python -m schemas.generate`"


@pytest.mark.parametrize("name", list(generate.documents()))
def test_every_reference_leads_somewhere(name: str) -> None:
    document = json.loads((generate.DIRECTORY / name).read_text(encoding="utf-8"))

    for reference in references_in(document):
        assert resolve(document, reference)


def test_a_document_that_is_missing_altered_or_left_over_is_named(tmp_path: Path) -> None:
    generate.write(tmp_path)
    assert generate.stale(tmp_path) == []

    (tmp_path / "envelope.schema.json").unlink()
    (tmp_path / "reply.schema.json").write_text("{}")
    (tmp_path / "former.schema.json").write_text("{}")

    assert generate.stale(tmp_path) == ["envelope.schema.json", "former.schema.json", "reply.schema.json"]
    generate.write(tmp_path)
    assert generate.stale(tmp_path) == []


def test_the_command_checks_and_knows_no_other_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generate, "DIRECTORY", tmp_path)

    assert generate.main(["--check"]) == 1
    assert "envelope.schema.json is stale" in capsys.readouterr().err
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
    assert generate.main(["--chekc"]) == 2


def test_notes_under_fields_become_descriptions() -> None:
    schema = generate.schema_of(Envelope)

    assert schema["properties"]["ttl_s"]["description"].startswith("Time to live")
    assert "never" in schema["$defs"]["RetryPolicy"]["properties"]["at_most_once"]["description"].lower()


def test_every_topic_has_a_channel() -> None:
    addresses = {channel["address"] for channel in ASYNCAPI["channels"].values()}
    lane, delay = Lane.BULK, RetryDelay.SECOND
    of_lanes = {name(lane) for name in (topics.jobs, topics.admitted, topics.reserved, topics.outcomes)}

    assert addresses == {
        *(topic.replace(lane.value, "{lane}") for topic in of_lanes),
        topics.jobs(lane, "app").replace("bulk.app", "{lane}.{application}"),
        topics.retry(delay).replace(delay.value, "{delay}"),
        topics.replies("{application}"),
        topics.PARKED,
        topics.DEAD,
        topics.EVENTS,
    }


def test_every_parameter_of_an_address_is_described() -> None:
    for channel in ASYNCAPI["channels"].values():
        for name in channel.get("parameters", {}):
            assert f"{{{name}}}" in channel["address"]
        assert channel["address"].count("{") == len(channel.get("parameters", {}))


def test_an_operation_names_messages_of_its_own_channel() -> None:
    for operation in ASYNCAPI["operations"].values():
        for message in operation["messages"]:
            assert message["$ref"].startswith(operation["channel"]["$ref"] + "/messages/")


def test_a_jobs_headers_are_those_that_the_broker_asks_for() -> None:
    described = ASYNCAPI["components"]["messages"]["job"]["headers"]

    assert set(described["required"]) == set(_REQUIRED)
    assert set(described["properties"]) == {*_REQUIRED, headers.TRACEPARENT}
