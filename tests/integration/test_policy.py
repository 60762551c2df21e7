"""Policy on real servers: what it refuses, takes out and puts back, and that to change it drops nothing."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from broker.ops import jobs
from broker.ops.explain import Explained, explain
from broker.store.database import Database
from broker.store.flags import FlagRow
from headworks import Answered, Client, Refused
from tests.stack import until
from tests.stack.fixtures import Pipeline
from tests.stack.jobs import chat
from tests.stack.policy import activate
from tests.unit.plugged import install

TIMEOUT_S = 60.0
JOBS = 300
MAIL, CARD = "joe.doe@example.com", "4111 1111 1111 1111"


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A detector is plugged in."""
    folder = str(install(tmp_path_factory.mktemp("plugged")))
    return {
        "PYTHONPATH": os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
        "HEADWORKS_DETECTORS__WORDS__LOOKS_AT": '["request", "answer"]',
    }


@pytest.fixture
async def client(pipeline: Pipeline, name: str) -> AsyncIterator[Client]:
    credential = await pipeline.stack.application(name)
    async with pipeline.stack.client(credential) as made:
        yield made


@pytest.fixture
async def database(pipeline: Pipeline) -> AsyncIterator[Database]:
    opened = await Database.open(pipeline.stack.settings.database)
    yield opened
    await opened.close()


async def explained(pipeline: Pipeline, database: Database, result: Answered | Refused) -> Explained:
    return await explain(pipeline.stack.settings, database, result.job_id)


async def test_what_a_plugged_in_detector_finds_is_beside_the_decision(
    pipeline: Pipeline, client: Client, database: Database, name: str
) -> None:
    """It finds in the request what policy leaves there, and in the simulated answer nothing."""
    revision = await activate(pipeline, database, name, dlp={"request": {"EMAIL": "redact"}})
    for content in ("raise", "garbage"):
        assert isinstance(await client.run(chat(content), timeout_s=TIMEOUT_S), Answered)
    result = await client.run(chat(f"Ask Joe, or {MAIL}."), timeout_s=TIMEOUT_S)
    assert isinstance(result, Answered)

    async def flags() -> Sequence[FlagRow]:
        return (await jobs.show(database, result.job_id)).flags

    [flag] = await until(flags, "the flag to be on record")
    assert (flag.phase, flag.detector, flag.version) == ("request", "words", "plugged-words 1.5")
    assert flag.revision == revision
    assert list(flag.found) == [{"kind": "PERSON", "score": 900, "places": 1, "marks": [[0, 4, 7]]}]
    why = await explained(pipeline, database, result)
    assert why.same
    assert list(why.flags) == [flag]


async def test_a_job_that_a_rule_denies_is_refused_and_explained(
    pipeline: Pipeline, client: Client, database: Database, name: str
) -> None:
    revision = await activate(pipeline, database, name, dlp={"request": {"CREDIT_CARD": "block"}})
    result = await client.run(chat(f"Charge {CARD}."), timeout_s=TIMEOUT_S)
    assert isinstance(result, Refused)
    assert result.reason == "policy_denied"
    [entry] = await pipeline.stack.ledger.audit_entries(name)
    assert (entry["decision_effect"], entry["decision_revision"]) == ("deny", revision)
    assert result.message == f"decision {entry['decision_id']}, rule dlp.request.credit_card"
    assert pipeline.provider.counts(result.job_id)["total"] == 0
    why = await explained(pipeline, database, result)
    assert why.same
    assert (why.again.id, why.again.types) == (entry["decision_id"], (("CREDIT_CARD", 1),))


async def test_data_is_taken_out_for_the_provider_and_tokens_come_back(
    pipeline: Pipeline, client: Client, database: Database, name: str
) -> None:
    """The provider's answers are canned by what it reads: the placeholders, and nothing of the data."""
    await activate(pipeline, database, name, dlp={"request": {"EMAIL": "tokenize", "CREDIT_CARD": "redact"}})
    leak = [{"contains": data, "content": "It came through."} for data in (MAIL, CARD)]
    read = {
        "contains": "Mail [EMAIL_1] about [CREDIT_CARD_1].",
        "content": "[EMAIL_1] knows of [CREDIT_CARD_1].",
    }
    pipeline.provider.behave({"canned": [*leak, read]})
    result = await client.run(chat(f"Mail {MAIL} about {CARD}."), timeout_s=TIMEOUT_S)
    assert isinstance(result, Answered)
    assert result.text.endswith(f" {MAIL} knows of [CREDIT_CARD_1].")
    why = await explained(pipeline, database, result)
    assert why.same
    assert why.recorded.effect == "redact"


async def test_a_leak_is_taken_out_or_withheld_charged_and_on_record(
    pipeline: Pipeline, client: Client, database: Database, name: str
) -> None:
    """What the provider answered is in no topic and no table, but for its digest."""
    canned = {"contains": "Who knows?", "content": f"Ask {MAIL}."}
    pipeline.provider.behave({"canned": [canned]})
    redacting = await activate(pipeline, database, name, dlp={"answer": {"EMAIL": "redact"}})
    redacted = await client.run(chat("Who knows?"), timeout_s=TIMEOUT_S)
    assert isinstance(redacted, Answered)
    assert redacted.text.endswith("Ask [EMAIL_1].")
    denying = await activate(pipeline, database, name, dlp={"answer": {"EMAIL": "block"}})
    denied = await client.run(chat("Who knows?"), timeout_s=TIMEOUT_S)
    assert isinstance(denied, Refused)
    assert denied.reason == "answer_refused"
    assert pipeline.provider.counts(denied.job_id)["total"] == 1
    entries = await pipeline.stack.ledger.audit_entries(name)
    first, second = sorted(entries, key=lambda entry: entry["at_ms"])
    assert [each["decision_revision"] for each in (first, second)] == [redacting, denying]
    assert [each["answer_decision_effect"] for each in (first, second)] == ["redact", "deny"]
    assert (second["kind"], second["reason"]) == ("refused", "answer_refused")
    assert denied.message == f"decision {second['answer_decision_id']}, rule dlp.answer.email"
    assert second["nanodollars"] == denied.cost_nanodollars > 0
    assert second["nanodollars"] == first["nanodollars"]
    assert len(second["response_sha256"]) == 64
    assert MAIL not in str(entries)
    why = await explained(pipeline, database, denied)
    assert why.same
    assert why.answer is not None
    assert (why.answer.rule, why.answer.types) == ("dlp.answer.email", (("EMAIL", 1),))


async def test_a_policy_that_is_activated_under_load_drops_nothing(
    pipeline: Pipeline, client: Client, database: Database, name: str
) -> None:
    revisions = [await activate(pipeline, database, name, dlp={"request": {"EMAIL": "flag"}})]

    async def change() -> None:
        for pattern in ("one", "two"):
            dlp = {"request": {"EMAIL": "flag"}, "patterns": [{"type": "X", "pattern": pattern}]}
            done = await activate(pipeline, database, name, injection={"flag_at": 1}, dlp=dlp)
            revisions.append(done)

    changing = asyncio.create_task(change())
    results: list[Any] = []
    while not changing.done() or len(results) < JOBS:
        jobs = (client.run(chat(f"Write to {MAIL}."), timeout_s=TIMEOUT_S) for _ in range(25))
        results += await asyncio.gather(*jobs)
    await changing
    assert {type(result) for result in results} == {Answered}
    entries = await pipeline.stack.ledger.audit_entries(name)
    assert len(entries) == len(results)
    assert {entry["decision_effect"] for entry in entries} == {"flag"}
    decided = {entry["decision_revision"] for entry in entries}
    assert {revisions[0], revisions[-1]} <= decided <= set(revisions)
