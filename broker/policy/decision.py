"""What is decided on a job, and why. Pure: the same facts under the same revision give the same bytes.

How rules combine:
1. Every rule whose scope takes the job is run, whatever the others say, so that the record is complete. It
   fires where its condition is true. A rule in monitor mode is recorded and does nothing else.
2. An allow overrides every rule that fired with a lower priority. At the same priority it overrides nothing.
3. Of what is left the strictest effect holds: deny, review, redact, flag, allow. Where several have it, the
   one with the highest priority is named as the reason, and of equal ones the one whose id comes first.
4. What redact rules take out, and the regions that rules demand, add up over all rules that are left.
5. A rule that fails denies with `policy_error`, whatever its effect and whatever overrides it. One in monitor
   mode is recorded as failed and denies nothing.
6. Where nothing fires the job is allowed.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final, Literal, NamedTuple

import orjson

from broker.policy.clauses import Clause, How
from broker.policy.compiled import Compiled, Selection
from broker.policy.facts import Facts, Phase
from broker.policy.terms import Effect, Mode
from schemas.base import Record
from schemas.state import Decision

STRICTNESS: Final[dict[Effect, int]] = {"allow": 0, "flag": 1, "redact": 2, "review": 3, "deny": 4}

Standing = Literal["counts", "overridden", "monitored", "failed"]
"""What became of a rule that fired, or that failed."""
Reason = Literal["default", "rule", "policy_error", "regions_conflict"]
"""`regions_conflict`: the rules that fired demand regions that no one target can satisfy."""


class FiredRule(Record):
    id: str
    effect: Effect
    mode: Mode
    contribution: int
    """To the risk score; counted only in enforce mode, and not of a rule that failed."""
    standing: Standing


class Redaction(Record):
    type: str
    how: How


class DecisionRecord(Record):
    """`rules` stand in the order of priority, then id. No text of the job is in it."""

    id: str
    revision: str
    phase: Phase
    effect: Effect
    reason: Reason
    rule: str | None
    """The id of the rule that decided; of the first that failed, where the reason is `policy_error`."""
    score: int
    rules: tuple[FiredRule, ...]
    redactions: tuple[Redaction, ...] = ()
    """What is to be taken out before the job goes on, or the answer out. Also where it waits for a review."""
    regions: tuple[str, ...] | None = None
    """The job may go only to targets with one of these labels. None: anywhere."""
    injection: tuple[tuple[str, int], ...] = ()
    """The detector's rules, with their contributions, for the text that scored highest."""
    types: tuple[tuple[str, int], ...] = ()
    """How many spans of each type of data were found."""
    detectors: str
    input_sha256: str

    def serialized(self) -> bytes:
        return self.model_dump_json().encode()

    def summary(self) -> Decision:
        """What travels with the job: only the rules that count."""
        counting = tuple(rule.id for rule in self.rules if rule.standing == "counts")
        return Decision(
            id=self.id,
            revision=self.revision,
            effect=self.effect,
            rules=counting,
            score=self.score,
            regions=self.regions,
        )


class _Fired(NamedTuple):
    clause: Clause
    contribution: int
    standing: Standing


class _Verdict(NamedTuple):
    effect: Effect
    reason: Reason
    rule: str | None


class Weighed(NamedTuple):
    """A decision in the few words that a job on its way asks for; `record` says it in full."""

    facts: Facts
    revision: str
    phase: Phase
    fired: Sequence[_Fired]
    counting: Sequence[Clause]
    regions: tuple[str, ...] | None
    verdict: _Verdict
    input_sha256: str

    @property
    def types(self) -> tuple[tuple[str, int], ...]:
        return self.facts.answer.types if self.phase == "answer" else self.facts.detections.types

    @property
    def id(self) -> str:
        """The same decision has the same id, whenever and wherever it is made again."""
        return sha256(f"{self.revision} {self.input_sha256}".encode()).hexdigest()[:32]

    @property
    def score(self) -> int:
        return sum([
            one.contribution
            for one in self.fired
            if one.clause.mode == "enforce" and one.standing != "failed"
        ])  # fmt: skip

    @property
    def redactions(self) -> tuple[Redaction, ...]:
        return _redactions(self.counting, self.types)

    def summary(self, *, served: tuple[str, ...] | None, answers: Literal[True] | None) -> Decision:
        """What travels with the job: only the rules that count."""
        return Decision(
            id=self.id,
            revision=self.revision,
            effect=self.verdict.effect,
            rules=tuple([clause.id for clause in self.counting]),
            score=self.score,
            regions=self.regions,
            served=served,
            answers=answers,
        )

    def record(self) -> DecisionRecord:
        detections = self.facts.detections
        return DecisionRecord(
            id=self.id,
            revision=self.revision,
            phase=self.phase,
            effect=self.verdict.effect,
            reason=self.verdict.reason,
            rule=self.verdict.rule,
            score=self.score,
            rules=tuple(_shown(one) for one in self.fired),
            redactions=self.redactions,
            regions=self.regions,
            injection=detections.hits if self.phase == "request" else (),
            types=self.types,
            detectors=detections.detectors,
            input_sha256=self.input_sha256,
        )


def decide(facts: Facts, compiled: Compiled, phase: Phase = "request") -> DecisionRecord:
    """Never raises for anything that a rule does."""
    return weigh(facts, compiled, phase).record()


def weigh(facts: Facts, compiled: Compiled, phase: Phase = "request") -> Weighed:
    """Never raises for anything that a rule does."""
    fired = _standings(_fire(facts, compiled.stages[phase].select(facts)))
    counting = [one.clause for one in fired if one.standing == "counts"]
    regions = _regions(counting)
    return Weighed(
        facts,
        compiled.revision,
        phase,
        fired,
        counting,
        regions,
        _verdict(fired, counting, regions),
        input_sha256(facts, phase),
    )


def input_sha256(facts: Facts, phase: Phase) -> str:
    """Of all that a decision can depend on. The request is in it by the digest of the envelope.

    Hexadecimal, of a JSON array: names, endpoint, tags, regions and detections, and of an answer what was
    found in it.
    """
    seen = [
        phase,
        facts.value_sha256,
        facts.organization,
        facts.project,
        facts.application,
        facts.lane,
        facts.endpoint,
        [facts.tags.department, facts.tags.feature, facts.tags.user],
        facts.regions,
        facts.detections,
        facts.answer if phase == "answer" else None,
    ]
    return sha256(orjson.dumps(seen, default=tuple)).hexdigest()


def _fire(facts: Facts, chosen: Selection) -> list[_Fired]:
    fired: list[_Fired] = []
    for clause, held in chosen.told(facts):
        contribution = facts.detections.score if clause.contribution is None else clause.contribution
        is_broken = held is None or clause.id in facts.answer.broken
        standing: Standing = "failed" if is_broken else _standing(clause)
        fired.append(_Fired(clause, contribution, standing))
    return fired


def _standing(clause: Clause) -> Standing:
    return "counts" if clause.mode == "enforce" else "monitored"


def _standings(fired: list[_Fired]) -> list[_Fired]:
    """`fired`: by falling priority, so the first allow that counts has the highest."""
    allowed = next((one for one in fired if one.standing == "counts" and one.clause.effect == "allow"), None)
    if allowed is None:
        return fired
    return [
        one._replace(standing="overridden")
        if one.standing == "counts" and one.clause.priority < allowed.clause.priority
        else one
        for one in fired
    ]


def _verdict(
    fired: Sequence[_Fired], counting: Sequence[Clause], regions: tuple[str, ...] | None
) -> _Verdict:
    for one in fired:
        if one.standing == "failed" and one.clause.mode == "enforce":
            return _Verdict("deny", "policy_error", one.clause.id)
    if not counting:
        return _Verdict("allow", "default", None)
    strictest = max(counting, key=lambda clause: STRICTNESS[clause.effect])  # the first of equals
    if regions == () and strictest.effect != "deny":
        return _Verdict("deny", "regions_conflict", next(one.id for one in counting if one.regions))
    return _Verdict(strictest.effect, "rule", strictest.id)


def _regions(counting: Iterable[Clause]) -> tuple[str, ...] | None:
    demands = [set(clause.regions) for clause in counting if clause.regions]
    return tuple(sorted(set.intersection(*demands))) if demands else None


def _redactions(counting: Iterable[Clause], types: Iterable[tuple[str, int]]) -> tuple[Redaction, ...]:
    """Where one rule asks for tokens and another for placeholders, placeholders: they give less away."""
    found = [type_ for type_, count in types if count]
    how: dict[str, How] = {}
    for clause in counting:
        if clause.effect != "redact":
            continue
        for type_ in clause.redact or found:
            how[type_] = "redact" if how.get(type_) == "redact" else clause.how
    return tuple(Redaction(type=type_, how=how[type_]) for type_ in sorted(how) if type_ in found)


def _shown(one: _Fired) -> FiredRule:
    clause = one.clause
    return FiredRule(
        id=clause.id,
        effect=clause.effect,
        mode=clause.mode,
        contribution=one.contribution,
        standing=one.standing,
    )
