"""The jobs that a document is tried on before it may decide: its own examples, and probes of every shape."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from broker.policy.detections import Detections
from broker.policy.document import Example, Rule, Scope
from broker.policy.facts import Answer, Facts
from broker.policy.texts import ROLES
from broker.policy.yaml_tree import Path
from schemas.envelope import Endpoint, Tags
from schemas.requests import validate_request
from schemas.topics import Lane

_ORDINARY: Final[Mapping[Endpoint, dict[str, Any]]] = {
    "/v1/chat/completions": {
        "model": "example-model",
        "messages": [{"role": "user", "content": "Good morning."}],
    },
    "/v1/embeddings": {"model": "example-model", "input": "Good morning."},
}
_FULL: Final[Mapping[Endpoint, dict[str, Any]]] = {
    "/v1/chat/completions": {
        "model": "example-model",
        "messages": [
            {"role": "system", "content": "You answer briefly."},
            {"role": "user", "content": [{"type": "text", "text": "Good morning."}]},
            {"role": "tool", "tool_call_id": "call_1", "content": "Rain."},
        ],
        "max_completion_tokens": 4_096,
        "n": 2,
        "temperature": 1.0,
        "top_p": 1.0,
        "presence_penalty": 0.5,
        "frequency_penalty": 0.5,
        "logprobs": True,
        "top_logprobs": 5,
        "seed": 7,
        "user": "user-1",
        "reasoning_effort": "high",
        "verbosity": "low",
        "service_tier": "default",
        "response_format": {"type": "json_object"},
        "tools": [{"type": "function", "function": {"name": "weather"}}],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "metadata": {"ticket": "T-1"},
    },
    "/v1/embeddings": {
        "model": "example-model",
        "input": ["Good morning.", "Good night."],
        "dimensions": 256,
        "encoding_format": "float",
        "user": "user-1",
    },
}


class Trial(NamedTuple):
    facts: Facts
    matches: bool
    path: Path
    """Where the example stands in the document."""


def trials(rule: Rule, number: int) -> Iterator[Trial]:
    """Raises schemas.requests.RequestRefused where an example is no request that would pass."""
    for name, examples, matches in (
        ("must_match", rule.tests.must_match, True),
        ("must_not_match", rule.tests.must_not_match, False),
    ):
        for place, example in enumerate(examples):
            path: Path = ("rules", number, "tests", name, place)
            yield Trial(example_facts(example, rule.scope), matches, path)


def example_facts(example: Example, scope: Scope) -> Facts:
    """Raises schemas.requests.RequestRefused."""
    request: dict[str, Any] = {**_ORDINARY[example.endpoint], **_first_model(scope), **example.request}
    validate_request(example.endpoint, request)
    return Facts(
        organization=example.organization or _first(scope.organization),
        project=example.project or _first(scope.project),
        application=example.application or _first(scope.application),
        lane=example.lane or (scope.lane[0] if scope.lane else Lane.STANDARD),
        endpoint=example.endpoint,
        request=request,
        value_sha256="",
        tags=example.tags,
        regions=example.regions,
        detections=_detections(example),
        answer=_answer(example),
    )


def probes(types: Iterable[str]) -> Iterator[Facts]:
    """Jobs as bare as they may be and jobs with everything set: no condition may fail on any of them.

    `types`: the types of data that the document knows; the full jobs hold one of each.
    """
    found = tuple(sorted((type_, 1) for type_ in types))
    scores = tuple((role, 50) for role in sorted(ROLES))
    for endpoint, body in _ORDINARY.items():
        yield Facts("example", "example", "example", Lane.BULK, endpoint, body, "")
        yield Facts(
            organization="example",
            project="example",
            application="example",
            lane=Lane.INTERACTIVE,
            endpoint=endpoint,
            request=_FULL[endpoint],
            value_sha256="",
            tags=Tags(department="example", feature="example", user="example"),
            regions=("eu", "us"),
            detections=Detections(scores, (("example", 50),), ("example",), found),
            answer=Answer(100, "stop", ("weather",), ("length",), found, 2, 1, 1, 20),
        )


def _first(names: tuple[str, ...]) -> str:
    return names[0] if names else "example"


def _first_model(scope: Scope) -> dict[str, str]:
    return {"model": scope.model[0]} if scope.model else {}


def _detections(example: Example) -> Detections:
    scores = {role: getattr(example.injection, role) for role in ROLES}
    return Detections(
        scores=tuple(sorted((role, score) for role, score in scores.items() if score)),
        rules=example.injection_rules,
        types=tuple(sorted(example.dlp.items())),
    )


def _answer(example: Example) -> Answer:
    answer = example.answer
    return Answer(
        chars=answer.chars,
        finish_reason=answer.finish_reason,
        tools=answer.tools,
        findings=answer.findings,
        types=tuple(sorted(answer.dlp.items())),
        choices=answer.choices,
        refusals=answer.refusals,
        tool_calls=answer.tool_calls or len(answer.tools),
        prompt_overlap=answer.prompt_overlap,
    )
