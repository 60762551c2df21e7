"""Signatures of applications: HMAC-SHA256 over length-prefixed fields (`docs/envelope.md`)."""

import hmac
from typing import NamedTuple

DOMAIN = b"headworks.envelope"


class SignedFields(NamedTuple):
    """All that a signature covers, in the order in which it is signed. Text is UTF-8."""

    version: str
    topic: str
    application: str
    key_id: str
    content_type: str
    reply_to: str
    issued_at: str
    job_id: str
    value_sha256: bytes
    """32 bytes."""


def canonical(fields: SignedFields) -> bytes:
    """The bytes that are signed: each field preceded by its length as four bytes, big-endian."""
    parts = [DOMAIN]
    parts += [field if isinstance(field, bytes) else field.encode() for field in fields]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def sign(secret: bytes, fields: SignedFields) -> str:
    """64 lower-case hexadecimal digits."""
    return hmac.digest(secret, canonical(fields), "sha256").hex()


def verify(secret: bytes, fields: SignedFields, signature: str) -> bool:
    """In constant time. A signature that is not ASCII is simply wrong."""
    return hmac.compare_digest(sign(secret, fields).encode(), signature.encode(errors="replace"))
