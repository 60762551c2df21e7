"""Secrets at rest: AES-256-GCM under the key-encryption key, bound to the key's id as associated data.

A wrapped secret is the 12-byte nonce, then ciphertext and tag (NIST SP 800-38D).
"""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from broker.errors import SecretMissing

NONCE_BYTES = 12


def wrap(kek: bytes, key_id: str, secret: bytes) -> bytes:
    """`kek` is 32 bytes."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(kek).encrypt(nonce, secret, key_id.encode())


def unwrap(kek: bytes, key_id: str, wrapped: bytes) -> bytes:
    """Raises SecretMissing where the secret was wrapped under another key or id, or was altered."""
    try:
        return AESGCM(kek).decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], key_id.encode())
    except (InvalidTag, ValueError):
        raise SecretMissing(
            f"the key-encryption key (HEADWORKS_SECRETS__KEY_ENCRYPTION_KEY) does not fit key {key_id}: "
            "set the one under which it was made, or revoke the key and make another"
        ) from None
