"""Job ids: fresh ones in the order of time (UUIDv7), and derived ones (UUIDv8). RFC 9562."""

import hashlib
from uuid import UUID

_DOMAIN = b"headworks.job"


def fresh_job_id(now_ms: int, entropy: bytes) -> UUID:
    """A UUIDv7: 48 bits of milliseconds since the Unix epoch, then 74 of the 10 bytes of `entropy`."""
    value = (now_ms & (1 << 48) - 1) << 80 | int.from_bytes(entropy, "big")
    return _stamped(value, version=7)


def derived_job_id(application: str, *parts: str) -> UUID:
    """A UUIDv8 that the same parts always give, so that the same job is paid once.

    It is the first 16 bytes of SHA-256 over a domain, the application and the parts, each preceded by its
    length as four bytes, big-endian.
    """
    fields = [_DOMAIN, application.encode(), *[part.encode() for part in parts]]
    digest = hashlib.sha256(b"".join([len(field).to_bytes(4, "big") + field for field in fields])).digest()
    return _stamped(int.from_bytes(digest[:16], "big"), version=8)


def _stamped(value: int, *, version: int) -> UUID:
    value = value & ~(0xF << 76) | version << 76
    return UUID(int=value & ~(0b11 << 62) | 0b10 << 62)
