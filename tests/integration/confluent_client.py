"""A client written from docs/envelope.md alone, on another Kafka library: it imports nothing of Headworks."""

import base64
import hashlib
import hmac
import json
import os
import time
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from confluent_kafka import (
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

DELIVERY_MS = 60_000


class Credential(NamedTuple):
    application: str
    key_id: str
    secret: bytes


def read_credential(line: str) -> Credential:
    _, application, key_id, secret = line.split(".")
    return Credential(application, key_id, base64.urlsafe_b64decode(secret + "="))


def with_lengths(*fields: bytes) -> bytes:
    return b"".join(len(field).to_bytes(4, "big") + field for field in fields)


def uuid_text(octets: bytes) -> str:
    digits = octets.hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def stamped(octets: bytes, version: int) -> str:
    marked = bytearray(octets)
    marked[6] = marked[6] & 0x0F | version << 4
    marked[8] = marked[8] & 0x3F | 0x80
    return uuid_text(bytes(marked))


def fresh_job_id(now_ms: int) -> str:
    return stamped(now_ms.to_bytes(6, "big") + os.urandom(10), 7)


def derived_job_id(application: str, *parts: str) -> str:
    fields = ("headworks.job", application, *parts)
    return stamped(hashlib.sha256(with_lengths(*(field.encode() for field in fields))).digest()[:16], 8)


def key_of(job_id: str) -> bytes:
    return bytes.fromhex(job_id.replace("-", ""))


def default_partition(job_id: str, partitions: int) -> int:
    return zlib.crc32(key_of(job_id)) % partitions


def signed_headers(
    credential: Credential,
    topic: str,
    job_id: str,
    reply_to: str,
    issued_at_ms: int,
    value: bytes,
    content_type: str = "application/json",
) -> dict[str, str]:
    headers = {
        "hw-version": "1",
        "hw-application": credential.application,
        "hw-key-id": credential.key_id,
        "content-type": content_type,
        "reply_to": reply_to,
        "hw-issued-at": str(issued_at_ms),
        "correlation_id": job_id,
    }
    texts = ["headworks.envelope", headers["hw-version"], topic, *list(headers.values())[1:]]
    signed = with_lengths(*(text.encode() for text in texts), hashlib.sha256(value).digest())
    return headers | {"hw-signature": hmac.new(credential.secret, signed, hashlib.sha256).hexdigest()}


class ConfluentClient:
    """One instance that reads one partition of its application's replies. `close` when done."""

    def __init__(self, bootstrap_servers: str, credential: str, instance: str = "confluent") -> None:
        self._credential = read_credential(credential)
        self._seen: set[tuple[str, int]] = set()
        self._kept: dict[str, dict[str, Any]] = {}
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                "acks": "all",
                "enable.idempotence": True,
                "delivery.timeout.ms": DELIVERY_MS,
                "allow.auto.create.topics": False,
            }
        )
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": f"{self._credential.application}-{instance}",
                "enable.auto.commit": False,
                "allow.auto.create.topics": False,
            }
        )
        topic = f"replies.{self._credential.application}"
        partition = zlib.crc32(instance.encode()) % self._partitions(topic)
        self._reply_to = f"{topic}/{partition}/{instance}"
        self._listen(topic, partition)

    def _partitions(self, topic: str) -> int:
        metadata = self._consumer.list_topics(topic, timeout=10).topics[topic]
        if metadata.error is not None:
            raise KafkaException(metadata.error)
        return len(metadata.partitions)

    def _listen(self, topic: str, partition: int) -> None:
        """From the end as it is now: a position that is only fixed at the first fetch would miss replies."""
        _, end = self._consumer.get_watermark_offsets(
            TopicPartition(topic, partition, OFFSET_END), timeout=10
        )
        self._consumer.assign([TopicPartition(topic, partition, end)])

    def submit(
        self,
        request: Mapping[str, Any],
        lane: str = "standard",
        endpoint: str = "/v1/chat/completions",
        job_id: str | None = None,
        **fields: Any,
    ) -> str:
        """Publish, wait for the acknowledgement, return the job id."""
        job_id = job_id or fresh_job_id(time.time_ns() // 1_000_000)
        envelope = {"version": 1, "endpoint": endpoint, "request": request, **fields}
        self.publish(f"jobs.{lane}", job_id, json.dumps(envelope, ensure_ascii=False).encode())
        return job_id

    def publish(self, topic: str, job_id: str, value: bytes) -> None:
        failures: list[KafkaError] = []

        def delivered(error: KafkaError | None, _message: Message) -> None:
            failures.extend([error] if error is not None else [])

        now_ms = time.time_ns() // 1_000_000
        headers = signed_headers(self._credential, topic, job_id, self._reply_to, now_ms, value)
        carried: dict[str, str | bytes | None] = {name: text.encode() for name, text in headers.items()}
        self._producer.produce(topic, value, key_of(job_id), headers=carried, on_delivery=delivered)
        if self._producer.flush(DELIVERY_MS / 1000):
            raise TimeoutError("the job was not acknowledged: publish it again under its id")
        if failures:
            raise KafkaException(failures[0])

    def reply(self, job_id: str, timeout_s: float) -> dict[str, Any]:
        """The reply of a job of ours; those of others that come meanwhile are kept."""
        deadline = time.monotonic() + timeout_s
        while job_id not in self._kept:
            message = self._consumer.poll(max(0.0, deadline - time.monotonic()))
            if message is None:
                raise TimeoutError(f"no reply to {job_id} in {timeout_s:g} s")
            self._take(message)
        return self._kept.pop(job_id)

    def forget(self, job_id: str) -> None:
        """Take the job's reply once more, when it is asked for again."""
        self._seen = {seen for seen in self._seen if seen[0] != job_id}

    def _take(self, message: Message) -> None:
        error = message.error()
        if error is not None:
            raise KafkaException(error)
        headers = dict(message.headers() or [])
        if headers["reply_to"] != self._reply_to.encode():
            return
        reply = json.loads(message.value() or b"")
        job_id, run = reply["job_id"], reply["run"]
        if headers["correlation_id"] == job_id.encode() and (job_id, run) not in self._seen:
            self._seen.add((job_id, run))
            self._kept[job_id] = reply

    def close(self) -> None:
        self._consumer.close()
        self._producer.close()
