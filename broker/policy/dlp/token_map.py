"""The values behind a job's tokens, as they travel beside the job: encrypted, and good for this job alone.

AES-256-GCM (NIST SP 800-38D) over the mapping as JSON, deflated; application, job
and run are the associated data. A sealed map is one version byte, the 12-byte nonce, ciphertext and tag.
"""

import json
import os
import zlib
from collections.abc import Mapping
from typing import NamedTuple
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from broker.policy.dlp.errors import TokenMapTooLarge, TokenMapUnreadable

SEALED_BYTES_MAX = 65_536
PLAIN_BYTES_MAX = 1_048_576
"""Before it is deflated, and after it is inflated."""

_DOMAIN = b"headworks.tokens.1"
_VERSION = b"\x01"
_NONCE_BYTES = 12
_LEVEL = 6


class Owner(NamedTuple):
    application: str
    job_id: UUID
    run: int


def seal(key: bytes, owner: Owner, mapping: Mapping[str, str]) -> bytes:
    """`key` is 32 bytes. Raises TokenMapTooLarge; the job is then to be refused."""
    plain = json.dumps(dict(mapping), separators=(",", ":")).encode("ascii")
    if len(plain) > PLAIN_BYTES_MAX:
        raise _too_large(mapping)
    nonce = os.urandom(_NONCE_BYTES)
    sealed = _VERSION + nonce + AESGCM(key).encrypt(nonce, zlib.compress(plain, _LEVEL), _bound_to(owner))
    if len(sealed) > SEALED_BYTES_MAX:
        raise _too_large(mapping)
    return sealed


def open_sealed(key: bytes, owner: Owner, sealed: bytes) -> dict[str, str]:
    """Raises TokenMapUnreadable where it was sealed under another key or for another owner, or altered."""
    nonce, ciphertext = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
    try:
        if sealed[:1] != _VERSION or len(sealed) > SEALED_BYTES_MAX:
            raise InvalidTag
        deflated = AESGCM(key).decrypt(nonce, ciphertext, _bound_to(owner))
        mapping: dict[str, str] = json.loads(zlib.decompressobj().decompress(deflated, PLAIN_BYTES_MAX))
    except (InvalidTag, ValueError, zlib.error):
        raise TokenMapUnreadable(
            f"the token map of job {owner.job_id}, run {owner.run}, cannot be read"
        ) from None
    return mapping


def _bound_to(owner: Owner) -> bytes:
    application = owner.application.encode()
    return (
        _DOMAIN
        + len(application).to_bytes(4, "big")
        + application
        + owner.job_id.bytes
        + owner.run.to_bytes(4, "big")
    )


def _too_large(mapping: Mapping[str, str]) -> TokenMapTooLarge:
    return TokenMapTooLarge(
        f"{len(mapping)} values were replaced by tokens, more than {SEALED_BYTES_MAX} bytes of header carry: "
        "send less in one job, or redact instead"
    )
