"""A revision, ready to judge jobs: it looks into their texts, decides, and takes out what must not go out."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from broker.policy import detectors
from broker.policy.answers.asking import uncheckable, with_canary
from broker.policy.answers.judge import AnswerJudge
from broker.policy.answers.overlap import canary
from broker.policy.compiled import Compiled, Stage
from broker.policy.decide import Comparison, Job, Judgement, denied_unread
from broker.policy.decision import DecisionRecord, Redaction, Weighed, weigh
from broker.policy.detections import Detection, Detections, Hit, InjectionDetector, detect
from broker.policy.differences import compare
from broker.policy.dlp.errors import TooMuchFound
from broker.policy.dlp.finder import Finder
from broker.policy.dlp.replacing import Placeholders, replace
from broker.policy.dlp.spans import Kind, Span, cover
from broker.policy.facts import Facts
from broker.policy.finding import finder_of
from broker.policy.revision import PolicyRevision
from broker.policy.rewriting import rewritten
from broker.policy.spotting import Remembered, spot
from broker.policy.texts import Text, texts

TOO_MUCH: Final = TooMuchFound.code
"""Named as the rule where one text holds more data than can be told apart: it must not pass unread."""

_BRACKETS: Final = str.maketrans("", "", "[]")
"""The name of a function takes none: there a placeholder stands without them, and is not put back."""


class Looked(NamedTuple):
    """A job's texts, and what was found in them."""

    texts: Sequence[Text]
    detections: Detections
    spans: Mapping[Text, Sequence[Span]]
    """Of each text that has some."""


class Judge:
    """One revision. Detectors that none of its rules asks are not run."""

    def __init__(self, revision: PolicyRevision) -> None:
        """Takes a second where the detectors must be loaded. Raises DlpRulesInvalid, ModelBroken.

        Where no rule asks for the regions of targets, a decision does not depend on them.
        """
        self.revision = revision
        compiled = revision.compiled
        self._compiled: Compiled = compiled
        asks, asks_answers = _asked(compiled.stages["request"]), _asked(compiled.stages["answer"])
        finder = finder_of(revision.document.dlp) if asks.spans or asks_answers.spans else None
        self._injection: InjectionDetector | None = detectors.injection() if asks.injection else None
        self._finder: Finder | None = finder if asks.spans else None
        self._spans = Remembered()
        needs_version = asks.injection or asks.spans or asks_answers.spans
        self._version = detectors.version() if needs_version else ""
        self.asks_regions = asks.regions or asks_answers.regions
        self.answers: AnswerJudge | None = None
        """None where no rule is about answers."""
        if compiled.stages["answer"].every:
            self.answers = AnswerJudge(revision, finder if asks_answers.spans else None, self._version)

    def look(self, job: Job, scans: dict[str, Detection]) -> Looked:
        """`scans`: of texts that were scanned already; the others are added. Raises TooMuchFound."""
        found = tuple(texts(job.envelope.request))
        spans = {} if self._finder is None else spot(found, self._finder, self._spans)
        injection = _NOTHING if self._injection is None else _Once(self._injection, scans)
        return Looked(found, detect(found, spans, injection, self._version), spans)

    def weigh(self, facts: Facts) -> Weighed:
        return weigh(facts, self._compiled)

    def answers_of(self, facts: Facts) -> AnswerJudge | None:
        """Who judges the job's answer; None where no rule is about it."""
        answers = self.answers
        return answers if answers is not None and answers.concerns(facts) else None

    def facts(self, job: Job, looked: Looked) -> Facts:
        envelope = job.envelope
        return Facts(
            organization=job.organization,
            project=job.project,
            application=job.application,
            lane=job.lane,
            endpoint=envelope.endpoint,
            request=envelope.request,
            value_sha256=job.value_sha256,
            tags=envelope.tags,
            regions=job.regions if self.asks_regions else (),
            detections=looked.detections,
            found=looked.texts,
        )

    def record(self, job: Job) -> DecisionRecord:
        """The whole decision on a job. Raises TooMuchFound."""
        return self.weigh(self.facts(job, self.look(job, {}))).record()


def judge(job: Job, live: Judge, candidate: Judge | None = None) -> Judgement:
    """What `live` decides, and how it compares with what `candidate` would have decided."""
    scans: dict[str, Detection] = {}
    try:
        looked = live.look(job, scans)
    except TooMuchFound:
        return denied_unread(job, live.revision.id, TOO_MUCH)
    facts = live.facts(job, looked)
    weighed = live.weigh(facts)
    effect, reason, rule = weighed.verdict
    answers = None if effect == "deny" else live.answers_of(facts)
    decision = weighed.summary(
        served=job.regions if live.asks_regions else None, answers=None if answers is None else True
    )
    failed = reason == "policy_error"
    judgement = Judgement(decision, rule, failed, input_sha256=weighed.input_sha256)
    if effect in ("redact", "review"):
        request, tokens = _taken_out(job, looked, weighed.redactions)
        judgement = judgement._replace(request=request, tokens=tokens)
    if answers is not None:
        judgement = _with_answers(job, judgement, answers)
    if candidate is None:
        return judgement
    return judgement._replace(comparison=_compared(job, weighed.record(), candidate, scans))


class _Asked(NamedTuple):
    injection: bool
    spans: bool
    regions: bool


def _asked(stage: Stage) -> _Asked:
    reads = {name for judged in stage.every for name in judged.expression.reads}
    return _Asked(
        injection=any(name.startswith("injection.") for name in reads),
        spans=any(name.startswith("dlp.") for name in reads)
        or any(judged.clause.effect == "redact" for judged in stage.every),
        regions="regions" in reads,
    )


def _compared(job: Job, before: DecisionRecord, candidate: Judge, scans: dict[str, Detection]) -> Comparison:
    try:
        after = candidate.weigh(candidate.facts(job, candidate.look(job, scans))).record()
    except TooMuchFound:
        return Comparison(before.effect, "deny", same=False)
    return Comparison(before.effect, after.effect, same=compare("", before, after) is None)


def _taken_out(
    job: Job, looked: Looked, redactions: Sequence[Redaction]
) -> tuple[dict[str, Any] | None, Mapping[str, str]]:
    """The request with placeholders, None where there is nothing to take out; and what goes back later.

    Of data of two types that overlap, nothing stays, and nothing goes back that one of them is to forget.
    """
    how = {each.type: each.how for each in redactions if each.type != Kind.PERSON}
    placeholders = Placeholders(text.text for text in looked.texts)

    def placeholder(type_: str, value: str) -> str:
        keeps = how[type_] == "tokenize"
        return placeholders.tokenize(type_, value) if keeps else placeholders.redact(type_, value)

    changes: list[tuple[Text, str]] = []
    for text in looked.texts:
        chosen = (span for span in looked.spans.get(text, ()) if span.type in how)
        spans = cover(chosen, lambda type_: how[type_] == "redact")
        if spans:
            without = replace(text.text, spans, placeholder)
            changes.append((text, without.translate(_BRACKETS) if text.is_name else without))
    return (rewritten(job.envelope.request, changes) if changes else None), placeholders.mapping


def _with_answers(job: Job, judgement: Judgement, answers: AnswerJudge) -> Judgement:
    """What is to be done that the job's answer can be judged."""
    request = job.envelope.request if judgement.request is None else judgement.request
    marked = with_canary(request, canary(job.value_sha256)) if answers.demands.canary else None
    return judgement._replace(
        request=judgement.request if marked is None else marked,
        uncheckable=uncheckable(request, answers.demands),
    )


class _Nothing:
    """In place of a detector that no rule asks."""

    score = 0
    rules: Sequence[Hit] = ()

    def scan(self, text: str) -> Detection:
        return self


class _Once:
    """A detector that looks into each text of a job once. `known`: what it has seen, grown by each."""

    def __init__(self, detector: InjectionDetector, known: dict[str, Detection]) -> None:
        self._detector = detector
        self._known = known

    def scan(self, text: str) -> Detection:
        if text not in self._known:
            self._known[text] = self._detector.scan(text)
        return self._known[text]


_NOTHING: Final = _Nothing()
