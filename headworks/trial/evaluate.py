"""Labelled files, judged by the detectors: what is counted, and how it is written as JSON."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from broker.policy import evaluation
from broker.policy.dlp.spans import Kind
from broker.policy.evaluation import (
    Clock,
    InjectionReport,
    InjectionRow,
    Matches,
    RowInvalid,
    SpanReport,
    SpanRow,
)
from headworks.trial.detectors import Detectors

THRESHOLDS: Final = {"fp_0_5": "0.5 %", "fp_1": "1 %", "fp_3": "3 %"}
"""The detector's own, by the share of honest texts that they were set to flag."""


class Labelled(NamedTuple):
    injections: list[InjectionRow]
    spans: list[SpanRow]


class Judged(NamedTuple):
    """`flag_at`: the lowest score that was flagged."""

    flag_at: int
    report: InjectionReport

    def as_json(self) -> dict[str, Any]:
        return {"flag_at": self.flag_at, **self.report.as_json()}


class Injections(NamedTuple):
    rows: int
    judged: Judged
    at: Mapping[str, Judged]
    """At the detector's other thresholds, by their names."""

    def as_json(self) -> dict[str, Any]:
        others = {name: judged.as_json() for name, judged in self.at.items()}
        for other in others.values():
            del other["times"]
        return {"rows": self.rows, **self.judged.as_json(), "thresholds": others}


class Spans(NamedTuple):
    rows: int
    report: SpanReport
    sought: Matches
    """Of the types that somebody looks for: no names of persons without a plug-in."""

    def as_json(self) -> dict[str, Any]:
        return {"rows": self.rows, "sought": self.sought.as_json(), **self.report.as_json()}


def read(paths: Iterable[Path]) -> Labelled:
    """Rows of one kind in each file. Raises RowInvalid, which names the file."""
    labelled = Labelled([], [])
    for path in paths:
        for row in _rows(path):
            if isinstance(row, InjectionRow):
                labelled.injections.append(row)
            else:
                labelled.spans.append(row)
    return labelled


def _rows(path: Path) -> Sequence[InjectionRow | SpanRow]:
    with path.open("rb") as file:
        try:
            return evaluation.read(file)
        except RowInvalid as error:
            raise error.within(str(path)) from None


def judge_injections(rows: Sequence[InjectionRow], detectors: Detectors, clock: Clock) -> Injections:
    """Scans each row once, whatever the number of thresholds."""
    scores: list[int] = []

    def is_flagged(text: str) -> bool:
        scores.append(detectors.injection.scan(text).score)
        return scores[-1] >= detectors.flag_at

    judged = Judged(detectors.flag_at, evaluation.judge_injections(rows, is_flagged, clock))
    set_to = detectors.injection.model.thresholds
    others = {name: _judged_again(rows, scores, set_to[name] + 1) for name in THRESHOLDS if name in set_to}
    return Injections(len(rows), judged, others)


def _judged_again(rows: Sequence[InjectionRow], scores: Iterable[int], flag_at: int) -> Judged:
    """`scores` in the order of the rows."""
    known = iter(scores)
    return Judged(flag_at, evaluation.judge_injections(rows, lambda _: next(known) >= flag_at))


def judge_spans(rows: Sequence[SpanRow], detectors: Detectors, clock: Clock) -> Spans:
    """Raises TooMuchFound where a text holds more than the finder tells apart."""
    report = evaluation.judge_spans(rows, detectors.finder.find, clock)
    sought = [matches for type_, matches in report.by_type.items() if type_ != Kind.PERSON]
    sums = (sum(column) for column in zip(*sought, strict=True))
    return Spans(len(rows), report, Matches(*sums))
