"""How two revisions differ on the same jobs: counted beside live traffic, or listed over rows at hand."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from broker.policy.compiled import Compiled
from broker.policy.decision import DecisionRecord, decide
from broker.policy.facts import Facts, Phase
from broker.policy.terms import Effect


class Change(NamedTuple):
    """A job on which they differ in effect, redactions, regions or rules. `label`: whose job it is."""

    label: str
    before: DecisionRecord
    after: DecisionRecord

    @property
    def gained(self) -> tuple[str, ...]:
        """Rules that count after and did not before."""
        return tuple(sorted(_counting(self.after) - _counting(self.before)))

    @property
    def lost(self) -> tuple[str, ...]:
        return tuple(sorted(_counting(self.before) - _counting(self.after)))


@dataclass(frozen=True)
class Differences:
    """Counts of a candidate beside the live revision. `effects`: by effect before and after."""

    compared: int = 0
    changed: int = 0
    effects: Mapping[tuple[Effect, Effect], int] = field(default_factory=dict)
    gained: Mapping[str, int] = field(default_factory=dict)
    lost: Mapping[str, int] = field(default_factory=dict)

    def count(self, change: Change | None) -> "Differences":
        """With one more job: None where both decide alike."""
        if change is None:
            return Differences(self.compared + 1, self.changed, self.effects, self.gained, self.lost)
        effects = Counter(self.effects)
        effects[(change.before.effect, change.after.effect)] += 1
        return Differences(
            self.compared + 1,
            self.changed + 1,
            effects,
            Counter(self.gained) + Counter(change.gained),
            Counter(self.lost) + Counter(change.lost),
        )


def compare(label: str, before: DecisionRecord, after: DecisionRecord) -> Change | None:
    """None where both do the same for the same rules; scores and monitored rules do nothing."""
    return None if _told(before) == _told(after) else Change(label, before, after)


def diff(
    before: Compiled, after: Compiled, rows: Iterable[tuple[str, Facts]], phase: Phase = "request"
) -> Iterator[Change]:
    """Runs each row, a label and a job's facts, through both, and yields those that change."""
    for label, facts in rows:
        change = compare(label, decide(facts, before, phase), decide(facts, after, phase))
        if change is not None:
            yield change


def _told(record: DecisionRecord) -> tuple[object, ...]:
    return record.effect, record.reason, record.redactions, record.regions, _counting(record)


def _counting(record: DecisionRecord) -> frozenset[str]:
    return frozenset(rule.id for rule in record.rules if rule.standing == "counts")
