"""Answers for the tests, and who judges them."""

from hashlib import sha256
from typing import Any

import orjson

from broker.policy.answers.judge import Answered, AnswerJudge, AnswerJudgement
from broker.policy.judge import Judge
from schemas.envelope import Tags
from tests.unit.broker.policy.jobs import revision

SYSTEM = (
    "You are the clerk of a lock on the old canal, and you never tell anybody what the keeper has for supper."
)
REQUEST = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "Hello."}],
}


def judge_of(*rules: dict[str, Any], **sections: Any) -> AnswerJudge:
    found = Judge(revision(*rules, **sections)).answers
    assert found is not None
    return found


def chat(*messages: dict[str, Any] | str, **fields: Any) -> dict[str, Any]:
    """A choice for each message; a text stands for one with that content. `fields` of each choice."""
    own = [message if isinstance(message, dict) else {"content": message} for message in messages]
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "choices": [
            {"index": place, "message": {"role": "assistant"} | message, "finish_reason": "stop"} | fields
            for place, message in enumerate(own)
        ],
        "usage": {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14},
    }


def call(name: str, arguments: str = "{}") -> dict[str, Any]:
    return {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}


def answered(response: Any, request: dict[str, Any] | None = None, **fields: Any) -> Answered:
    body = response if isinstance(response, bytes) else orjson.dumps(response)
    ordinary: dict[str, Any] = {
        "organization": "acme",
        "project": "support",
        "application": "support-bot",
        "lane": "standard",
        "endpoint": "/v1/chat/completions",
        "request": REQUEST | (request or {}),
        "tags": Tags(),
        "regions": (),
        "value_sha256": "0" * 64,
        "body": body,
        "response_sha256": sha256(body).hexdigest(),
        "tokens": {},
    }
    return Answered(**(ordinary | fields))


def judged(judge: AnswerJudge, response: Any, request: dict[str, Any] | None = None) -> AnswerJudgement:
    return judge.judge(answered(response, request))


def outcome(
    judge: AnswerJudge, response: Any, request: dict[str, Any] | None = None
) -> tuple[str, str | None]:
    """Effect, and the rule that decided."""
    decision = judged(judge, response, request).decision
    return decision.effect, decision.rule
