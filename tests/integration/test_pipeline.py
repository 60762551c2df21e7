"""One job through every pool, on real servers: each way that it can end, and what is on record then."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from broker.identity.credential import Credential
from broker.identity.directory import ProjectSettings
from broker.kafka.cluster import connect
from broker.kafka.reading import CoordinateReader
from broker.records import Sealer, partition_of
from headworks import Answered, Client, Dead, Expired, Refused, Unknown
from schemas import headers
from schemas.dead_letter import DeadLetter
from schemas.topics import Coordinate, Lane, replies
from tests.stack import until
from tests.stack.fixtures import Pipeline
from tests.stack.jobs import bound_nanodollars, chat
from tests.stack.raw import RawPublisher, read_replies

TIMEOUT_S = 60.0


@asynccontextmanager
async def client_of(
    pipeline: Pipeline, name: str, settings: ProjectSettings | None = None
) -> AsyncIterator[Client]:
    credential = await pipeline.stack.application(name, settings)
    async with pipeline.stack.client(credential) as client:
        yield client


@pytest.fixture
async def credential(pipeline: Pipeline, name: str) -> Credential:
    return await pipeline.stack.application(name)


@pytest.fixture
async def client(pipeline: Pipeline, credential: Credential) -> AsyncIterator[Client]:
    async with pipeline.stack.client(credential) as made:
        yield made


async def called(pipeline: Pipeline, job_id: UUID, times: int = 1) -> None:
    """Return when the provider has had that many calls for the job."""

    async def enough() -> bool:
        return int(pipeline.provider.counts(job_id)["total"]) >= times

    await until(enough, f"{times} calls for job {job_id}")


async def settled(pipeline: Pipeline, name: str, number: int) -> Any:
    """The terminals of the application, once there are that many."""

    async def enough() -> Any:
        rows = await pipeline.stack.ledger.terminals(name)
        return rows if len(rows) >= number else None

    return await until(enough, f"{number} terminals of {name}")


def fails(job_id: UUID, status: int, attempt_max: int | None = None) -> dict[str, Any]:
    canned = {"job_id": str(job_id), "status": status, "attempt_max": attempt_max}
    return {"canned": [canned]}


def breaks(job_id: UUID, fault: str) -> dict[str, Any]:
    return {"canned": [{"job_id": str(job_id), "fault": fault}]}


def slow(ms: float) -> dict[str, Any]:
    return {"latency": {"kind": "fixed", "ms": ms}}


# ways to end


@pytest.mark.parametrize("lane", Lane)
async def test_a_job_is_answered_on_every_lane(
    pipeline: Pipeline, client: Client, name: str, lane: Lane
) -> None:
    tags = {"department": "canals", "feature": "names", "user": "ada"}
    result = await client.run(chat(), lane=lane, tags=tags, timeout_s=TIMEOUT_S)
    assert isinstance(result, Answered)
    assert "simulated" in result.text.lower()
    assert (result.status_code, result.attempts, result.run) == (200, 1, 1)
    [terminal] = await pipeline.stack.ledger.terminals(name)
    assert (terminal.kind, terminal.job_id, terminal.attempts) == ("answered", result.job_id, 1)
    [charge] = await pipeline.stack.ledger.charges(name)
    assert (charge.verdict, charge.estimated, charge.lane) == ("answered", False, lane.value)
    assert charge.nanodollars == result.cost_nanodollars == terminal.nanodollars > 0
    usage = result.response["usage"]
    assert (charge.input_tokens, charge.output_tokens) == (usage["prompt_tokens"], usage["completion_tokens"])
    assert (charge.department, charge.feature, charge.user) == ("canals", "names", "ada")


async def test_an_application_with_walls_is_answered_on_its_own_topics(pipeline: Pipeline) -> None:
    async with pipeline.stack.client(pipeline.walled, own_topics=True) as client:
        result = await client.run(chat(), timeout_s=TIMEOUT_S)
    assert isinstance(result, Answered)
    [job] = [
        row for row in await pipeline.stack.ledger.jobs(client.application) if row.job_id == result.job_id
    ]
    assert job.origin.startswith(f"jobs.standard.{client.application}/")


async def test_embeddings_are_answered(pipeline: Pipeline, client: Client, name: str) -> None:
    request = {"model": "text-embedding-3-small", "input": ["a lock", "a weir"]}
    result = await client.run(request, endpoint="/v1/embeddings", timeout_s=TIMEOUT_S)
    assert isinstance(result, Answered)
    assert len(result.response["data"]) == 2
    [charge] = await pipeline.stack.ledger.charges(name)
    assert (charge.output_tokens, charge.model) == (0, "text-embedding-3-small")


@pytest.mark.parametrize(
    ("request_", "reason", "param"),
    [
        (chat(model="gpt-none"), "unknown_model", "model"),
        (chat(model="gpt-4o"), "model_not_allowed", "model"),
        (chat(web_search_options={}), "unpriced_parameter", "web_search_options"),
        (chat(temperature="hot"), "invalid_request", "temperature"),
        (chat(stream=True), "invalid_request", "stream"),
    ],
)
async def test_what_may_not_pass_is_refused_by_name_and_costs_nothing(
    pipeline: Pipeline, name: str, request_: dict[str, Any], reason: str, param: str
) -> None:
    async with client_of(
        pipeline, name, ProjectSettings(models_allowed=("gpt-4o-mini", "gpt-none"))
    ) as client:
        result = await client.run(request_, timeout_s=TIMEOUT_S)
    assert isinstance(result, Refused)
    assert (result.reason, result.param, result.cost_nanodollars) == (reason, param, 0)
    [terminal] = await pipeline.stack.ledger.terminals(name)
    assert (terminal.kind, terminal.reason) == ("refused", reason)
    assert await pipeline.stack.ledger.charges(name) == []
    assert pipeline.provider.counts(result.job_id)["total"] == 0


async def test_what_the_provider_refuses_is_refused_and_not_tried_again(
    pipeline: Pipeline, client: Client, name: str
) -> None:
    job_id = uuid.uuid4()
    pipeline.provider.behave(fails(job_id, 400))
    result = await client.run(chat(), job_id=job_id, timeout_s=TIMEOUT_S)
    assert isinstance(result, Refused)
    assert (result.reason, result.status_code, result.attempts) == ("provider_refused", 400, 1)
    assert pipeline.provider.counts(job_id)["total"] == 1
    [charge] = await pipeline.stack.ledger.charges(name)
    assert (charge.verdict, charge.nanodollars) == ("refused", 0)


@pytest.mark.parametrize(("status", "verdict"), [(500, "failed"), (502, "unknown")])
async def test_a_failure_is_tried_again_and_each_attempt_has_its_own_charge(
    pipeline: Pipeline, client: Client, name: str, status: int, verdict: str
) -> None:
    """What a gateway says of the server behind it leaves the outcome unknown, and that is charged."""
    job_id = uuid.uuid4()
    pipeline.provider.behave(fails(job_id, status, attempt_max=1))
    result = await client.run(chat(), job_id=job_id, timeout_s=TIMEOUT_S)
    assert isinstance(result, Answered)
    assert result.attempts == 2
    charges = sorted(await pipeline.stack.ledger.charges(name), key=lambda row: row.attempt)
    assert [(row.attempt, row.verdict) for row in charges] == [(1, verdict), (2, "answered")]
    assert result.cost_nanodollars == sum(row.nanodollars for row in charges)
    assert charges[0].hold_nanodollars == bound_nanodollars(chat())
    assert charges[0].nanodollars == (bound_nanodollars(chat()) if verdict == "unknown" else 0)
    [row] = await pipeline.stack.ledger.verdicts(name)
    assert (row.attempt, row.kind, row.reason) == (1, verdict, "provider_error")


async def test_retry_after_is_waited_for(pipeline: Pipeline, client: Client, name: str) -> None:
    job_id = uuid.uuid4()
    pipeline.provider.behave(fails(job_id, 429, attempt_max=1) | {"retry_after_s": 2})
    result = await client.run(chat(), job_id=job_id, timeout_s=TIMEOUT_S)
    assert isinstance(result, Answered)

    async def both() -> Any:
        calls = [call for call in pipeline.provider.calls() if call["job_id"] == str(job_id)]
        return calls if len(calls) == 2 else None

    first, second = await until(both, "two calls in the provider's log")
    [verdict] = await pipeline.stack.ledger.verdicts(name)
    assert (verdict.kind, verdict.reason) == ("failed", "rate_limited")
    assert verdict.due_ms - verdict.at_ms >= 2_000
    assert second["t"] * 1000 >= verdict.due_ms > first["t"] * 1000
    [first_charge] = [row for row in await pipeline.stack.ledger.charges(name) if row.attempt == 1]
    assert first_charge.nanodollars == 0


async def test_used_up_attempts_end_in_a_dead_letter_that_can_be_found(
    pipeline: Pipeline, client: Client, name: str
) -> None:
    job_id = uuid.uuid4()
    pipeline.provider.behave(fails(job_id, 503))
    result = await client.run(chat(), job_id=job_id, retry={"attempts_max": 2}, timeout_s=TIMEOUT_S)
    assert isinstance(result, Dead)
    assert (result.reason, result.attempts, result.cost_nanodollars) == ("provider_error", 2, 0)
    assert result.dead_letter is not None
    [row] = await pipeline.stack.ledger.dead_letters(name)
    assert (row.job_id, row.coordinate, row.reason) == (job_id, result.dead_letter, "provider_error")
    place = Coordinate.parse(result.dead_letter)
    reader = CoordinateReader(pipeline.stack.settings.kafka)
    await reader.start()
    try:
        record = (await reader.read([place]))[place]
    finally:
        await reader.stop()
    inner = Sealer(pipeline.stack.settings.seal_key()).open(record)
    assert json.loads(inner.value)["request"] == chat()
    assert (inner.state.job_id, [charge.attempt for charge in inner.state.charges]) == (job_id, [1, 2])
    note = DeadLetter.model_validate_json(dict(record.headers)[headers.DEAD_LETTER])
    assert (note.stage, note.reason) == ("dispatch", "provider_error")
    assert note.origin.startswith("reserved.standard/")


async def test_an_at_most_once_job_whose_connection_drops_is_unknown_and_charged(
    pipeline: Pipeline, client: Client, name: str
) -> None:
    job_id = uuid.uuid4()
    pipeline.provider.behave(breaks(job_id, "drop_before_answer"))
    result = await client.run(chat(), job_id=job_id, retry={"at_most_once": True}, timeout_s=TIMEOUT_S)
    assert isinstance(result, Unknown)
    assert (result.reason, result.cost_nanodollars) == ("outcome_unknown", bound_nanodollars(chat()))
    assert pipeline.provider.counts(job_id)["total"] == 1
    [charge] = await pipeline.stack.ledger.charges(name)
    assert (charge.verdict, charge.estimated, charge.reason) == ("unknown", True, "connection_lost")
    [terminal] = await pipeline.stack.ledger.terminals(name)
    assert (terminal.kind, terminal.reason) == ("unknown", "connection_lost")


async def test_usage_that_cannot_be_true_is_charged_as_held(
    pipeline: Pipeline, client: Client, name: str
) -> None:
    job_id = uuid.uuid4()
    pipeline.provider.behave(breaks(job_id, "absurd_usage"))
    result = await client.run(chat(), job_id=job_id, timeout_s=TIMEOUT_S)
    assert isinstance(result, Answered)
    [charge] = await pipeline.stack.ledger.charges(name)
    assert (charge.estimated, charge.nanodollars) == (True, bound_nanodollars(chat()))


# budgets


def one_at_a_time() -> ProjectSettings:
    return ProjectSettings(nanodollars_per_day=bound_nanodollars(chat()) * 3 // 2)


async def test_a_job_that_does_not_fit_waits_until_what_is_held_is_free(
    pipeline: Pipeline, name: str
) -> None:
    async with client_of(pipeline, name, one_at_a_time()) as client:
        pipeline.provider.behave(slow(1_000))
        first = await client.submit(chat())
        await called(pipeline, first)
        second = await client.submit(chat())
        await until(lambda: pipeline.stack.ledger.parked(name), "the second job to be parked")
        assert pipeline.provider.counts(second)["total"] == 0
        results = [await client.result(job_id, TIMEOUT_S) for job_id in (first, second)]
    assert [type(result) for result in results] == [Answered, Answered]
    assert [result.attempts for result in results] == [1, 1]

    async def none_parked() -> bool:
        return not await pipeline.stack.ledger.parked(name)

    await until(none_parked, "the index of parked jobs to be empty")


async def test_a_deadline_that_passes_in_waiting_expires_the_job_uncalled(
    pipeline: Pipeline, name: str
) -> None:
    async with client_of(pipeline, name, one_at_a_time()) as client:
        pipeline.provider.behave(slow(2_500))
        first = await client.submit(chat())
        await called(pipeline, first)
        late = await client.submit(chat(), ttl_s=1)
        result = await client.result(late, TIMEOUT_S)
        assert isinstance(result, Expired)
        assert result.cost_nanodollars == 0
        assert pipeline.provider.counts(late)["total"] == 0
        assert isinstance(await client.result(first, TIMEOUT_S), Answered)


async def test_what_no_window_will_fit_is_over_quota_at_once(pipeline: Pipeline, name: str) -> None:
    settings = ProjectSettings(nanodollars_per_day=bound_nanodollars(chat()) - 1)
    async with client_of(pipeline, name, settings) as client:
        result = await client.run(chat(), timeout_s=TIMEOUT_S)
    assert isinstance(result, Refused)
    assert result.reason == "over_quota"
    assert pipeline.provider.counts(result.job_id)["total"] == 0


async def test_a_minute_that_turns_after_the_deadline_is_over_quota(pipeline: Pipeline, name: str) -> None:
    async with client_of(pipeline, name, ProjectSettings(requests_per_minute=0)) as client:
        result = await client.run(chat(), ttl_s=1, timeout_s=TIMEOUT_S)
    assert isinstance(result, Refused)
    assert result.reason == "over_quota"


async def test_nothing_is_held_when_all_is_settled(pipeline: Pipeline, client: Client, name: str) -> None:
    results = [await client.run(chat(), timeout_s=TIMEOUT_S) for _ in range(3)]
    spent = sum(result.cost_nanodollars for result in results)

    async def counted() -> bool:
        counters = await pipeline.stack.ledger.counters(name)
        day_spent = sum(amount for field, amount in counters.items() if field.endswith(":spent"))
        held = sum(amount for field, amount in counters.items() if field.endswith(":held"))
        return (day_spent, held) == (spent, 0)

    await until(counted, "the gate to count what was spent")
    assert await pipeline.stack.ledger.holds(name) == {}


# the same job again


async def test_a_repeat_gets_the_same_reply_and_is_called_once(
    pipeline: Pipeline, client: Client, name: str
) -> None:
    job_id = uuid.uuid4()
    first = await client.run(chat(), job_id=job_id, timeout_s=TIMEOUT_S)
    again = await client.run(chat(), job_id=job_id, timeout_s=TIMEOUT_S)
    assert first == again
    assert pipeline.provider.counts(job_id)["total"] == 1
    assert len(await pipeline.stack.ledger.terminals(name)) == 1
    assert len(await pipeline.stack.ledger.charges(name)) == 1


async def test_another_instance_that_repeats_a_job_under_way_gets_its_reply_too(
    pipeline: Pipeline, credential: Credential, name: str
) -> None:
    job_id = uuid.uuid4()
    async with pipeline.stack.client(credential) as one, pipeline.stack.client(credential) as other:
        pipeline.provider.behave(slow(1_500))
        await one.submit(chat(), job_id=job_id)
        await called(pipeline, job_id)
        await other.submit(chat(), job_id=job_id)
        first, second = await asyncio.gather(one.result(job_id, TIMEOUT_S), other.result(job_id, TIMEOUT_S))
        third = await other.run(chat(), job_id=job_id, timeout_s=TIMEOUT_S)
    assert isinstance(first, Answered)
    assert first == second == third
    assert pipeline.provider.counts(job_id)["total"] == 1


async def test_another_body_under_a_used_id_is_refused_to_its_sender_alone(
    pipeline: Pipeline, credential: Credential, name: str
) -> None:
    job_id = uuid.uuid4()
    async with pipeline.stack.client(credential) as one, pipeline.stack.client(credential) as other:
        pipeline.provider.behave(slow(1_500))
        await one.submit(chat(), job_id=job_id)
        await called(pipeline, job_id)
        refused = await other.run(chat("Something else."), job_id=job_id, timeout_s=TIMEOUT_S)
        assert isinstance(refused, Refused)
        assert refused.reason == "job_id_conflict"
        assert isinstance(await one.result(job_id, TIMEOUT_S), Answered)
    [terminal] = await pipeline.stack.ledger.terminals(name)
    assert terminal.kind == "answered"
    entries = await pipeline.stack.ledger.audit_entries(name)
    assert sorted(entry["kind"] for entry in entries) == ["answered", "conflict"]


# replies


@pytest.mark.parametrize("partition", [None, 2])
async def test_a_reply_goes_where_its_reply_to_says(
    pipeline: Pipeline, credential: Credential, name: str, partition: int | None
) -> None:
    topic = replies(name)
    reply_to = topic if partition is None else f"{topic}/{partition}"
    traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    async with RawPublisher(pipeline.stack.settings.kafka, credential) as publisher:
        job_id = await publisher.publish(
            chat(), reply_to=reply_to, extra=[("traceparent", traceparent.encode())]
        )
        [reply] = await read_replies(pipeline.stack.settings.kafka, topic, 1)
    expected = partition_of(job_id.bytes, pipeline.stack.settings.kafka.reply_partitions)
    assert reply.partition == (expected if partition is None else partition)
    carried = dict(reply.headers)
    assert carried[headers.CORRELATION_ID].decode() == str(job_id)
    assert carried[headers.REPLY_TO].decode() == reply_to
    assert (carried[headers.STATUS], carried[headers.RUN]) == (b"answered", b"1")
    assert carried[headers.TRACEPARENT].decode() == traceparent
    assert json.loads(reply.value)["status"] == "answered"


async def test_a_job_that_asks_for_no_reply_ends_on_record_alone(
    pipeline: Pipeline, client: Client, name: str
) -> None:
    job_id = await client.submit(chat(), reply=False)
    [terminal] = await settled(pipeline, name, 1)
    assert (terminal.job_id, terminal.kind) == (job_id, "answered")


async def test_a_reply_topic_that_has_grown_takes_replies_in_its_new_partitions(
    pipeline: Pipeline, client: Client, credential: Credential, name: str
) -> None:
    await client.run(chat(), timeout_s=TIMEOUT_S)
    topic, grown = replies(name), pipeline.stack.settings.kafka.reply_partitions + 1
    async with connect(pipeline.stack.settings.kafka) as cluster:
        await cluster.add_partitions(topic, grown)
        await cluster.wait_for_leaders({topic: grown}, TIMEOUT_S)
    async with RawPublisher(pipeline.stack.settings.kafka, credential) as publisher:
        job_id = await publisher.publish(chat(), reply_to=f"{topic}/{grown - 1}")
        found = await read_replies(pipeline.stack.settings.kafka, topic, 2)
    [reply] = [record for record in found if record.partition == grown - 1]
    assert json.loads(reply.value)["job_id"] == str(job_id)


# keys


async def test_a_revoked_key_is_believed_no_longer_than_the_refresh(
    pipeline: Pipeline, client: Client, credential: Credential, name: str
) -> None:
    assert isinstance(await client.run(chat(), timeout_s=TIMEOUT_S), Answered)
    before = pipeline.worker.metric("headworks_unauthentic_total", reason="key_revoked")
    await pipeline.stack.revoke(credential)
    await client.submit(chat())

    async def refused() -> bool:
        after = pipeline.worker.metric("headworks_unauthentic_total", reason="key_revoked")
        return after == before + 1

    await until(refused, "the record under a revoked key to be turned away")
    assert len(await pipeline.stack.ledger.jobs(name)) == 1


# records


async def test_the_audit_chain_holds_over_all_that_was_done(
    pipeline: Pipeline, client: Client, name: str
) -> None:
    prompts = [f"Name canal number {number}." for number in range(40)]
    job_ids = [job_id async for job_id in client.submit_many(chat(prompt) for prompt in prompts)]
    answers = {result.job_id: result async for result in client.as_completed(job_ids, TIMEOUT_S)}
    assert answers.keys() == set(job_ids)
    entries = await pipeline.stack.ledger.audit_entries(name)
    assert {entry["job_id"] for entry in entries} == {str(job_id) for job_id in job_ids}
    assert not any(prompt in json.dumps(entries) for prompt in prompts)
    assert await pipeline.stack.ledger.broken_chains() == []
    terminals, charges = (
        await pipeline.stack.ledger.terminals(name),
        await pipeline.stack.ledger.charges(name),
    )
    assert len(terminals) == len(charges) == len(entries) == 40
    costs = {row.job_id: row.nanodollars for row in charges}
    assert {job_id: result.cost_nanodollars for job_id, result in answers.items()} == costs


async def test_a_file_of_jobs_is_run_by_the_command(
    pipeline: Pipeline, credential: Credential, name: str, tmp_path: Path
) -> None:
    lines = [batch_line(f"line-{number}", chat(f"Name canal number {number}.")) for number in range(30)]
    lines[7] = batch_line("line-7", chat(model="gpt-none"))
    lines[11] = "{broken"
    source, output, errors = tmp_path / "in.jsonl", tmp_path / "out.jsonl", tmp_path / "out.errors.jsonl"
    source.write_text("\n".join(lines) + "\n")
    command = pipeline.stack.command(
        "run", str(source), "--output", str(output), HEADWORKS_CREDENTIAL=credential.reveal()
    )
    assert command.wait() == 0, command.tail()
    answers = [json.loads(line) for line in output.read_text().splitlines()]
    assert sorted(line["custom_id"] for line in answers) == sorted(
        f"line-{number}" for number in range(30) if number not in (7, 11)
    )
    assert all(line["response"]["status_code"] == 200 for line in answers)
    assert len(errors.read_text().splitlines()) == 2
    kinds = [row.kind for row in await pipeline.stack.ledger.terminals(name)]
    assert sorted(kinds) == ["answered"] * 28 + ["refused"]


def batch_line(custom_id: str, body: dict[str, Any]) -> str:
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body})
