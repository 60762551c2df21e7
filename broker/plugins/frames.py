"""How worker and detector speak: JSON behind its length in four bytes, big-endian."""

from collections.abc import Mapping
from typing import Final

from broker.plugins.contract import Phase

LENGTH_BYTES: Final = 4
PHASES: Final[Mapping[Phase, bytes]] = {"request": b"q", "answer": b"a"}
"""The first byte of what a detector is to look at; behind it the envelope, or the answer."""


def framed(content: bytes) -> bytes:
    return len(content).to_bytes(LENGTH_BYTES, "big") + content


def length(head: bytes) -> int:
    return int.from_bytes(head, "big")
