"""A revision, ready to judge answers: what may pass, what is taken out of it, and what goes to nobody."""

from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import sha256
from itertools import groupby
from typing import Any, Final, NamedTuple

import orjson

from broker.policy.answers.asking import Demands
from broker.policy.answers.checks import Case, Checks, Findings, system_prompts
from broker.policy.answers.overlap import Prompt
from broker.policy.answers.reading import Place, Reading, TooMuch, read
from broker.policy.answers.rewriting import rewrite
from broker.policy.decide import Comparison
from broker.policy.decision import DecisionRecord, decide
from broker.policy.detections import Detections
from broker.policy.dlp.errors import TooMuchFound
from broker.policy.dlp.finder import Finder
from broker.policy.dlp.spans import Kind, Span
from broker.policy.facts import Answer, Facts
from broker.policy.revision import PolicyRevision
from broker.policy.spotting import spot
from broker.policy.texts import Text
from schemas.envelope import Tags
from schemas.state import AnswerDecision

UNREADABLE: Final = "answer_unreadable"
"""Named as the rule where an answer cannot be judged: it must not pass unread."""
TOO_MUCH: Final = "answer_too_much"
"""The same of one that is too deep, or has too many texts."""
KINDS_MAX: Final = 1_024
"""Kinds of jobs of which it is remembered whether any rule is about their answers."""
_NO_PROMPT: Final = Prompt(())

Spans = Sequence[Sequence[Span]]
"""Of each place."""


class Answered(NamedTuple):
    """An answer, and whose. `request`: as it went out, but for the overrides; `tokens`: what will be put back
    into the answer, by placeholder. Digests are in hexadecimal: of the application's value, and of `body`.
    """

    organization: str
    project: str
    application: str
    lane: str
    endpoint: str
    request: Mapping[str, Any]
    tags: Tags
    regions: tuple[str, ...]
    value_sha256: str
    body: bytes
    response_sha256: str
    tokens: Mapping[str, str]


class AnswerJudgement(NamedTuple):
    """`body`: the answer as it may go on, written anew from what was judged: a name that stands twice in an
    object says one thing to us and to whoever gets it. Where it is withheld, as it came, for nobody.
    """

    decision: AnswerDecision
    body: bytes

    @property
    def is_withheld(self) -> bool:
        return self.decision.effect == "deny"


def compare(live: AnswerDecision | None, candidate: AnswerDecision | None) -> Comparison:
    """None: no rule is about the answer, and so it passes."""
    before, after = _told(live), _told(candidate)
    return Comparison(before.effect, after.effect, same=before == after)


class _Told(NamedTuple):
    """What counts of a decision."""

    effect: str = "allow"
    reason: str = "default"
    redacted: tuple[str, ...] = ()
    rules: frozenset[str] = frozenset()


def _told(decision: AnswerDecision | None) -> _Told:
    if decision is None:
        return _Told()
    return _Told(decision.effect, decision.reason, decision.redacted, frozenset(decision.rules))


class AnswerJudge:
    """The answers' half of a revision. What none of its rules asks is not looked for."""

    def __init__(self, revision: PolicyRevision, finder: Finder | None, detectors: str) -> None:
        """`finder`: None where no rule about answers asks for data."""
        self._compiled = revision.compiled
        self._rules = revision.compiled.stages["answer"].every
        self._finder = finder
        self._detectors = detectors
        section = revision.document.answer
        asked = {name for judged in self._rules for name in judged.expression.reads}
        self._checks = Checks(section) if "answer.findings" in asked else None
        self._compares = section.prompt_leak is not None or "answer.prompt_overlap" in asked
        self._concerns: dict[tuple[str, ...], bool] = {}
        self._checks_schemas = section.json_schema or (section.tools is not None and section.tools.arguments)
        self.demands = Demands.of(section)

    def concerns(self, facts: Facts) -> bool:
        """Whether any rule is about the answers of such a job."""
        names = (facts.organization, facts.project, facts.application, facts.model, facts.lane)
        known = self._concerns.get(names)
        if known is None:
            if len(self._concerns) >= KINDS_MAX:
                self._concerns.clear()
            known = self._concerns[names] = any(judged.takes(facts) for judged in self._rules)
        return known

    def checks_schemas_of(self, request: Mapping[str, Any]) -> bool:
        """Which may take a second, however short the answer."""
        return self._checks_schemas and bool(request.get("response_format") or request.get("tools"))

    def judge(self, answered: Answered) -> AnswerJudgement:
        """Never raises: an answer that cannot be judged is withheld. Time: linear in the texts of the answer
        and of the system prompt; a schema has a bound of its own.
        """
        try:
            return self._judged(answered)
        except TooMuch:
            return self._unread(answered, TOO_MUCH)
        except TooMuchFound as error:
            return self._unread(answered, error.code)
        except Exception:  # noqa: BLE001  # it may quote the answer, so its rule is told and no more
            return self._unread(answered, UNREADABLE)

    def _judged(self, answered: Answered) -> AnswerJudgement:
        document = orjson.loads(answered.body)
        if not isinstance(document, dict):
            return self._unread(answered, UNREADABLE)
        reading = read(document)
        spans = () if self._finder is None else _spotted(reading.places, self._finder)
        record = decide(self._facts(answered, reading, spans), self._compiled, "answer")
        taken = frozenset(each.type for each in record.redactions if each.type != Kind.PERSON)
        if record.effect == "deny":
            return AnswerJudgement(_decision(record, answered), answered.body)
        taken = taken if record.effect == "redact" else frozenset()
        if taken:
            rewrite(document, reading.places, spans, taken, answered.tokens)
        return AnswerJudgement(_decision(record, answered, taken), orjson.dumps(document))

    def _facts(self, answered: Answered, reading: Reading, spans: Spans) -> Facts:
        compares = self._compares
        prompt = Prompt(system_prompts(answered.request)) if compares else _NO_PROMPT
        overlap = max(map(prompt.overlap, reading.plain), default=0) if compares else 0
        case = Case(answered.request, answered.value_sha256, reading, prompt, overlap, answered.tokens)
        findings = Findings() if self._checks is None else self._checks.make(case)
        found = Counter(span.type for each in spans for span in each)
        answer = _answer(case, findings, found)._replace(sha256=answered.response_sha256)
        return _facts(answered, answer, self._detectors)

    def _unread(self, answered: Answered, rule: str) -> AnswerJudgement:
        """Where every rule about it is in monitor mode nothing is withheld for that."""
        facts = _facts(answered, Answer(), self._detectors)
        is_enforced = any(judged.clause.mode == "enforce" for judged in self._rules if judged.takes(facts))
        name = f"{self._compiled.revision} {answered.value_sha256} {answered.response_sha256} {rule}"
        decision = AnswerDecision(
            id=sha256(name.encode()).hexdigest()[:32],
            revision=self._compiled.revision,
            effect="deny" if is_enforced else "allow",
            reason="policy_error" if is_enforced else "default",
            rule=rule if is_enforced else None,
            rules=(rule,) if is_enforced else (),
            monitored=() if is_enforced else (rule,),
            response_sha256=answered.response_sha256,
        )
        return AnswerJudgement(decision, answered.body)


def _spotted(places: Sequence[Place], finder: Finder) -> Spans:
    """Each choice by itself. Raises TooMuchFound."""
    found: list[Sequence[Span]] = []
    for _, group in groupby(places, key=lambda place: place.choice):
        texts = [
            Text("assistant", ("messages", number, "content" if place.is_content else place.key), place.text)
            for number, place in enumerate(group)
        ]
        spans = spot(texts, finder)
        found += [spans.get(text, ()) for text in texts]
    return found


def _answer(case: Case, findings: Findings, found: Mapping[str, int]) -> Answer:
    choices = case.reading.choices
    calls = [call.name for choice in choices for call in choice.calls]
    return Answer(
        chars=case.reading.chars,
        finish_reason=choices[0].finish_reason if choices else "",
        tools=tuple(sorted(set(calls))),
        findings=findings.failed,
        types=tuple(sorted(found.items())),
        choices=len(choices),
        refusals=sum(bool(choice.refusal) for choice in choices),
        tool_calls=len(calls),
        prompt_overlap=case.overlap,
        broken=tuple(f"answer.{check}" for check in findings.broken),
    )


def _facts(answered: Answered, answer: Answer, detectors: str) -> Facts:
    return Facts(
        organization=answered.organization,
        project=answered.project,
        application=answered.application,
        lane=answered.lane,
        endpoint=answered.endpoint,
        request=answered.request,
        value_sha256=answered.value_sha256,
        tags=answered.tags,
        regions=answered.regions,
        detections=Detections(detectors=detectors),
        answer=answer,
    )


def _decision(
    record: DecisionRecord, answered: Answered, taken: frozenset[str] = frozenset()
) -> AnswerDecision:
    unheeded = ("monitored", "failed")
    return AnswerDecision(
        **record.summary().model_dump(),
        reason=record.reason,
        rule=record.rule,
        monitored=tuple(
            rule.id for rule in record.rules if rule.mode == "monitor" and rule.standing in unheeded
        ),
        types=record.types,
        redacted=tuple(sorted(taken)),
        response_sha256=answered.response_sha256,
    )
