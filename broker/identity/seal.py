"""The broker's seal on inner records.

A MAC over the destination topic, the state header (which names application, job, run and attempt) and the
SHA-256 of the value: a record copied to another topic, or joined to another value, does not verify.
"""

import hmac

DOMAIN = b"headworks.seal.1"


def seal(key: bytes, topic: str, state: bytes, value_sha256: bytes) -> bytes:
    """32 bytes."""
    name = topic.encode()
    head = len(name).to_bytes(4, "big") + name + len(state).to_bytes(4, "big")
    return hmac.digest(key, DOMAIN + head + state + value_sha256, "sha256")


def verify(key: bytes, topic: str, state: bytes, value_sha256: bytes, mac: bytes) -> bool:
    return hmac.compare_digest(seal(key, topic, state, value_sha256), mac)
