"""Precision and recall on a small labelled sample of our own: letters, tickets, logs and code.

`sample.txt` holds texts with marks, set apart by lines of `====`.
"""

from pathlib import Path

from broker.policy.evaluation import Found, SpanRow, judge_spans
from tests.unit.broker.policy.dlp.marked import FINDER, FOUND, unmarked


def test_precision_and_recall_on_our_own_sample() -> None:
    sample = Path(__file__).with_name("sample.txt").read_text(encoding="utf-8")
    texts = [unmarked(marked) for marked in sample.rstrip("\n").split("\n====\n")]
    rows = [SpanRow(text, frozenset(Found(*span) for span in spans), "sample") for text, spans in texts]
    report = judge_spans(rows, FINDER.find)
    assert set(report.by_type) == set(FOUND)
    for type_, matches in report.by_type.items():
        assert matches.recall is not None, type_
        assert matches.precision is not None, type_
        assert min(matches.recall, matches.precision) >= 0.99, type_
