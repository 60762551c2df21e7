"""What is counted, and the summary of it."""

from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from headworks.batch.report import table
from headworks.batch.requests import Fault
from headworks.batch.tally import Tally, dollars, summary
from headworks.client.results import Answered, Dead, Expired, Refused, ResultGone, Unknown, Unrecognized

ENDED: dict[str, Any] = {"job_id": UUID(int=1), "run": 1, "cost_nanodollars": 1_500, "attempts": 1}
USAGE = {"usage": {"prompt_tokens": 10, "completion_tokens": 4}}


def tally() -> Tally:
    counted = Tally(lines=9)
    counted.earlier = 1
    counted.blank = 1
    counted.malformed[Fault.INVALID_JSON] += 1
    for result in (
        Answered(**ENDED, response=USAGE, model="m", status_code=200),
        Refused(**ENDED, reason="unknown_model", message="", param=None, response=None, status_code=None),
        Dead(**ENDED, reason="timeout", message="", dead_letter=None),
        Unknown(**ENDED, reason="worker_lost", message=""),
        Expired(**ENDED, message=""),
        ResultGone(**ENDED, message=""),
    ):
        counted.ended(result, 0.25)
    return counted


def test_each_line_is_counted_once() -> None:
    counted = tally()
    assert (counted.handled, counted.replied, counted.failed) == (9, 6, 4)


def test_the_summary_is_plain_json() -> None:
    told = summary(tally(), 2.0)
    p50, p95 = told.pop("p50_ms"), told.pop("p95_ms")
    assert 245 <= p50 == p95 <= 256
    assert told == {
        "lines": 9,
        "earlier": 1,
        "answered": 1,
        "refused": {"unknown_model": 1},
        "dead": {"timeout": 1},
        "unknown": {"worker_lost": 1},
        "expired": 1,
        "cancelled": 0,
        "result_expired": 1,
        "malformed": {"invalid_json": 1},
        "input_tokens": 10,
        "output_tokens": 4,
        "dollars": "0.000009000",
        "elapsed_s": 2.0,
        "jobs_per_s": 3.0,
    }
    assert all(type(code) is str for code in told["malformed"])


def test_an_end_that_this_version_does_not_know_is_a_failed_line() -> None:
    counted = Tally(lines=1)
    end = Unrecognized(**ENDED, status="withdrawn", reason="by_operator", message="", response=None)
    counted.ended(end, 1)
    assert (counted.handled, counted.failed, counted.unknown["by_operator"]) == (1, 1, 1)


def test_embeddings_have_no_tokens_out() -> None:
    counted = Tally(lines=None)
    usage = {"usage": {"prompt_tokens": 8, "total_tokens": 8}}
    counted.ended(Answered(**ENDED, response=usage, model="m", status_code=200), 1)
    assert (counted.input_tokens, counted.output_tokens) == (8, 0)


def test_an_answer_without_usage_is_counted_all_the_same() -> None:
    counted = Tally(lines=None)
    counted.ended(Answered(**ENDED, response={"usage": None}, model="m", status_code=200), 1)
    assert (counted.answered, counted.input_tokens) == (1, 0)


@given(st.integers(0, 2**62))
def test_dollars_are_exact(nanodollars: int) -> None:
    whole, parts = dollars(nanodollars).split(".")
    assert len(parts) == 9
    assert int(whole) * 10**9 + int(parts) == nanodollars


def test_the_table_names_what_happened_and_leaves_out_what_did_not() -> None:
    names = list(table(tally(), 2.0).columns[0].cells)
    assert "refused: unknown_model" in names
    assert "malformed: invalid_json" in names
    assert "expired" in names
    assert "expired" not in list(table(Tally(lines=0), 0.0).columns[0].cells)
