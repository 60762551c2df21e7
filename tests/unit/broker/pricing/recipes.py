"""Encodings as tiktoken describes them, small enough to stand in a test."""

import base64
import hashlib
from typing import Any

RANKS = [bytes([number]) for number in range(256)] + [b"ab", b"abab"]
FILE = b"\n".join(base64.b64encode(token) + b" %d" % rank for rank, token in enumerate(RANKS)) + b"\n"
SOURCE = "https://nowhere/tiny.tiktoken"
SHA256 = hashlib.sha256(FILE).hexdigest()


def load_tiktoken_bpe(source: str, expected_hash: str | None = None) -> dict[bytes, int]:
    raise AssertionError("it downloads")


def tiny() -> dict[str, Any]:
    ranks = load_tiktoken_bpe(SOURCE, expected_hash=SHA256)
    words = r"\w+|\W+"
    return {"name": "tiny", "pat_str": words, "mergeable_ranks": ranks, "special_tokens": {"<|end|>": 258}}


def tiny_chat() -> dict[str, Any]:
    return {**tiny(), "name": "tiny_chat"}


ENCODING_CONSTRUCTORS = {"tiny": tiny, "tiny_chat": tiny_chat}
