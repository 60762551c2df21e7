"""The client on the embedded and on the real Kafka; a stub stands for the rest of the broker."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.record.util import calc_crc32c

from broker.errors import KafkaUnavailable, TopicsMissing
from broker.identity.credential import Credential
from broker.kafka import topics as kafka_topics
from broker.kafka.connection import client_options
from broker.settings import KafkaSettings
from headworks import (
    Answered,
    Client,
    ClientClosed,
    ClockWrong,
    Job,
    JobInvalid,
    JobTooLarge,
    NotDelivered,
    NotOpen,
    Refused,
    ResultTimeout,
)
from headworks.client.publisher import Outgoing, Publisher
from headworks.client.replies import address
from schemas import topics
from schemas.reply import Reply
from schemas.topics import Lane, ReplyTo
from tests.integration.stub_broker import StubBroker, refuse
from tests.services import KafkaServer

DEADLINE_S = 30.0


@pytest.fixture
def real(kafka: KafkaServer) -> KafkaSettings:
    return KafkaSettings(
        bootstrap_servers=kafka.bootstrap_servers,
        fetch_wait_ms_max=50,
        commit_interval_ms=10,
    )


@pytest.fixture(params=["embedded", "real"])
def settings(request: pytest.FixtureRequest) -> KafkaSettings:
    if request.param == "real":
        real: KafkaSettings = request.getfixturevalue("real")
        return real
    embedded = request.getfixturevalue("embedded_kafka")
    return KafkaSettings(
        bootstrap_servers=embedded.bootstrap_servers,
        reply_partitions=2,
        fetch_wait_ms_max=20,
        commit_interval_ms=10,
        idempotence=False,
        append_time="receipt",
    )


@pytest.fixture
def credential() -> Credential:
    return Credential.generate(f"app-{uuid4().hex[:12]}")


@asynccontextmanager
async def serving(settings: KafkaSettings, credential: Credential) -> AsyncIterator[StubBroker]:
    await kafka_topics.apply(settings, [credential.application])
    async with StubBroker(settings, credential) as stub:
        yield stub


def chat(content: str) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": content}]}


def text(result: object) -> str:
    assert isinstance(result, Answered)
    return result.text


async def test_a_job_is_submitted_and_answered(settings: KafkaSettings, credential: Credential) -> None:
    async with serving(settings, credential) as stub, Client(credential, kafka=settings) as client:
        result = await client.run(chat("hello"), timeout_s=DEADLINE_S, lane=Lane.INTERACTIVE)
        assert isinstance(result, Answered)
        assert (result.text, result.cost_nanodollars, result.model) == ("hello", 1_500, "m")
        assert stub.lanes[result.job_id] == topics.jobs(Lane.INTERACTIVE)
        assert client.open_jobs == 0


async def test_a_refusal_is_typed(settings: KafkaSettings, credential: Credential) -> None:
    async with serving(settings, credential) as stub, Client(credential, kafka=settings) as client:
        stub.answer = refuse
        result = await client.run(chat("hello"), timeout_s=DEADLINE_S)
        assert isinstance(result, Refused)
        assert (result.reason, result.param) == ("unknown_model", "model")


async def test_many_jobs_are_submitted_in_order_and_taken_as_they_come(
    settings: KafkaSettings, credential: Credential
) -> None:
    async with serving(settings, credential), Client(credential, kafka=settings) as client:
        jobs = [Job(chat(str(number)), job_id=UUID(int=number)) for number in range(300)]
        submitted = [job_id async for job_id in client.submit_many(jobs, in_flight=20)]
        assert submitted == [job.job_id for job in jobs]
        results = [result async for result in client.as_completed(submitted, timeout_s=DEADLINE_S)]
        assert {text(result) for result in results} == {str(number) for number in range(300)}
        assert client.open_jobs == 0


async def test_an_asynchronous_source_is_drawn_from_no_faster_than_kafka_takes(
    settings: KafkaSettings, credential: Credential
) -> None:
    drawn = 0

    async def source() -> AsyncIterator[dict[str, Any]]:
        nonlocal drawn
        for number in range(50):
            drawn += 1
            yield chat(str(number))

    async with serving(settings, credential), Client(credential, kafka=settings) as client:
        submitting = client.submit_many(source(), in_flight=5, reply=False)
        await anext(submitting)
        assert drawn <= 6
        assert len([job_id async for job_id in submitting]) == 49


async def test_one_job_that_fails_ends_the_submitting_and_leaves_nothing_open(
    settings: KafkaSettings, credential: Credential
) -> None:
    async with serving(settings, credential), Client(credential, kafka=settings) as client:
        jobs = [chat("a"), chat("b"), {"model": {1}}, chat("c")]
        with pytest.raises(JobInvalid):
            _ = [job_id async for job_id in client.submit_many(jobs)]
        assert client.open_jobs == 0


async def test_a_reply_may_come_before_the_acknowledgement(
    settings: KafkaSettings, credential: Credential, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(settings, credential), Client(credential, kafka=settings) as client:
        acknowledged = client._publisher.acknowledged

        async def late(publication: Any) -> None:
            slot = client._inbox.slot(publication.job_id)
            await asyncio.wait_for(asyncio.shield(slot.arrival), DEADLINE_S)
            await acknowledged(publication)

        monkeypatch.setattr(client._publisher, "acknowledged", late)
        job_id = await client.submit(chat("early"))
        assert text(await client.result(job_id, timeout_s=0)) == "early"


async def test_a_reply_that_comes_three_times_is_handed_over_once(
    settings: KafkaSettings, credential: Credential
) -> None:
    async with serving(settings, credential) as stub, Client(credential, kafka=settings) as client:
        stub.times_sent = 3
        ids = [job_id async for job_id in client.submit_many(chat(str(number)) for number in range(20))]
        results = [result async for result in client.as_completed(ids, timeout_s=DEADLINE_S)]
        assert len(results) == 20
        with pytest.raises(NotOpen):
            await client.result(ids[0])


async def test_a_wait_that_is_too_short_leaves_the_job_open(
    settings: KafkaSettings, credential: Credential
) -> None:
    async with serving(settings, credential) as stub, Client(credential, kafka=settings) as client:
        stub.hold()
        job_id = await client.submit(chat("slow"))
        with pytest.raises(ResultTimeout, match="await it again"):
            await client.result(job_id, timeout_s=0.05)
        with pytest.raises(TimeoutError):
            await anext(client.as_completed([job_id], timeout_s=0.05))
        await stub.seen_at_least(1)
        await stub.release()
        assert text(await client.result(job_id, timeout_s=DEADLINE_S)) == "slow"


async def test_at_the_end_a_wait_is_told_so_and_no_task_is_left(
    settings: KafkaSettings, credential: Credential
) -> None:
    await kafka_topics.apply(settings, [credential.application])
    before = asyncio.all_tasks()
    async with Client(credential, kafka=settings) as client:
        job_id = await client.submit(chat("unanswered"))
        waiting = asyncio.create_task(client.result(job_id))
        await asyncio.sleep(0)
    with pytest.raises(ClientClosed, match="the job goes on"):
        await waiting
    with pytest.raises(ClientClosed):
        await client.submit(chat("too late"))
    assert asyncio.all_tasks() == before


async def test_the_same_job_again_has_its_recorded_reply_in_another_life(
    settings: KafkaSettings, credential: Credential
) -> None:
    async with serving(settings, credential) as stub:
        async with Client(credential, kafka=settings) as client:
            first = await client.run(chat("once"), timeout_s=DEADLINE_S, idempotency_key="k")
            again = await client.run(chat("once"), timeout_s=DEADLINE_S, idempotency_key="k")
        async with Client(credential, kafka=settings) as client:
            later = await client.run(chat("once"), timeout_s=DEADLINE_S, job_id=client.job_id("k"))
        assert first == again == later
        assert stub.calls[first.job_id] == 1
        assert stub.seen[first.job_id] == 3


async def test_a_job_submitted_twice_at_once_answers_both(
    settings: KafkaSettings, credential: Credential
) -> None:
    async with serving(settings, credential), Client(credential, kafka=settings) as client:
        both = (client.run(chat("x"), timeout_s=DEADLINE_S, idempotency_key="k") for _ in range(2))
        one, other = await asyncio.gather(*both)
        assert one == other
        assert client.open_jobs == 0


async def test_without_a_reply_nothing_is_kept(settings: KafkaSettings, credential: Credential) -> None:
    async with serving(settings, credential) as stub, Client(credential, kafka=settings) as client:
        job_id = await client.submit(chat("x"), reply=False)
        assert client.open_jobs == 0
        await asyncio.wait_for(stub.seen_at_least(1), DEADLINE_S)
        with pytest.raises(NotOpen):
            await client.result(job_id)


async def test_a_forgotten_job_is_no_longer_awaited(settings: KafkaSettings, credential: Credential) -> None:
    async with serving(settings, credential) as stub, Client(credential, kafka=settings) as client:
        stub.hold()
        job_id = await client.submit(chat("x"))
        waiting = asyncio.create_task(client.result(job_id))
        await asyncio.sleep(0)
        client.forget(job_id)
        with pytest.raises(NotOpen):
            await waiting
        assert client.open_jobs == 0


async def test_neighbours_on_one_partition_keep_to_their_own(
    settings: KafkaSettings, credential: Credential, caplog: pytest.LogCaptureFixture
) -> None:
    names = neighbours(credential, settings)
    async with serving(settings, credential) as stub:
        async with (
            Client(credential, kafka=settings, instance=names[0], remember=False) as one,
            Client(credential, kafka=settings, instance=names[1], remember=False) as other,
        ):
            mine = await one.submit(chat("mine"), job_id=UUID(int=1))
            await stub.send(address_of(other), mine, b"never opened by the first")
            result, neighbour_s = await asyncio.gather(
                one.result(mine, DEADLINE_S), other.run(chat("yours"), timeout_s=DEADLINE_S)
            )
        assert (text(result), text(neighbour_s)) == ("mine", "yours")
        assert not [each for each in caplog.records if each.name.startswith("headworks")]


async def test_a_reply_that_cannot_be_read_is_logged_and_the_next_one_counts(
    settings: KafkaSettings, credential: Credential, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(settings, credential) as stub, Client(credential, kafka=settings) as client:
        stub.hold()
        job_id = await client.submit(chat("x"))
        await stub.seen_at_least(1)
        await stub.send(address_of(client), job_id, b'{"a secret": ')
        await stub.send(
            address_of(client), job_id, Reply(job_id=uuid4(), status="dead").model_dump_json().encode()
        )
        await stub.release()
        assert text(await client.result(job_id, DEADLINE_S)) == "x"
        logged = [each.getMessage() for each in caplog.records if each.name.startswith("headworks")]
        assert [message.split(" ")[0] for message in logged] == ["reply_unreadable", "reply_unreadable"]
        assert "secret" not in caplog.text


async def test_a_header_key_that_is_not_utf_8_is_passed_over(
    settings: KafkaSettings, credential: Credential, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(settings, credential) as stub, Client(credential, kafka=settings) as client:
        stub.hold()
        jobs = [await client.submit(chat(str(number))) for number in range(3)]
        await stub.seen_at_least(3)
        await send_bad_header(settings, ReplyTo.parse(address_of(client)))
        await stub.release()
        results = [result async for result in client.as_completed(jobs, timeout_s=DEADLINE_S)]
        assert {text(result) for result in results} == {"0", "1", "2"}
        logged = [each.getMessage() for each in caplog.records if each.name.startswith("headworks")]
        bad = [f"record_unreadable at {address_of(client).rsplit('/', 1)[0]}/{offset}:" for offset in (1, 2)]
        assert [message.rsplit(" ", 1)[0] for message in logged] == bad


async def test_a_named_instance_is_given_what_it_missed(
    settings: KafkaSettings, credential: Credential
) -> None:
    async with serving(settings, credential) as stub:
        stub.hold()
        async with Client(credential, kafka=settings, instance="worker-1") as client:
            assert [result async for result in client.missed()] == []
            for number in range(4):
                await client.submit(chat(str(number)))
            await stub.seen_at_least(4)
            taken, *left = (
                stub.seen
            )  # in the order of their replies: up to the first one left, none comes again
            await stub.release()
            await client.result(taken, DEADLINE_S)
        async with Client(credential, kafka=settings, instance="worker-1") as client:
            missed = {result.job_id async for result in client.missed()}
            assert missed == set(left)
            assert [result async for result in client.missed()] == []
            assert text(await client.run(chat("new"), timeout_s=DEADLINE_S)) == "new"
        async with Client(credential, kafka=settings, instance="worker-1") as client:
            assert [result async for result in client.missed()] == []


async def test_what_comes_for_nobody_is_missed_too_and_not_what_is_awaited(
    real: KafkaSettings, credential: Credential
) -> None:
    async with serving(real, credential) as stub:
        stub.hold()
        async with Client(credential, kafka=real, instance="worker-1") as client:
            former, resubmitted = await client.submit(chat("a")), await client.submit(chat("b"))
            await stub.seen_at_least(2)
        async with Client(credential, kafka=real, instance="worker-1") as client:
            await client.submit(chat("b"), job_id=resubmitted)
            await stub.release()
            assert text(await client.result(resubmitted, DEADLINE_S)) == "b"
            assert text(await client.run(chat("c"), timeout_s=DEADLINE_S)) == "c"
            assert {result.job_id async for result in client.missed()} == {former}


async def test_after_a_crash_in_the_middle_the_rest_is_still_there(
    real: KafkaSettings, credential: Credential
) -> None:
    async with serving(real, credential) as stub:
        stub.hold()
        async with Client(credential, kafka=real, instance="worker-1") as client:
            jobs = [await client.submit(chat(str(number))) for number in range(3)]
            await stub.seen_at_least(3)
        await stub.release()
        async with Client(credential, kafka=real, instance="worker-1") as client:
            missed = client.missed()
            first = await anext(missed)
            await missed.aclose()
        async with Client(credential, kafka=real, instance="worker-1") as client:
            again = {result.job_id async for result in client.missed()}
        assert first.job_id in jobs
        assert again == set(jobs)


async def test_an_application_without_its_reply_topic_is_told_what_makes_it(settings: KafkaSettings) -> None:
    await kafka_topics.apply(settings, [])
    with pytest.raises(TopicsMissing, match="headworks apps create"):
        await Client(Credential.generate("nobody"), kafka=settings).start()


async def test_a_missing_jobs_topic_is_told(settings: KafkaSettings, credential: Credential) -> None:
    async with serving(settings, credential), Client(credential, kafka=settings, own_topics=True) as client:
        with pytest.raises(TopicsMissing, match=r"jobs\.standard"):
            await client.submit(chat("x"))
        assert client.open_jobs == 0


async def test_where_no_kafka_answers_the_start_says_so(unused_tcp_port: int, credential: Credential) -> None:
    client = Client(credential, bootstrap_servers=f"127.0.0.1:{unused_tcp_port}", kafka=KafkaSettings())
    with pytest.raises(KafkaUnavailable, match=str(unused_tcp_port)):
        await client.start()


async def test_a_job_larger_than_the_topic_takes_is_not_sent(
    settings: KafkaSettings, credential: Credential
) -> None:
    async with serving(settings, credential), Client(credential, kafka=settings) as client:
        with pytest.raises(JobTooLarge):
            await client.run(chat("x" * settings.jobs_record_bytes_max))
        assert client.open_jobs == 0
        assert text(await client.run(chat("small"), timeout_s=DEADLINE_S)) == "small"


async def test_a_clock_that_is_wrong_is_told_by_the_append_time(
    real: KafkaSettings, credential: Credential
) -> None:
    await kafka_topics.apply(real, [credential.application])
    publisher = Publisher(credential, real, now_s=lambda: time.time() - 400)
    await publisher.start()
    try:
        record = Outgoing(topics.jobs(Lane.BULK), uuid4(), b"{}", reply_to="")
        with pytest.raises(ClockWrong, match=r"(399|400|401) s behind"):
            await publisher.acknowledged(await publisher.publish(record))
    finally:
        await publisher.close()


async def test_what_is_not_acknowledged_in_time_is_submitted_again_and_runs_once(
    real: KafkaSettings, kafka: KafkaServer, credential: Credential, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(real, credential) as stub, Client(credential, kafka=real) as client:
        await client.run(chat("warm"), timeout_s=DEADLINE_S)
        monkeypatch.setattr(client._publisher, "_delivery_s", 0.5)
        kafka.pause()
        with pytest.raises(NotDelivered, match="submit it again") as caught:
            await client.submit(chat("x"), idempotency_key="k")
        assert client.open_jobs == 0
        kafka.resume()
        monkeypatch.setattr(client._publisher, "_delivery_s", DEADLINE_S)
        result = await client.run(chat("x"), timeout_s=DEADLINE_S, idempotency_key="k")
        assert text(result) == "x"
        assert caught.value.job_id == result.job_id
        assert stub.calls[result.job_id] == 1


async def test_a_kafka_that_was_killed_and_came_back_goes_on(
    real: KafkaSettings, kafka: KafkaServer, credential: Credential
) -> None:
    async with serving(real, credential) as stub, Client(credential, kafka=real) as client:
        stub.hold()
        job_id = await client.submit(chat("before"))
        await stub.seen_at_least(1)
        await asyncio.to_thread(kafka.kill)
        await asyncio.to_thread(kafka.start)
        await stub.release()
        assert text(await client.result(job_id, DEADLINE_S)) == "before"
        assert text(await client.run(chat("after"), timeout_s=DEADLINE_S)) == "after"


async def test_a_client_ends_in_time_though_kafka_is_silent(
    real: KafkaSettings, kafka: KafkaServer, credential: Credential, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.kafka.lasting._STOP_S", 0.2)
    await kafka_topics.apply(real, [credential.application])
    impatient = real.model_copy(update={"request_timeout_ms": 1_000})
    before = asyncio.all_tasks()
    async with asyncio.timeout(DEADLINE_S):
        async with Client(credential, kafka=impatient) as client:
            await client.submit(chat("x"), reply=False)
            monkeypatch.setattr(client._publisher, "_delivery_s", 0.2)
            kafka.pause()
            with pytest.raises(NotDelivered):
                await client.submit(chat("y"))
    assert asyncio.all_tasks() == before


async def test_a_producer_that_broke_is_replaced(real: KafkaSettings, credential: Credential) -> None:
    async with serving(real, credential), Client(credential, kafka=real) as client:
        await client.run(chat("one"), timeout_s=DEADLINE_S)
        producer = await client._publisher._producer.current()
        client._publisher._producer.broke()
        assert text(await client.run(chat("two"), timeout_s=DEADLINE_S)) == "two"
        assert await client._publisher._producer.current() is not producer


def address_of(client: Client) -> str:
    return client._started().address


def neighbours(credential: Credential, settings: KafkaSettings) -> tuple[str, str]:
    """Two names that share a partition."""
    places: dict[int | None, str] = {}
    for number in range(settings.reply_partitions + 1):
        name = f"instance-{number}"
        place = address(credential.application, name, settings.reply_partitions).partition
        if place in places:
            return places[place], name
        places[place] = name
    raise AssertionError("more names than partitions share none")


async def send_bad_header(settings: KafkaSettings, place: ReplyTo) -> None:
    """A batch of a good record and two bad ones, such as aiokafka would not write itself."""
    producer = AIOKafkaProducer(**client_options(settings), acks="all")
    await producer.start()
    try:
        batch = producer.create_batch()
        for key in ("good", "~bad~", "~bad~"):
            batch.append(timestamp=None, key=None, value=b"x", headers=[(key, b"")])
        batch.close()
        raw = bytearray(batch._build().replace(b"~bad~", b"\xff\xfe\xff\xfe\xff"))
        raw[17:21] = calc_crc32c(bytes(raw[21:])).to_bytes(4, "big")
        batch._buffer = bytes(raw)
        await (await producer.send_batch(batch, place.topic, partition=place.partition))
    finally:
        await producer.stop()
