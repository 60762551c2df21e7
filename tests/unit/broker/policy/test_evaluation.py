import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.policy.evaluation import (
    Found,
    InjectionRow,
    Matches,
    Rates,
    RowInvalid,
    SpanRow,
    Times,
    judge_injections,
    judge_spans,
    read,
)


def ticking(*taken_ns: int) -> Callable[[], int]:
    """A clock by which each row takes as long as said."""
    readings: list[int] = []
    now = 0
    for taken in taken_ns:
        readings += [now, now + taken]
        now += taken + 7
    return iter(readings).__next__


def attack(text: str, category: str = "override", source: str = "a") -> InjectionRow:
    return InjectionRow(text, True, category, source)


def benign(text: str, category: str = "code", source: str = "b") -> InjectionRow:
    return InjectionRow(text, False, category, source)


def test_injections_are_counted_overall_by_category_and_by_source() -> None:
    rows = [
        attack("!1"),
        attack("2"),
        attack("!3", "indirect_task"),
        benign("4"),
        benign("!5"),
        benign("6", "prose", "a"),
    ]
    report = judge_injections(rows, lambda text: text.startswith("!"), ticking(*[1_000_000] * 6))
    assert report.overall == Rates(attacks=3, caught=2, benign=3, flagged=1)
    assert report.core == Rates(attacks=2, caught=1, benign=3, flagged=1)
    assert report.by_category == {
        "code": Rates(0, 0, 2, 1),
        "indirect_task": Rates(1, 1, 0, 0),
        "override": Rates(2, 1, 0, 0),
        "prose": Rates(0, 0, 1, 0),
    }
    assert report.by_source == {"a": Rates(3, 2, 1, 0), "b": Rates(0, 0, 2, 1)}


def test_rates_are_shares_and_none_where_there_is_nothing_to_share() -> None:
    rates = Rates(attacks=4, caught=3, benign=10, flagged=1)
    assert (rates.recall, rates.precision, rates.false_positive_rate) == (0.75, 0.75, 0.1)
    nothing = Rates()
    assert (nothing.recall, nothing.precision, nothing.false_positive_rate) == (None, None, None)


def test_spans_are_counted_by_type_and_only_when_they_agree_whole() -> None:
    rows = [
        SpanRow("joe@x.io 10.1.2.3", frozenset({Found(0, 8, "EMAIL"), Found(9, 17, "IP_ADDRESS")}), "s"),
        SpanRow("ann@x.io", frozenset({Found(0, 8, "EMAIL")}), "s"),
    ]
    answers = {rows[0].text: [(0, 8, "EMAIL"), (9, 16, "IP_ADDRESS")], rows[1].text: [(0, 8, "PHONE")]}
    report = judge_spans(rows, answers.__getitem__, ticking(1, 1))
    assert report.by_type == {
        "EMAIL": Matches(2, 1, 1),
        "IP_ADDRESS": Matches(1, 1, 0),
        "PHONE": Matches(0, 1, 0),
    }
    assert report.overall == Matches(3, 3, 1)
    assert report.by_type["EMAIL"].recall == 0.5
    assert report.by_type["EMAIL"].precision == 1.0
    assert report.by_type["PHONE"].recall is None


def test_times_are_the_nearest_rank_s() -> None:
    rows = [benign(str(number)) for number in range(100)]
    report = judge_injections(
        rows, lambda _: False, ticking(*(1_000_000 * (100 - number) for number in range(100)))
    )
    assert report.times == Times(p50_ms=50.0, p99_ms=99.0)


def test_reports_are_json() -> None:
    injections = judge_injections([attack("a")], bool, ticking(1)).as_json()
    assert json.loads(json.dumps(injections))["core"]["recall"] == 1.0
    spans = judge_spans([SpanRow("a", frozenset(), "s")], lambda _: [(0, 1, "OWN")], ticking(1)).as_json()
    assert json.loads(json.dumps(spans))["by_type"]["OWN"] == {
        "expected": 0, "found": 1, "right": 0, "precision": 0.0, "recall": None
    }  # fmt: skip


INJECTION = {"text": "t", "label": 1, "category": "c", "source": "s"}
SPANS = {"text": "joe", "spans": [{"start": 0, "end": 3, "type": "PERSON"}], "source": "s"}


def test_rows_of_both_kinds_are_read() -> None:
    assert read([json.dumps(INJECTION), json.dumps({**INJECTION, "label": 0}).encode()]) == [
        InjectionRow("t", True, "c", "s"),
        InjectionRow("t", False, "c", "s"),
    ]
    assert read([json.dumps(SPANS)]) == [SpanRow("joe", frozenset({Found(0, 3, "PERSON")}), "s")]


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({**INJECTION, "label": 2}, "label"),
        ({**INJECTION, "label": True}, "label"),
        ({**INJECTION, "label": "1"}, "label"),
        ({**INJECTION, "text": None}, "text"),
        ({**INJECTION, "category": 1}, "category"),
        ({"text": "t", "label": 1, "category": "c"}, "source"),
        (SPANS, "label"),
        ([], "row"),
    ],
)
def test_a_malformed_injection_row_is_named_by_line_and_field(row: object, field: str) -> None:
    with pytest.raises(RowInvalid, match=f"^line 2: {field}: ") as refused:
        read([json.dumps(INJECTION), json.dumps(row)])
    assert (refused.value.line, refused.value.field) == (2, field)
    assert refused.value.code == "evaluation_row_invalid"


@pytest.mark.parametrize(
    ("spans", "field"),
    [
        ({}, "spans"),
        ([1], "spans[0]"),
        ([{"start": 0, "end": 4, "type": "P"}], "spans[0]"),
        ([{"start": 2, "end": 2, "type": "P"}], "spans[0]"),
        ([{"start": -1, "end": 2, "type": "P"}], "spans[0]"),
        ([*SPANS["spans"], {"start": 0, "end": 1}], "spans[1].type"),
        ([{"start": 0.0, "end": 1, "type": "P"}], "spans[0].start"),
    ],
)
def test_a_malformed_span_row_is_named_by_line_and_field(spans: object, field: str) -> None:
    with pytest.raises(RowInvalid) as refused:
        read([json.dumps(SPANS), json.dumps({**SPANS, "spans": spans})])
    assert (refused.value.line, refused.value.field) == (2, field)


def test_blank_lines_are_passed_over_and_counted() -> None:
    assert read(["", json.dumps(SPANS), " \n"]) == read([json.dumps(SPANS)])
    with pytest.raises(RowInvalid, match=r"^line 3: row: not JSON$"):
        read([json.dumps(SPANS), b"\r\n", "{"])


def test_a_malformed_row_can_be_named_by_its_file_too() -> None:
    named = RowInvalid(3, "label", "missing").within("june.jsonl")
    assert str(named) == "june.jsonl, line 3: label: missing"
    assert (named.line, named.field) == (3, "label")


@pytest.mark.parametrize("lines", [[], [""], ["{"], [b"\xff"], ["[" * 100_000]])
def test_what_is_no_row_is_named(lines: list[str | bytes]) -> None:
    with pytest.raises(RowInvalid, match=r"^line 1: row: "):
        read(lines)


@given(st.lists(st.text() | st.binary(), max_size=3))
def test_reading_raises_nothing_else(lines: list[str | bytes]) -> None:
    with pytest.raises(RowInvalid):
        read([*lines, "{}"])


def test_no_text_of_a_row_is_in_an_error() -> None:
    with pytest.raises(RowInvalid) as refused:
        read([json.dumps({**INJECTION, "label": "hunter22"})])
    assert "hunter22" not in str(refused.value)
