"""Who sent this record? Decided from its headers and the digest of its value, before the value is opened."""

import hashlib
from collections.abc import Callable
from typing import NamedTuple
from uuid import UUID

from broker.errors import NotBelieved
from broker.identity.directory import Key
from broker.identity.signing import SignedFields, verify
from broker.records import Incoming, ReceivedHeaders
from schemas import headers, topics
from schemas.reasons import Unauthentic
from schemas.topics import Lane


class Freshness(NamedTuple):
    """How far a record's append time may lie from the time at which it says it was issued."""

    stale_after_ms: int
    future_within_ms: int


class Authentic(NamedTuple):
    key: Key
    lane: Lane
    job_id: UUID
    reply_to: str
    """As it was signed; empty for none."""
    traceparent: str | None
    sha256: bytes
    """Of the value, 32 bytes."""
    content_type: str


_REQUIRED = (
    headers.VERSION,
    headers.APPLICATION,
    headers.KEY_ID,
    headers.CONTENT_TYPE,
    headers.REPLY_TO,
    headers.ISSUED_AT,
    headers.CORRELATION_ID,
    headers.SIGNATURE,
)


def authenticate(
    record: Incoming,
    appended_ms: int,
    keys: Callable[[str], Key | None],
    freshness: Freshness,
    *,
    even_revoked: bool = False,
) -> Authentic:
    """Raises NotBelieved with the first reason found; nothing of the record is then to be trusted.

    `even_revoked`: a key that was revoked counts as it did before.
    """
    lane, owner = _topic(record.topic)
    found = read_headers(record.headers)
    key = _key(found, keys, even_revoked)
    if owner is not None and owner != key.application:
        raise NotBelieved(Unauthentic.FOREIGN_TOPIC)
    digest = hashlib.sha256(record.value or b"").digest()
    _check_signature(found, key, record.topic, digest)
    _check_freshness(found[headers.ISSUED_AT], appended_ms, freshness)
    return Authentic(
        key,
        lane,
        _job_id(found[headers.CORRELATION_ID]),
        found[headers.REPLY_TO],
        found.get(headers.TRACEPARENT),
        digest,
        found[headers.CONTENT_TYPE],
    )


def read_headers(carried: ReceivedHeaders) -> dict[str, str]:
    """Names and texts. Refuses too many, too long, doubled, missing and undecodable ones."""
    if len(carried) > headers.HEADERS_MAX:
        raise NotBelieved(Unauthentic.HEADERS_TOO_MANY)
    found: dict[str, str] = {}
    for name, content in carried:
        if name in found:
            raise NotBelieved(Unauthentic.HEADER_DUPLICATE)
        if content is None or len(content) > headers.HEADER_BYTES_MAX:
            raise NotBelieved(Unauthentic.HEADER_INVALID)
        try:
            found[name] = content.decode()
        except UnicodeDecodeError:
            raise NotBelieved(Unauthentic.HEADER_INVALID) from None
    for name in _REQUIRED:
        if name not in found:
            raise NotBelieved(Unauthentic.HEADER_MISSING)
    if found[headers.VERSION] != "1":
        raise NotBelieved(Unauthentic.UNSUPPORTED_VERSION)
    return found


def _topic(name: str) -> topics.JobsTopic:
    try:
        return topics.parse_jobs(name)
    except ValueError:
        raise NotBelieved(Unauthentic.UNKNOWN_LANE) from None


def _key(found: dict[str, str], keys: Callable[[str], Key | None], even_revoked: bool) -> Key:
    key = keys(found[headers.KEY_ID])
    if key is None or key.application != found[headers.APPLICATION]:
        raise NotBelieved(Unauthentic.UNKNOWN_KEY)
    if key.revoked and not even_revoked:
        raise NotBelieved(Unauthentic.KEY_REVOKED)
    return key


def _check_signature(found: dict[str, str], key: Key, topic: str, digest: bytes) -> None:
    fields = SignedFields(
        version=found[headers.VERSION],
        topic=topic,
        application=key.application,
        key_id=key.id,
        content_type=found[headers.CONTENT_TYPE],
        reply_to=found[headers.REPLY_TO],
        issued_at=found[headers.ISSUED_AT],
        job_id=found[headers.CORRELATION_ID],
        value_sha256=digest,
    )
    if not verify(key.secret, fields, found[headers.SIGNATURE]):
        raise NotBelieved(Unauthentic.BAD_SIGNATURE)


def _check_freshness(issued_at: str, appended_ms: int, freshness: Freshness) -> None:
    if not (issued_at.isascii() and issued_at.isdigit() and len(issued_at) <= 15):
        raise NotBelieved(Unauthentic.HEADER_INVALID)
    age_ms = appended_ms - int(issued_at)
    if age_ms > freshness.stale_after_ms:
        raise NotBelieved(Unauthentic.STALE)
    if age_ms < -freshness.future_within_ms:
        raise NotBelieved(Unauthentic.FROM_THE_FUTURE)


def _job_id(text: str) -> UUID:
    try:
        job_id = UUID(text)
    except ValueError:
        raise NotBelieved(Unauthentic.HEADER_INVALID) from None
    if str(job_id) != text:
        raise NotBelieved(Unauthentic.HEADER_INVALID)
    return job_id
