"""A job that its application calls off, wherever it is by then, on real servers."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from broker.identity.credential import Credential
from broker.identity.directory import ProjectSettings
from headworks import Answered, Cancelled, Client
from schemas import headers, topics
from schemas.topics import Lane
from tests.stack import until
from tests.stack.fixtures import Pipeline
from tests.stack.jobs import bound_nanodollars, chat
from tests.stack.raw import RawPublisher, signed_headers

TIMEOUT_S = 60.0
HANGS = {"hang_rate": 1}


@pytest.fixture
async def credential(pipeline: Pipeline, name: str) -> Credential:
    return await pipeline.stack.application(name)


@pytest.fixture
async def client(pipeline: Pipeline, credential: Credential) -> AsyncIterator[Client]:
    async with pipeline.stack.client(credential) as made:
        yield made


async def called(pipeline: Pipeline, job_id: UUID) -> None:
    async def enough() -> bool:
        return int(pipeline.provider.counts(job_id)["total"]) >= 1

    await until(enough, f"a call for job {job_id}")


async def nothing_held(pipeline: Pipeline, name: str) -> None:
    async def none() -> bool:
        return not await pipeline.stack.ledger.holds(name)

    await until(none, "all holds to be settled or released")


async def ended_once(pipeline: Pipeline, name: str, kind: str) -> Any:
    [terminal] = await pipeline.stack.ledger.terminals(name)
    assert terminal.kind == kind
    return terminal


async def test_a_running_call_is_cut_off_and_charged_in_full(
    pipeline: Pipeline, client: Client, name: str
) -> None:
    pipeline.provider.behave(HANGS)
    job_id = await client.submit(chat())
    await called(pipeline, job_id)
    await client.cancel(job_id)
    result = await client.result(job_id, TIMEOUT_S)
    assert isinstance(result, Cancelled)
    assert (result.attempts, result.cost_nanodollars) == (1, bound_nanodollars(chat()))
    [charge] = await pipeline.stack.ledger.charges(name)
    assert (charge.verdict, charge.reason, charge.estimated) == ("unknown", "cancelled", True)
    await ended_once(pipeline, name, "cancelled")
    await nothing_held(pipeline, name)

    async def let_go() -> bool:
        return int(pipeline.provider.counts()["in_flight"]) == 0

    await until(let_go, "the provider to see the connection closed")
    assert pipeline.provider.counts(job_id)["total"] == 1


async def test_a_job_that_waits_in_a_retry_topic_ends_at_once(
    pipeline: Pipeline, client: Client, name: str
) -> None:
    job_id = uuid.uuid4()
    canned = {"job_id": str(job_id), "status": 429, "attempt_max": None}
    pipeline.provider.behave({"canned": [canned], "retry_after_s": 500})
    await client.submit(chat(), job_id=job_id)
    await until(lambda: pipeline.stack.ledger.verdicts(name), "the first attempt's verdict")
    await client.cancel(job_id)
    result = await client.result(job_id, TIMEOUT_S)
    assert isinstance(result, Cancelled)
    assert (result.attempts, result.cost_nanodollars) == (1, 0)
    assert pipeline.provider.counts(job_id)["total"] == 1
    await nothing_held(pipeline, name)


async def test_a_parked_job_is_woken_for_its_end(pipeline: Pipeline, name: str) -> None:
    """What is left of the day's budget is too little, so that it waits for the next day."""
    settings = ProjectSettings(nanodollars_per_day=bound_nanodollars(chat()) * 3 // 2)
    credential = await pipeline.stack.application(name, settings)
    pipeline.provider.behave(HANGS)
    async with pipeline.stack.client(credential) as client:
        first = await client.submit(chat())
        await called(pipeline, first)
        await client.cancel(first)
        assert isinstance(await client.result(first, TIMEOUT_S), Cancelled)
        await nothing_held(pipeline, name)
        job_id = await client.submit(chat())
        await until(lambda: pipeline.stack.ledger.parked(name), "the job to be parked")
        await client.cancel(job_id)
        result = await client.result(job_id, TIMEOUT_S)
    assert isinstance(result, Cancelled)
    assert (result.attempts, result.cost_nanodollars) == (0, 0)
    assert pipeline.provider.counts(job_id)["total"] == 0

    async def none_parked() -> bool:
        return not await pipeline.stack.ledger.parked(name)

    await until(none_parked, "the index of parked jobs to be empty")


async def test_a_job_that_comes_after_its_cancellation_is_never_called(
    pipeline: Pipeline, client: Client, name: str
) -> None:
    job_id = uuid.uuid4()
    await client.cancel(job_id, reply=False)
    await until(lambda: pipeline.stack.ledger.cancels(name), "the cancellation on record")
    result = await client.run(chat(), job_id=job_id, lane="bulk", timeout_s=TIMEOUT_S)
    assert isinstance(result, Cancelled)
    assert result.attempts == 0
    assert pipeline.provider.counts(job_id)["total"] == 0
    assert (await ended_once(pipeline, name, "cancelled")).job_id == job_id


async def test_a_job_that_has_ended_stays_as_it_ended_and_whoever_asks_hears_so(
    pipeline: Pipeline, client: Client, credential: Credential, name: str
) -> None:
    first = await client.run(chat(), timeout_s=TIMEOUT_S)
    async with pipeline.stack.client(credential) as other:
        await other.cancel(first.job_id)
        told = await other.result(first.job_id, TIMEOUT_S)
    assert isinstance(told, Answered)
    assert told == first
    await ended_once(pipeline, name, "answered")


async def test_another_instance_that_calls_it_off_hears_of_the_end_too(
    pipeline: Pipeline, client: Client, credential: Credential
) -> None:
    pipeline.provider.behave(HANGS)
    job_id = await client.submit(chat())
    await called(pipeline, job_id)
    async with pipeline.stack.client(credential) as other:
        await other.cancel(job_id)
        assert isinstance(await other.result(job_id, TIMEOUT_S), Cancelled)
    assert isinstance(await client.result(job_id, TIMEOUT_S), Cancelled)


async def test_no_other_application_can_call_a_job_off(pipeline: Pipeline, client: Client, name: str) -> None:
    """Neither by its own key, which speaks of its own jobs alone, nor by a signature that it has not."""
    pipeline.provider.behave({"latency": {"kind": "fixed", "ms": 2_000}})
    stranger = await pipeline.stack.application(f"{name}-2")
    job_id = await client.submit(chat())
    topic = topics.jobs(Lane.INTERACTIVE)
    forged = signed_headers(stranger, topic, b"", job_id=job_id, reply_to="", content_type=headers.CANCEL)
    forged |= {headers.APPLICATION: name.encode()}
    async with RawPublisher(pipeline.stack.settings.kafka, stranger) as publisher:
        await publisher.send(topic, b"", [*forged.items()], key=job_id.bytes)
    async with pipeline.stack.client(stranger) as other:
        await other.cancel(job_id, reply=False)
    await until(lambda: pipeline.stack.ledger.cancels(f"{name}-2"), "the stranger's cancellation")
    assert isinstance(await client.result(job_id, TIMEOUT_S), Answered)
    assert await pipeline.stack.ledger.cancels(name) == []


async def test_from_the_command_line(pipeline: Pipeline, client: Client, credential: Credential) -> None:
    pipeline.provider.behave(HANGS)
    running, ended = await client.submit(chat()), uuid.uuid4()
    await called(pipeline, running)
    pipeline.provider.behave({})
    assert isinstance(await client.run(chat(), job_id=ended, timeout_s=TIMEOUT_S), Answered)
    command = pipeline.stack.command(
        "jobs",
        "cancel",
        str(running),
        str(ended),
        "--json",
        HEADWORKS_CREDENTIAL=credential.reveal(),
    )
    status = await asyncio.to_thread(command.wait)
    told = {entry["job"]: entry["status"] for entry in json.loads(command.tail().splitlines()[-1])}
    assert (status, told) == (1, {str(running): "cancelled", str(ended): "answered"})
    assert isinstance(await client.result(running, TIMEOUT_S), Cancelled)
