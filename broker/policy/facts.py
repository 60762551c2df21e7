"""What a rule may see of a job: a closed list. No text of a prompt or of an answer is among it."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal, NamedTuple

from broker.policy.detections import Detections
from broker.policy.texts import Role, Text, texts
from schemas.envelope import Tags

Phase = Literal["request", "answer"]
"""Rules are judged twice: before the job goes on, and when an answer has come."""


class Answer(NamedTuple):
    """What came back from the provider."""

    chars: int = 0
    finish_reason: str = ""
    tools: tuple[str, ...] = ()
    """Names of the functions that it calls."""
    findings: tuple[str, ...] = ()
    """Checks of the document's section `answer` that it failed, sorted."""
    types: tuple[tuple[str, int], ...] = ()
    """How many spans of each type of personal or secret data, sorted."""
    choices: int = 0
    refusals: int = 0
    """Choices in which the model declined."""
    tool_calls: int = 0
    prompt_overlap: int = 0
    """Words in the longest stretch that it shares with a system prompt."""
    broken: tuple[str, ...] = ()
    """Ids of the section's rules whose check could not be made, sorted."""
    sha256: str = ""
    """Of its bytes, in hexadecimal."""


class Shape(NamedTuple):
    """What the body's texts and parts come to."""

    chars: int
    chars_longest: int
    roles: tuple[str, ...]
    """Each once, sorted."""
    parts: Mapping[str, int]
    """How many of each type."""


@dataclass(frozen=True)
class Facts:
    """`request`: the body, after `schemas.requests` has accepted it. `value_sha256`: of the raw envelope, in
    hexadecimal; it stands for the request in the decision's input hash.
    """

    organization: str
    project: str
    application: str
    lane: str
    endpoint: str
    request: Mapping[str, Any]
    value_sha256: str
    tags: Tags = field(default_factory=Tags)
    regions: tuple[str, ...] = ()
    """Labels of the targets that serve the model, sorted."""
    detections: Detections = field(default_factory=Detections)
    answer: Answer = field(default_factory=Answer)
    found: Sequence[Text] | None = None
    """The request's texts, where somebody has gone through them already."""

    @property
    def model(self) -> str:
        return str(self.request["model"])

    @cached_property
    def shape(self) -> Shape:
        found = texts(self.request) if self.found is None else self.found
        lengths = [len(text.text) for text in found if not (text.is_key or text.is_name)]
        messages = self.request.get("messages") or ()
        contents = [content for message in messages if isinstance(content := message.get("content"), list)]
        return Shape(
            sum(lengths),
            max(lengths, default=0),
            tuple(sorted({message["role"] for message in messages})),
            Counter(part["type"] for content in contents for part in content) if contents else {},
        )


class Fact(NamedTuple):
    """`optional`: a job may lack it, and reading what is not there is an error: ask `has(…)` first."""

    kind: Literal["string", "int", "double", "bool", "list of strings"]
    meaning: str
    read: Callable[[Facts], Any]
    """Always hashable and of one type; None where the job lacks it."""
    optional: bool = False
    phases: frozenset[Phase] = frozenset({"request", "answer"})


def _parameter(name: str) -> Callable[[Facts], Any]:
    return lambda facts: facts.request.get(name)


def _double(name: str) -> Callable[[Facts], float | None]:
    def read(facts: Facts) -> float | None:
        value = facts.request.get(name)
        return None if value is None else float(value) + 0.0  # no negative zero

    return read


def _parts(kind: str) -> Callable[[Facts], int]:
    return lambda facts: facts.shape.parts.get(kind, 0)


def _score(role: Role) -> Callable[[Facts], int]:
    return lambda facts: next((score for of, score in facts.detections.scores if of == role), 0)


def _tag(name: str) -> Callable[[Facts], str | None]:
    return lambda facts: getattr(facts.tags, name)


def _inputs(facts: Facts) -> int:
    """Messages of a chat; texts of an embeddings call, however they are encoded."""
    if "messages" in facts.request:
        return len(facts.request["messages"])
    given = facts.request["input"]
    return len(given) if isinstance(given, list) and not isinstance(given[0], int) else 1


def _output_limit(facts: Facts) -> int | None:
    limit: int | None = facts.request.get("max_completion_tokens")
    return facts.request.get("max_tokens") if limit is None else limit


def _tool_choice(facts: Facts) -> str | None:
    choice = facts.request.get("tool_choice")
    return choice["function"]["name"] if isinstance(choice, dict) else choice


def _response_format(facts: Facts) -> str | None:
    form = facts.request.get("response_format")
    return None if form is None else str(form["type"])


def _tools(facts: Facts) -> tuple[str, ...]:
    return tuple(tool["function"]["name"] for tool in facts.request.get("tools") or ())


def _given(facts: Facts) -> tuple[str, ...]:
    return tuple(sorted(name for name, value in facts.request.items() if value is not None))


def _requested(kind: Literal["string", "int", "bool"], name: str, meaning: str) -> Fact:
    return Fact(kind, meaning, _parameter(name), optional=True)


_REQUEST: Final[frozenset[Phase]] = frozenset({"request"})
_ANSWER: Final[frozenset[Phase]] = frozenset({"answer"})

FACTS: Final[Mapping[str, Fact]] = {
    "organization": Fact("string", "the organization's name", lambda facts: facts.organization),
    "project": Fact("string", "the project's name", lambda facts: facts.project),
    "application": Fact("string", "the application's name", lambda facts: facts.application),
    "lane": Fact("string", "`interactive`, `standard` or `bulk`", lambda facts: facts.lane),
    "tags.department": Fact("string", "the job's tag", _tag("department"), optional=True),
    "tags.feature": Fact("string", "the job's tag", _tag("feature"), optional=True),
    "tags.user": Fact("string", "the job's tag", _tag("user"), optional=True),
    "regions": Fact(
        "list of strings", "labels of the targets that serve the model", lambda facts: facts.regions
    ),
    "request.endpoint": Fact(
        "string", "`/v1/chat/completions` or `/v1/embeddings`", lambda facts: facts.endpoint
    ),
    "request.model": Fact("string", "the model as the request names it", lambda facts: facts.model),
    "request.fields": Fact("list of strings", "the names of all fields that the request sets", _given),
    "request.max_output_tokens": Fact(
        "int", "`max_completion_tokens` or `max_tokens`, whichever is set", _output_limit, optional=True
    ),
    "request.n": _requested("int", "n", "how many answers are asked for"),
    "request.temperature": Fact("double", "the parameter", _double("temperature"), optional=True),
    "request.top_p": Fact("double", "the parameter", _double("top_p"), optional=True),
    "request.presence_penalty": Fact("double", "the parameter", _double("presence_penalty"), optional=True),
    "request.frequency_penalty": Fact("double", "the parameter", _double("frequency_penalty"), optional=True),
    "request.top_logprobs": _requested("int", "top_logprobs", "the parameter"),
    "request.logprobs": _requested("bool", "logprobs", "the parameter"),
    "request.seed": _requested("int", "seed", "the parameter"),
    "request.user": _requested("string", "user", "the parameter"),
    "request.reasoning_effort": _requested("string", "reasoning_effort", "the parameter"),
    "request.verbosity": _requested("string", "verbosity", "the parameter"),
    "request.service_tier": _requested("string", "service_tier", "the parameter"),
    "request.response_format": Fact(
        "string", "`text`, `json_object` or `json_schema`", _response_format, optional=True
    ),
    "request.tools": Fact("list of strings", "names of the functions that the request declares", _tools),
    "request.tool_choice": Fact(
        "string", "`none`, `auto`, `required`, or a function's name", _tool_choice, optional=True
    ),
    "request.parallel_tool_calls": _requested("bool", "parallel_tool_calls", "the parameter"),
    "request.metadata_keys": Fact(
        "list of strings", "the keys of `metadata`", lambda facts: tuple(facts.request.get("metadata") or ())
    ),
    "request.dimensions": _requested("int", "dimensions", "the parameter, of embeddings"),
    "request.encoding_format": _requested("string", "encoding_format", "the parameter, of embeddings"),
    "request.messages.count": Fact("int", "messages; of embeddings: texts", _inputs),
    "request.messages.roles": Fact(
        "list of strings", "the roles that occur, each once", lambda facts: facts.shape.roles
    ),
    "request.messages.chars": Fact(
        "int",
        "characters in all texts together",
        lambda facts: facts.shape.chars,
    ),
    "request.messages.chars_longest": Fact(
        "int",
        "characters in the longest text",
        lambda facts: facts.shape.chars_longest,
    ),
    "request.messages.images": Fact("int", "parts that are images", _parts("image_url")),
    "request.messages.audios": Fact("int", "parts that are audio", _parts("input_audio")),
    "request.messages.files": Fact("int", "parts that are files", _parts("file")),
    "injection.score": Fact(
        "int",
        "the highest score of any one text, or of some that follow one another",
        lambda facts: facts.detections.score,
        phases=_REQUEST,
    ),
    "injection.system": Fact("int", "the same of system messages", _score("system"), phases=_REQUEST),
    "injection.user": Fact("int", "the same of user messages", _score("user"), phases=_REQUEST),
    "injection.assistant": Fact(
        "int", "the same of assistant messages", _score("assistant"), phases=_REQUEST
    ),
    "injection.tool": Fact("int", "the same of tools' results", _score("tool"), phases=_REQUEST),
    "injection.input": Fact("int", "the same of texts to embed", _score("input"), phases=_REQUEST),
    "injection.definition": Fact(
        "int", "the same of declared tools and answer schemas", _score("definition"), phases=_REQUEST
    ),
    "injection.metadata": Fact(
        "int",
        "the same of `metadata`, `user`, `stop` and ids of tool calls",
        _score("metadata"),
        phases=_REQUEST,
    ),
    "injection.rules": Fact(
        "list of strings",
        "ids of the detector's rules that fired",
        lambda facts: facts.detections.rules,
        phases=_REQUEST,
    ),
    "answer.chars": Fact("int", "characters of the answer", lambda facts: facts.answer.chars, phases=_ANSWER),
    "answer.finish_reason": Fact(
        "string", "as the provider gives it", lambda facts: facts.answer.finish_reason, phases=_ANSWER
    ),
    "answer.tools": Fact(
        "list of strings",
        "names of the functions that the answer calls",
        lambda facts: facts.answer.tools,
        phases=_ANSWER,
    ),
    "answer.choices": Fact(
        "int", "how many choices it has", lambda facts: facts.answer.choices, phases=_ANSWER
    ),
    "answer.refusals": Fact(
        "int", "choices in which the model declined", lambda facts: facts.answer.refusals, phases=_ANSWER
    ),
    "answer.tool_calls": Fact(
        "int", "calls of functions, in all choices", lambda facts: facts.answer.tool_calls, phases=_ANSWER
    ),
    "answer.prompt_overlap": Fact(
        "int",
        "words in the longest stretch that it shares with a system prompt; 0 below five",
        lambda facts: facts.answer.prompt_overlap,
        phases=_ANSWER,
    ),
    "answer.findings": Fact(
        "list of strings",
        "checks of the section `answer` that failed",
        lambda facts: facts.answer.findings,
        phases=_ANSWER,
    ),
}
"""By dotted name. `dlp.request.<TYPE>` and `dlp.answer.<TYPE>` stand beside them; see `fact`."""


def fact(name: str, types: frozenset[str]) -> Fact | None:
    """The fact of that name, if there is one. `types`: the types of data that the document knows."""
    known = FACTS.get(name)
    if known is not None or not name.startswith("dlp."):
        return known
    _, direction, type_ = (*name.split(".", 2), "")[:3]
    if type_ not in types:
        return None
    if direction == "request":
        return Fact("int", "", lambda facts: _count(facts.detections.types, type_), phases=_REQUEST)
    if direction == "answer":
        return Fact("int", "", lambda facts: _count(facts.answer.types, type_), phases=_ANSWER)
    return None


def _count(types: tuple[tuple[str, int], ...], wanted: str) -> int:
    for type_, count in types:
        if type_ == wanted:
            return count
    return 0


def holds_facts(name: str) -> bool:
    """Whether it is the beginning of facts' names: `request`, `request.messages`, `dlp`."""
    return name in {"dlp", "dlp.request", "dlp.answer"} or any(key.startswith(f"{name}.") for key in FACTS)
