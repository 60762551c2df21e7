"""Labelled files, judged by the detectors that come with Headworks."""

import json
from pathlib import Path
from typing import Any

import pytest

from broker.policy import evaluation
from broker.policy.evaluation import InjectionRow, Matches, RowInvalid, SpanRow
from headworks.trial.detectors import Detectors
from headworks.trial.evaluate import THRESHOLDS, judge_injections, judge_spans, read
from tests.unit.broker.policy.jobs import revision
from tests.unit.headworks.trial.test_scan import ATTACK, MAIL, ticking

INJECTIONS: list[dict[str, Any]] = [
    {"text": ATTACK, "label": 1, "category": "override", "source": "a"},
    {"text": "What is the capital of Peru?", "label": 0, "category": "general", "source": "b"},
    {"text": "Translate to French: good evening.", "label": 1, "category": "indirect_task", "source": "b"},
]
SPANS: list[dict[str, Any]] = [
    {"text": MAIL, "spans": [{"start": 9, "end": 24, "type": "EMAIL"}], "source": "a"},
    {"text": "Ann Lee", "spans": [{"start": 0, "end": 7, "type": "PERSON"}], "source": "a"},
]


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_files_of_both_kinds_are_read_in_order(tmp_path: Path) -> None:
    labelled = read(
        [
            written(tmp_path / "i", INJECTIONS),
            written(tmp_path / "s", SPANS),
            written(tmp_path / "j", INJECTIONS[:1]),
        ]
    )
    assert [row.category for row in labelled.injections] == [
        "override",
        "general",
        "indirect_task",
        "override",
    ]
    assert [row.text for row in labelled.spans] == [MAIL, "Ann Lee"]


def test_a_malformed_row_is_named_by_file_line_and_field(tmp_path: Path) -> None:
    good, bad = written(tmp_path / "good", SPANS), tmp_path / "bad"
    written(bad, [INJECTIONS[0]])
    bad.write_text(bad.read_text() + "\n" + '{"text": "hunter22", "label": 5}\n')
    with pytest.raises(RowInvalid) as refused:
        read([good, bad])
    assert str(refused.value) == f"{bad}, line 3: label: neither 0 nor 1"


def rows_of(injections: list[dict[str, Any]]) -> list[InjectionRow]:
    return [
        InjectionRow(row["text"], row["label"] == 1, row["category"], row["source"]) for row in injections
    ]


def test_injections_are_judged_at_the_default_and_at_every_threshold(detectors: Detectors) -> None:
    counted = judge_injections(rows_of(INJECTIONS), detectors, ticking())
    report = counted.judged.report
    assert (report.core.recall, report.core.false_positive_rate) == (1.0, 0.0)
    assert report.overall.attacks == 2
    assert report.by_category["indirect_task"].recall == 0.0
    assert set(report.by_source) == {"a", "b"}
    assert report.times.p50_ms == 0.5
    assert list(counted.at) == list(THRESHOLDS)
    assert counted.at["fp_1"].report._replace(times=report.times) == report
    assert counted.at["fp_1"].flag_at == detectors.flag_at


def test_other_thresholds_judge_by_the_same_scores(detectors: Detectors) -> None:
    score = detectors.injection.scan(ATTACK).score
    above = detectors._replace(flag_at=score + 1)
    counted = judge_injections(rows_of(INJECTIONS[:1] * 2), above, ticking())
    assert counted.judged.report.overall.caught == 0
    assert [judged.report.overall.caught for judged in counted.at.values()] == [
        2 if score >= judged.flag_at else 0 for judged in counted.at.values()
    ]
    assert counted.at["fp_3"].report.overall.caught == 2


def test_names_are_missed_and_told_apart(detectors: Detectors) -> None:
    rows = [SpanRow(row["text"], frozenset(), "a") for row in SPANS]
    labelled = read_spans()
    counted = judge_spans(labelled, detectors, ticking())
    assert counted.report.by_type == {"EMAIL": Matches(1, 1, 1), "PERSON": Matches(1, 0, 0)}
    assert counted.sought == Matches(1, 1, 1)
    assert judge_spans(rows, detectors, ticking()).sought == Matches(0, 1, 0)


def read_spans() -> list[SpanRow]:
    return [row for row in evaluation.read(map(json.dumps, SPANS)) if isinstance(row, SpanRow)]


def test_nothing_found_and_nothing_sought_is_no_error(detectors: Detectors) -> None:
    assert judge_spans([SpanRow("-", frozenset(), "a")], detectors, ticking()).sought == Matches(0, 0, 0)


def test_figures_are_json(detectors: Detectors) -> None:
    injections = json.loads(json.dumps(judge_injections(rows_of(INJECTIONS), detectors, ticking()).as_json()))
    assert injections["rows"] == 3
    assert injections["core"]["recall"] == 1.0
    assert injections["times"] == {"p50_ms": 0.5, "p99_ms": 0.5}
    at = injections["thresholds"]["fp_0_5"]
    assert set(at) == {"flag_at", "overall", "core", "by_category", "by_source"}
    spans = json.loads(json.dumps(judge_spans(read_spans(), detectors, ticking()).as_json()))
    assert spans["sought"]["recall"] == spans["by_type"]["EMAIL"]["precision"] == 1.0


@pytest.mark.parametrize(
    ("section", "flag_at"),
    [({"flag_at": 7, "deny_at": 9}, 7), ({"review_at": 8, "deny_at": 9}, 8), ({"deny_at": 9}, 9)],
)
def test_a_policy_flags_from_its_lowest_step_on(section: dict[str, int], flag_at: int) -> None:
    assert Detectors.load(revision(injection=section)).flag_at == flag_at


def test_a_policy_without_steps_keeps_the_threshold_and_brings_its_own_types(detectors: Detectors) -> None:
    own = Detectors.load(revision(dlp={"dictionaries": [{"type": "CODENAME", "words": ["Sluice"]}]}))
    assert own.flag_at == detectors.flag_at == detectors.injection.flag_threshold + 1
    assert [span.type for span in own.finder.find("Sluice joe@example.org")] == ["CODENAME", "EMAIL"]
