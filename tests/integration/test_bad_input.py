"""Bad records: each has its stable code in the right place, holds up no other record, and loses nothing."""

import json
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from uuid import UUID

import pytest
from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from broker.identity.credential import Credential
from broker.kafka.connection import client_options
from broker.records import Sealer
from headworks import Answered, JobInvalid
from schemas import headers, topics
from schemas.dead_letter import DeadLetter
from schemas.state import State
from schemas.topics import Coordinate, Lane, RetryDelay, replies
from tests.stack import until
from tests.stack.batches import BAD_KEY, send_batch
from tests.stack.fixtures import Pipeline
from tests.stack.jobs import chat
from tests.stack.raw import Ends, RawPublisher, ends_of, envelope, read_all, signed_headers

TOPIC = topics.jobs(Lane.STANDARD)
HOUR_MS = 3_600_000
MEBIBYTE = 1024 * 1024
Changes = Mapping[str, bytes | None]


class Sender:
    """Publishes bad records, each followed by a good one on the same partition."""

    def __init__(self, pipeline: Pipeline, publisher: RawPublisher, dead_until_now: Ends) -> None:
        self.pipeline = pipeline
        self._dead_until_now = dead_until_now
        self.publisher = publisher
        self.credential = publisher.credential
        self.application = publisher.credential.application
        self.reply_to = replies(self.application)

    def signed(
        self, value: bytes, job_id: UUID, *, reply_to: str | None = None, issued_at_ms: int | None = None
    ) -> dict[str, bytes]:
        to = self.reply_to if reply_to is None else reply_to
        return signed_headers(
            self.credential, TOPIC, value, job_id=job_id, reply_to=to, issued_at_ms=issued_at_ms
        )

    async def follow_with_good(self) -> None:
        """A good job, sent behind, is answered."""
        job_id = await self.publisher.publish(chat())

        async def answered() -> bool:
            return any(reply["job_id"] == str(job_id) for reply in await self.replies())

        await until(answered, "the good job behind to be answered")

    async def replies(self) -> list[dict[str, Any]]:
        records = await read_all(self.pipeline.stack.settings.kafka, self.reply_to)
        return [json.loads(record.value) for record in records]

    async def reply(self, job_id: UUID) -> dict[str, Any]:
        async def there() -> list[dict[str, Any]]:
            return [reply for reply in await self.replies() if reply["job_id"] == str(job_id)]

        [reply] = await until(there, f"a reply to job {job_id}")
        return reply

    async def dead_letter(self, origin: Coordinate) -> tuple[DeadLetter, ConsumerRecord[bytes, bytes]]:
        """The one whose note names the coordinate."""

        async def there() -> list[tuple[DeadLetter, ConsumerRecord[bytes, bytes]]]:
            found = await read_all(
                self.pipeline.stack.settings.kafka, topics.DEAD, since=self._dead_until_now
            )
            noted = [(DeadLetter.model_validate_json(note_of(record)), record) for record in found]
            return [(note, record) for note, record in noted if note.origin == str(origin)]

        [letter] = await until(there, f"a dead letter from {origin}")
        return letter

    def unauthentic(self, reason: str) -> float:
        return self.pipeline.worker.metric("headworks_unauthentic_total", reason=reason)

    async def turned_away(
        self, carried: Sequence[tuple[str, bytes | None]], value: bytes | None, reason: str
    ) -> None:
        """No reply and nothing in the ledger: a counter, and a dead letter with the bytes."""
        before, key = self.unauthentic(reason), uuid.uuid4().bytes
        [place] = await send_batch(
            self.pipeline.stack.settings.kafka, TOPIC, [(key, value, list(carried))], partition=0
        )
        await self.follow_with_good()
        assert self.unauthentic(reason) == before + 1
        note, record = await self.dead_letter(place)
        assert (note.stage, note.reason) == ("admit", reason)
        assert (record.key, record.value) == (key, value or b"")
        assert headers.SEAL not in dict(record.headers)
        assert len(await self.replies()) == 1
        assert len(await self.pipeline.stack.ledger.jobs(self.application)) == 1

    async def refused(self, value: bytes, code: str, param: str | None = None) -> None:
        """A reply with the code; refused on record, and nothing charged."""
        job_id = uuid.uuid4()
        await self.publisher.send(TOPIC, value, list(self.signed(value, job_id).items()), key=job_id.bytes)
        await self.follow_with_good()
        reply = await self.reply(job_id)
        assert reply["status"] == "refused"
        assert (reply["error"]["code"], reply["error"].get("param")) == (code, param)
        assert await self.ended(job_id) == ("refused", code)

    async def ended(self, job_id: UUID) -> tuple[str, str | None]:
        async def there() -> Any:
            rows = await self.pipeline.stack.ledger.terminals(self.application)
            return [row for row in rows if row.job_id == job_id]

        [row] = await until(there, f"the terminal of job {job_id}")
        return row.kind, row.reason


def note_of(record: ConsumerRecord[bytes, bytes]) -> bytes:
    note: bytes = dict(record.headers)[headers.DEAD_LETTER]
    return note


@pytest.fixture
async def credential(pipeline: Pipeline, name: str) -> Credential:
    return await pipeline.stack.application(name)


@pytest.fixture
async def sender(pipeline: Pipeline, credential: Credential) -> AsyncIterator[Sender]:
    kafka = pipeline.stack.settings.kafka
    async with RawPublisher(kafka, credential) as publisher:
        yield Sender(pipeline, publisher, await ends_of(kafka, topics.DEAD))


# who sent it cannot be believed


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({headers.SIGNATURE: None}, "header_missing"),
        ({headers.APPLICATION: None}, "header_missing"),
        ({headers.SIGNATURE: b"0" * 64}, "bad_signature"),
        ({headers.SIGNATURE: b"\xff\xfe"}, "header_invalid"),
        ({headers.REPLY_TO: b"replies.somebody-else"}, "bad_signature"),
        ({headers.ISSUED_AT: b"soon"}, "bad_signature"),
        ({headers.KEY_ID: b"0123456789abcdef"}, "unknown_key"),
        ({headers.APPLICATION: b"somebody-else"}, "unknown_key"),
        ({headers.VERSION: b"2"}, "unsupported_version"),
        ({headers.CONTENT_TYPE: b"x" * 5_000}, "header_invalid"),
    ],
)
async def test_a_record_whose_sender_cannot_be_believed_gets_no_reply(
    sender: Sender, changes: Changes, reason: str
) -> None:
    value = envelope(chat())
    named = {**sender.signed(value, uuid.uuid4()), **changes}
    await sender.turned_away([(key, text) for key, text in named.items() if text is not None], value, reason)


async def test_a_value_altered_on_its_way_is_not_believed(sender: Sender) -> None:
    carried = sender.signed(envelope(chat()), uuid.uuid4())
    await sender.turned_away(list(carried.items()), envelope(chat("Something else.")), "bad_signature")


@pytest.mark.parametrize(("age_ms", "reason"), [(HOUR_MS, "stale"), (-HOUR_MS, "from_the_future")])
async def test_a_record_of_another_time_is_not_believed(sender: Sender, age_ms: int, reason: str) -> None:
    value = envelope(chat())
    issued_at_ms = time.time_ns() // 1_000_000 - age_ms
    carried = sender.signed(value, uuid.uuid4(), issued_at_ms=issued_at_ms)
    await sender.turned_away(list(carried.items()), value, reason)


async def test_a_header_name_that_comes_twice_is_not_believed(sender: Sender) -> None:
    value = envelope(chat())
    carried = [*sender.signed(value, uuid.uuid4()).items(), (headers.REPLY_TO, b"replies.somebody-else")]
    await sender.turned_away(carried, value, "header_duplicate")


async def test_more_headers_than_there_may_be_are_not_read(sender: Sender) -> None:
    value = envelope(chat())
    carried = [*sender.signed(value, uuid.uuid4()).items(), *((f"x-{number}", b"") for number in range(40))]
    await sender.turned_away(carried, value, "headers_too_many")


async def test_a_header_without_a_value_is_not_believed(sender: Sender) -> None:
    value = envelope(chat())
    carried = [*sender.signed(value, uuid.uuid4()).items(), ("traceparent", None)]
    await sender.turned_away(carried, value, "header_invalid")


async def test_an_unsigned_record_without_a_value_is_not_believed(sender: Sender) -> None:
    await sender.turned_away([], None, "header_missing")


async def test_a_job_id_that_is_none_is_not_believed(sender: Sender) -> None:
    value, job_id = envelope(chat()), uuid.uuid4()

    class Shouted(UUID):
        def __str__(self) -> str:
            return super().__str__().upper()

    await sender.turned_away(
        list(sender.signed(value, Shouted(str(job_id))).items()), value, "header_invalid"
    )


# who sent it is known, but what he sent may not pass


@pytest.mark.parametrize(
    ("value", "code", "param"),
    [
        (b"{", "invalid_json", None),
        (b"", "invalid_json", None),
        (b"\xff\xfe", "invalid_json", None),
        (b'{"version":1,"version":NaN}', "invalid_json", None),
        (b"[]", "invalid_envelope", None),
        (envelope(chat(), priority=1), "invalid_envelope", "priority"),
        (envelope(chat(), ttl_s=0), "invalid_envelope", "ttl_s"),
        (envelope(chat(), version=2), "invalid_envelope", "version"),
        (envelope(chat(), endpoint="/v1/images"), "unsupported_endpoint", "endpoint"),
        (envelope(chat(prompt_id="x")), "unpriced_parameter", "prompt_id"),
        (envelope(chat(messages=[])), "invalid_request", "messages"),
        (b'{"version":1,"request":' + b"[" * 100 + b"]" * 100 + b"}", "too_deep", None),
        (b'{"version":1,"request":' + b"[" * 20_000 + b"]" * 20_000 + b"}", "invalid_json", None),
        (envelope(chat("x" * 300_000)), "body_too_large", None),
        (envelope(chat(n=987654)).replace(b"987654", b"9" * 400), "invalid_json", None),
    ],
)
async def test_what_may_not_pass_is_refused_in_a_reply(
    sender: Sender, value: bytes, code: str, param: str | None
) -> None:
    await sender.refused(value, code, param)


@pytest.mark.parametrize(
    ("reply_to", "code"),
    [
        ("replies.somebody-else", "reply_to_foreign"),
        ("dead", "reply_to_foreign"),
        ("replies.{name}/99", "reply_undeliverable"),
        ("replies.{name}.nowhere", "reply_undeliverable"),
        ("replies.{name}/x", "reply_to_invalid"),
        ("replies/{name}/0/1/2", "reply_to_invalid"),
    ],
)
async def test_a_reply_that_cannot_go_where_it_should_is_refused_on_record(
    sender: Sender, reply_to: str, code: str
) -> None:
    value, job_id = envelope(chat()), uuid.uuid4()
    carried = sender.signed(value, job_id, reply_to=reply_to.format(name=sender.application))
    await sender.publisher.send(TOPIC, value, list(carried.items()), key=job_id.bytes)
    await sender.follow_with_good()
    assert await sender.ended(job_id) == ("refused", code)
    assert len(await sender.replies()) == 1
    assert sender.pipeline.provider.counts(job_id)["total"] == 0


async def test_the_same_job_id_with_the_same_and_with_another_body(sender: Sender) -> None:
    job_id = uuid.uuid4()
    for prompt in ("One.", "One.", "Two."):
        value = envelope(chat(prompt))
        await sender.publisher.send(
            TOPIC, value, list(sender.signed(value, job_id).items()), key=job_id.bytes
        )

    async def told() -> list[str]:
        statuses = sorted({reply["status"] for reply in await sender.replies()})
        return statuses if len(statuses) > 1 else []

    assert await until(told, "an answer and a refusal") == ["answered", "refused"]
    assert sender.pipeline.provider.counts(job_id)["total"] == 1
    assert len(await sender.pipeline.stack.ledger.terminals(sender.application)) == 1


# what Kafka itself keeps out


async def test_a_lane_that_is_none_is_named_to_the_client_and_has_no_topic(
    pipeline: Pipeline, credential: Credential
) -> None:
    async with pipeline.stack.client(credential) as client:
        with pytest.raises(JobInvalid, match="lane"):
            await client.submit(chat(), lane="urgent")
    async with AIOKafkaProducer(**client_options(pipeline.stack.settings.kafka)) as producer:
        assert "jobs.urgent" not in (await producer.client.fetch_all_metadata()).topics()


@pytest.mark.parametrize("compression", [None, "gzip"])
async def test_ten_megabytes_do_not_enter_a_topic_of_jobs_though_they_are_compressed(
    sender: Sender, compression: str | None
) -> None:
    value = envelope(chat("x" * 10 * MEBIBYTE))
    options = {"max_request_size": 32 * MEBIBYTE, "compression_type": compression}
    async with AIOKafkaProducer(
        **client_options(sender.pipeline.stack.settings.kafka), **options
    ) as producer:
        carried = list(sender.signed(value, uuid.uuid4()).items())
        with pytest.raises(MessageSizeTooLargeError):
            await producer.send_and_wait(TOPIC, value=value, headers=carried, partition=0)
    await sender.follow_with_good()


async def test_an_honest_client_may_compress(sender: Sender) -> None:
    value, job_id = envelope(chat("x" * 2_000)), uuid.uuid4()
    options = client_options(sender.pipeline.stack.settings.kafka)
    async with AIOKafkaProducer(**options, compression_type="gzip") as producer:
        await producer.send_and_wait(TOPIC, value=value, headers=list(sender.signed(value, job_id).items()))
    assert (await sender.reply(job_id))["status"] == "answered"


@pytest.mark.parametrize("codec", [1, 4, 5])
async def test_a_corrupt_batch_does_not_enter(sender: Sender, codec: int) -> None:
    kafka = sender.pipeline.stack.settings.kafka
    with pytest.raises(KafkaError):
        await send_batch(kafka, TOPIC, [(None, envelope(chat()), [])] * 3, codec=codec)
    await sender.follow_with_good()


# what cannot be decoded


async def test_a_header_key_that_is_not_utf8_costs_its_own_record_alone(sender: Sender) -> None:
    """The good jobs before and behind it lie in the same batch."""
    value, good = envelope(chat()), [uuid.uuid4(), uuid.uuid4()]
    spoilt = [*sender.signed(value, uuid.uuid4()).items(), (BAD_KEY, b"")]
    before, behind = ([*sender.signed(value, job_id).items()] for job_id in good)
    letters = sender.pipeline.worker.metric(
        "headworks_dead_letters_total", reason="undecodable", stage="admit"
    )
    _, place, _ = await send_batch(
        sender.pipeline.stack.settings.kafka,
        TOPIC,
        [(None, value, before), (b"spoilt", value, spoilt), (None, value, behind)],
    )
    assert [(await sender.reply(job_id))["status"] for job_id in good] == ["answered", "answered"]
    note, record = await sender.dead_letter(place)
    assert (note.stage, note.reason) == ("admit", "undecodable")
    assert value in record.value
    assert letters + 1 == sender.pipeline.worker.metric(
        "headworks_dead_letters_total", reason="undecodable", stage="admit"
    )


# forged inner records


def inner_topics() -> dict[str, str]:
    return {
        "reserve": topics.admitted(Lane.STANDARD),
        "dispatch": topics.reserved(Lane.STANDARD),
        "settle": topics.outcomes(Lane.STANDARD),
        "retry": topics.retry(RetryDelay.SECOND),
    }


def forgeries(sealer: Sealer, state: State, topic: str) -> dict[str, tuple[bytes, list[tuple[str, bytes]]]]:
    """Values and headers of records that bear no seal of this topic's."""
    value = envelope(chat())
    sealed = dict(sealer.seal(topic, state, value).headers)
    elsewhere = sealer.seal(topics.PARKED, state, value)
    other = dict(
        sealer.seal(topic, state.model_copy(update={"project_id": 1 + state.project_id}), value).headers
    )
    return {
        "unsealed": (value, [(headers.STATE, sealed[headers.STATE])]),
        "copied from another topic": (value, list(elsewhere.headers)),
        "another value": (envelope(chat("Another.")), list(sealed.items())),
        "another state": (value, [*(sealed | {headers.STATE: other[headers.STATE]}).items()]),
        "two states": (value, [*sealed.items(), (headers.STATE, other[headers.STATE])]),
        "by another key": (value, list(Sealer(bytes(32)).seal(topic, state, value).headers)),
        "nothing at all": (b"", []),
    }


def job_state(sender: Sender, project_id: int) -> State:
    now_ms = time.time_ns() // 1_000_000
    return State(
        application=sender.application,
        application_id=project_id,
        organization_id=1,
        project_id=project_id,
        key_id=sender.credential.key_id,
        job_id=uuid.uuid4(),
        lane=Lane.STANDARD,
        origin=f"{TOPIC}/0/0",
        value_sha256="0" * 64,
        appended_ms=now_ms,
        deadline_ms=now_ms + HOUR_MS,
        reply_to=sender.reply_to,
    )


@pytest.mark.parametrize("stage", inner_topics())
async def test_a_forged_inner_record_is_dead_lettered_and_goes_no_further(sender: Sender, stage: str) -> None:
    stack, topic = sender.pipeline.stack, inner_topics()[stage]
    sealer = Sealer(stack.settings.seal_key())
    project = await stack.ledger.project(sender.application)
    state = job_state(sender, project.id)
    counted = {"stage": stage, "reason": "forged"}
    before = sender.pipeline.worker.metric("headworks_dead_letters_total", **counted)
    cases = forgeries(sealer, state, topic)
    places = [
        await sender.publisher.send(topic, value, carried, key=state.job_id.bytes)
        for value, carried in cases.values()
    ]
    await sender.follow_with_good()
    for place in places:
        note, _ = await sender.dead_letter(place)
        assert (note.stage, note.reason) == (stage, "forged")
    after = sender.pipeline.worker.metric("headworks_dead_letters_total", **counted)
    assert after == before + len(cases)
    assert [row.kind for row in await stack.ledger.terminals(sender.application)] == ["answered"]
    assert sender.pipeline.provider.counts(state.job_id)["total"] == 0


async def test_an_inner_record_that_cannot_be_decoded_hides_no_outcome(
    sender: Sender, pipeline: Pipeline, credential: Credential
) -> None:
    """Not even from a repeat, for which SETTLE reads the outcome again."""
    kafka, job_id = pipeline.stack.settings.kafka, uuid.uuid4()
    async with pipeline.stack.client(credential) as client:
        first = await client.run(chat(), job_id=job_id, timeout_s=60)
        for partition in range(6):
            await send_batch(
                kafka,
                topics.outcomes(Lane.STANDARD),
                [(b"k", b"v", [(BAD_KEY, b"")])],
                partition=partition,
            )
        assert await client.run(chat(), job_id=job_id, timeout_s=60) == first
        assert isinstance(await client.run(chat(), timeout_s=60), Answered)
