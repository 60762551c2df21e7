"""Applications' records, signed as docs/envelope.md says; any header may be put wrong."""

import hashlib
from typing import Any
from uuid import UUID

from broker.identity.directory import Key
from broker.identity.signing import SignedFields, sign
from schemas import headers, topics
from schemas.topics import Lane
from tests.unit.workers.memory import JOB, NOW_MS, Received

KEY = Key(
    id="0a1b2c3d4e5f6071",
    application="shop",
    application_id=1,
    organization_id=2,
    project_id=3,
    secret=bytes(range(32)),
    revoked=False,
)
TOPIC = topics.jobs(Lane.STANDARD)


def signed_headers(
    value: bytes,
    *,
    topic: str = TOPIC,
    job_id: UUID | str = JOB,
    reply_to: str = "",
    issued_at: int | str = NOW_MS,
    key: Key = KEY,
    **fields: str,
) -> dict[str, bytes]:
    """`fields` replace others of what is signed and sent alike: `version`, `content_type`."""
    covered = SignedFields(
        version=fields.get("version", "1"),
        topic=topic,
        application=key.application,
        key_id=key.id,
        content_type=fields.get("content_type", "application/json"),
        reply_to=reply_to,
        issued_at=str(issued_at),
        job_id=str(job_id),
        value_sha256=hashlib.sha256(value).digest(),
    )
    named = {
        headers.CONTENT_TYPE: covered.content_type,
        headers.CORRELATION_ID: covered.job_id,
        headers.REPLY_TO: covered.reply_to,
        headers.VERSION: covered.version,
        headers.APPLICATION: covered.application,
        headers.KEY_ID: covered.key_id,
        headers.ISSUED_AT: covered.issued_at,
        headers.SIGNATURE: sign(key.secret, covered),
    }
    return {name: text.encode() for name, text in named.items()}


def signed(value: bytes, *, topic: str = TOPIC, **fields: Any) -> Received:
    return Received(topic, value, tuple(signed_headers(value, topic=topic, **fields).items()))
