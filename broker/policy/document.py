"""The policy document: what a security engineer writes, as plain data. What it means stands in `clauses`."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, Final, Literal, NamedTuple, Self

import orjson
from pydantic import BeforeValidator, Field, StringConstraints, ValidationError
from pydantic import model_validator as validates
from pydantic_core import ErrorDetails, PydanticCustomError

from broker.errors import PolicyInvalid
from broker.policy.dlp.spans import Kind
from broker.policy.sections import BUILT_IN, AnswerChecks, Dlp, Injection
from broker.policy.terms import (
    NAMES_MAX,
    Contribution,
    Count,
    DataType,
    DataTypes,
    Effect,
    Labels,
    Lanes,
    Mode,
    Name,
    Names,
    Part,
    Priority,
    RuleId,
)
from broker.policy.yaml_tree import Path, Tree, read_tree
from schemas.envelope import Endpoint, Tags
from schemas.topics import Lane

RULES_MAX: Final = 500
TESTS_MAX: Final = 20
"""Of each kind, of one rule."""


def _by_role(score: Any) -> Any:
    """A bare number is the score of the user's message."""
    return {"user": score} if isinstance(score, int) and not isinstance(score, bool) else score


class Scope(Part):
    """Which jobs a rule is about. An empty list stands for all."""

    organization: Names = ()
    project: Names = ()
    application: Names = ()
    model: Names = ()
    lane: Lanes = ()


class Scores(Part):
    system: int = 0
    user: int = 0
    assistant: int = 0
    tool: int = 0
    input: int = 0
    definition: int = 0
    metadata: int = 0


class ExampleAnswer(Part):
    chars: Count = 0
    choices: Count = 1
    refusals: Count = 0
    tool_calls: Count = 0
    prompt_overlap: Count = 0
    finish_reason: Name = "stop"
    tools: Names = ()
    findings: Names = ()
    dlp: Annotated[dict[DataType, Count], Field(max_length=NAMES_MAX)] = Field(default_factory=dict)


class Example(Part):
    """A job in a test. What it leaves out is that of an ordinary job in the rule's scope.

    `request`: fields of the body, over those of a short chat. `injection`, `dlp`: what would be found.
    """

    organization: Name | None = None
    project: Name | None = None
    application: Name | None = None
    lane: Lane | None = None
    endpoint: Endpoint = "/v1/chat/completions"
    request: Annotated[dict[str, Any], Field(max_length=64)] = Field(default_factory=dict)
    tags: Tags = Tags()
    regions: Labels = ()
    injection: Annotated[Scores, BeforeValidator(_by_role)] = Scores()
    injection_rules: Names = ()
    dlp: Annotated[dict[DataType, Count], Field(max_length=NAMES_MAX)] = Field(default_factory=dict)
    answer: ExampleAnswer = ExampleAnswer()


Examples = Annotated[tuple[Example, ...], Field(max_length=TESTS_MAX)]


class RuleTests(Part):
    must_match: Examples = ()
    must_not_match: Examples = ()


class Rule(Part):
    id: RuleId
    description: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]
    when: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2_000)]
    effect: Effect
    priority: Priority = 0
    scope: Scope = Scope()
    mode: Mode = "enforce"
    contribution: Contribution = 0
    redact: DataTypes = ()
    """With the effect `redact`: what is taken out. Empty: whatever was found."""
    regions: Labels = ()
    """Where it fires, the job may go only to targets with one of these labels."""
    tests: RuleTests = RuleTests()

    @validates(mode="after")
    def _redacts_where_it_says_so(self) -> Self:
        if self.redact and self.effect != "redact":
            raise PydanticCustomError("redact", "`redact` goes with the effect redact alone")
        return self


class Document(Part):
    version: Literal[1]
    description: Annotated[str, StringConstraints(strip_whitespace=True, max_length=2_000)] = ""
    rules: Annotated[tuple[Rule, ...], Field(max_length=RULES_MAX)] = ()
    injection: Injection = Injection()
    dlp: Dlp = Dlp()
    answer: AnswerChecks = AnswerChecks()


class Source(NamedTuple):
    """A document, and where each of its parts stands in the text it came from."""

    document: Document
    tree: Tree

    def invalid(self, reason: str, path: Path) -> PolicyInvalid:
        """To raise, with the line and the rule that `path` leads to."""
        rules = self.document.rules
        is_rule = len(path) > 1 and path[0] == "rules" and isinstance(path[1], int)
        rule = rules[int(path[1])].id if is_rule else None
        return PolicyInvalid(reason, self.tree.line(path), rule)


def read_document(text: str | bytes) -> Source:
    """Raises PolicyInvalid with the line, the rule and the reason of the first fault. Nothing is compiled."""
    tree = read_tree(text)
    try:
        document = Document.model_validate_json(orjson.dumps(tree.value))
    except ValidationError as error:
        raise _first_fault(error, tree) from None
    source = Source(document, tree)
    for reason, path in (*_ids_twice(document.rules), *_wrong_types(document), *_wrong_effects(document.dlp)):
        raise source.invalid(reason, path)
    return source


def canonical(document: Document) -> bytes:
    """JSON with sorted keys, without what is left at its default; rules in the order of their ids.

    So neither layout, comments, nor the order of keys and rules tell in it, nor fields that a later version
    adds. Priorities and ids decide between rules, never their order. A default may therefore never change: it
    would change what a revision means.
    """
    data = document.model_dump(mode="json", exclude_defaults=True) | {"version": document.version}
    if "rules" in data:
        data["rules"].sort(key=lambda rule: rule["id"])
    return orjson.dumps(data, option=orjson.OPT_SORT_KEYS)


Fault = tuple[str, Path]


def _ids_twice(rules: Sequence[Rule]) -> Iterator[Fault]:
    seen: set[str] = set()
    for number, rule in enumerate(rules):
        if rule.id in seen:
            yield "another rule has this id", ("rules", number, "id")
        seen.add(rule.id)


def _wrong_types(document: Document) -> Iterator[Fault]:
    """Types of data that are asked for and that nothing finds."""
    known = document.dlp.types
    for type_, path in _types_named(document):
        if type_ not in known:
            yield f"`{type_}` is no known type of data", path


def _types_named(document: Document) -> Iterator[tuple[str, Path]]:
    yield from ((type_, ("dlp", "request", type_)) for type_ in document.dlp.request)
    yield from ((type_, ("dlp", "answer", type_)) for type_ in document.dlp.answer)
    for number, rule in enumerate(document.rules):
        yield from ((type_, ("rules", number, "redact")) for type_ in rule.redact)
        for list_, examples in (
            ("must_match", rule.tests.must_match),
            ("must_not_match", rule.tests.must_not_match),
        ):
            for place, example in enumerate(examples):
                path: Path = ("rules", number, "tests", list_, place)
                yield from ((type_, path) for type_ in (*example.dlp, *example.answer.dlp))


def _wrong_effects(dlp: Dlp) -> Iterator[Fault]:
    own = [("dictionaries", number, entry.type) for number, entry in enumerate(dlp.dictionaries)]
    own += [("patterns", number, entry.type) for number, entry in enumerate(dlp.patterns)]
    seen = set(BUILT_IN)
    for section, number, type_ in own:
        if type_ in seen:
            yield f"`{type_}` is there already: take another name", ("dlp", section, number, "type")
        seen.add(type_)
    for direction, effects in (("request", dlp.request), ("answer", dlp.answer)):
        if effects.get(Kind.PERSON, "flag") != "flag":
            yield "PERSON can be flagged and no more", ("dlp", direction, "PERSON")


def _first_fault(error: ValidationError, tree: Tree) -> PolicyInvalid:
    faults = error.errors(include_url=False, include_input=False)
    line, fault = min(((tree.line(_path(fault["loc"])), fault) for fault in faults), key=lambda pair: pair[0])
    path = _path(fault["loc"])
    return PolicyInvalid(_reason(fault, path), line, _rule_id(tree.value, path))


def _path(loc: Iterable[int | str]) -> Path:
    return tuple(loc)


def _reason(fault: ErrorDetails, path: Path) -> str:
    inner = path[2:] if path[:1] == ("rules",) and len(path) > 1 else path
    where = ".".join(str(step)[:64] for step in inner if step != "[key]")
    words = {"extra_forbidden": "no such field", "missing": "is missing"}.get(fault["type"], fault["msg"])
    return f"{where}: {words}" if where else words


def _rule_id(value: Any, path: Path) -> str | None:
    """By its id where it has one, else by its place in the list, from 1."""
    if len(path) < 2 or path[0] != "rules" or not isinstance(path[1], int):
        return None
    rule = value["rules"][path[1]]
    id_ = rule.get("id") if isinstance(rule, dict) else None
    return id_[:64] if isinstance(id_, str) and id_ else f"number {path[1] + 1}"
