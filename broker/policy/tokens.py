"""The values behind a job's tokens: sealed at ADMIT, and put back into the answer by DISPATCH."""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from broker.policy.dlp import token_map
from broker.policy.dlp.replacing import restore, restore_in_json
from broker.policy.dlp.token_map import Owner
from schemas.state import State

RESTORED_BYTES_MAX: Final = 8 * 1024 * 1024
"""An answer that might grow beyond this, by repeating tokens of long values, keeps its placeholders."""
_ESCAPED_MAX: Final = 12
"""Bytes that a character may take in JSON within JSON: `\\\\uXXXX`, and two such for one beyond the BMP."""
_JSON_FIELD: Final = "arguments"
"""Of a tool call: a text that is JSON itself."""


def seal(key: bytes, state: State, mapping: Mapping[str, str]) -> bytes:
    """`key`: a Sealer's `token_key`. Raises TokenMapTooLarge."""
    return token_map.seal(key, _owner(state), mapping)


def unseal(key: bytes, state: State, sealed: bytes | None) -> Mapping[str, str]:
    """Empty where the job has none. Raises TokenMapUnreadable."""
    return {} if sealed is None else token_map.open_sealed(key, _owner(state), sealed)


def put_back(body: bytes, mapping: Mapping[str, str]) -> bytes:
    """A provider's answer, JSON, with the values in place of their placeholders, in every text of it."""
    if not mapping or len(body) + body.count(b"[") * _longest_bytes(mapping) > RESTORED_BYTES_MAX:
        return body
    answer: Any = orjson.loads(body)
    waiting = [answer]
    while waiting:
        node = waiting.pop()
        for key, child in list(node.items() if isinstance(node, dict) else enumerate(node)):
            if isinstance(child, str):
                is_json = key == _JSON_FIELD or _is_json(child)
                node[key] = (restore_in_json if is_json else restore)(child, mapping)
            elif isinstance(child, dict | list):
                waiting.append(child)
    try:
        return orjson.dumps(answer)
    except orjson.JSONEncodeError:  # it nests deeper than is written, though not than is read
        return body


def _is_json(text: str) -> bool:
    """As structured output is. Only where something can be put back is it worth a look."""
    if "[" not in text or text.lstrip()[:1] not in {"{", "["}:
        return False
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _longest_bytes(mapping: Mapping[str, str]) -> int:
    return _ESCAPED_MAX * max(len(value) for value in mapping.values())


def _owner(state: State) -> Owner:
    return Owner(state.application, state.job_id, state.run)
