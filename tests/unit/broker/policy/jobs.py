"""Jobs and documents for the tests of policy."""

from typing import Any

import orjson

from broker.policy.detections import Detections
from broker.policy.facts import Answer, Facts
from broker.policy.revision import PolicyRevision
from schemas.envelope import Tags

SECRET = "sesame-open-1701"
CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": SECRET}]}
EMBEDDINGS = {"model": "text-embedding-3-small", "input": SECRET}


def job(request: dict[str, Any] | None = None, **fields: Any) -> Facts:
    ordinary: dict[str, Any] = {
        "organization": "acme",
        "project": "support",
        "application": "support-bot",
        "lane": "standard",
        "endpoint": "/v1/chat/completions",
        "request": CHAT | (request or {}),
        "value_sha256": "0" * 64,
        "tags": Tags(),
        "regions": (),
        "detections": Detections(),
        "answer": Answer(),
    }
    return Facts(**(ordinary | fields))


def rule(id_: str = "r", when: str = "true", effect: str = "deny", **fields: Any) -> dict[str, Any]:
    return {"id": id_, "description": "A rule.", "when": when, "effect": effect, **fields}


def revision(*rules: dict[str, Any], **sections: Any) -> PolicyRevision:
    """YAML takes JSON as it is."""
    return PolicyRevision.load(orjson.dumps({"version": 1, "rules": list(rules), **sections}))
