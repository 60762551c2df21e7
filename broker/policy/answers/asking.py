"""What rules about answers ask of a request before it goes out: a canary, and schemas to check answers by."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from broker.policy.answers import schema_form
from broker.policy.answers.checks import demanded_schema
from broker.policy.decide import Uncheckable
from broker.policy.rewriting import rewritten
from broker.policy.sections import AnswerChecks, Check
from broker.policy.texts import texts


class Demands(NamedTuple):
    """Of one document. What is only monitored or flagged demands nothing of a request."""

    canary: bool
    schema: bool
    arguments: bool

    @classmethod
    def of(cls, section: AnswerChecks) -> "Demands":
        leak, tools = section.prompt_leak, section.tools
        return cls(
            canary=leak is not None and leak.canary,
            schema=section.json_schema and _withholds(section, "json_schema"),
            arguments=tools is not None and tools.arguments and _withholds(section, "tools"),
        )


def uncheckable(request: Mapping[str, Any], demands: Demands) -> Uncheckable | None:
    """The first schema of the request by which an answer cannot be checked."""
    for schema, param in _schemas(request, demands):
        try:
            schema_form.check(schema)
        except schema_form.Unfit as unfit:
            return Uncheckable(str(unfit), param)
    return None


def with_canary(request: dict[str, Any], token: str) -> dict[str, Any] | None:
    """The request with the token at the end of its last system prompt. None where it has none."""
    prompts = [text for text in texts(request) if text.role == "system" and text.path[-1] != "name"]
    if not prompts:
        return None
    return rewritten(request, [(prompts[-1], f"{prompts[-1].text}\n\n(ref {token})")])


def _withholds(section: AnswerChecks, check: Check) -> bool:
    return section.mode == "enforce" and section.effects.get(check, "deny") == "deny"


def _schemas(request: Mapping[str, Any], demands: Demands) -> Iterator[tuple[Any, str]]:
    if demands.schema and (schema := demanded_schema(request)) is not None:
        yield schema, "response_format.json_schema.schema"
    if demands.arguments:
        for position, tool in enumerate(request.get("tools") or ()):
            if (parameters := tool["function"].get("parameters")) is not None:
                yield parameters, f"tools.{position}.function.parameters"
