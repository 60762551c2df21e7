"""Where a job is, by what its rows say."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.ops.jobs import Whereabouts, events, whereabouts
from broker.store.history import JobRecords
from broker.store.settlement_rows import terminal_row
from schemas.outcomes import Expired, Refused
from schemas.reasons import Refusal
from tests.contracts.store.builders import intent, job, parked, settlement, state, verdict

JOB = job()
NOW_MS = JOB.appended_ms + 10_000
IDS: dict[str, Any] = {"job_id": JOB.job_id}
FIRST = intent(**IDS)
LIVING = frozenset({FIRST.owner})
DUE_MS = NOW_MS + 5_000


def records(**rows: Any) -> JobRecords:
    return JobRecords("shop", "acme/web", JOB, **rows)


@pytest.mark.parametrize(
    ("rows", "at", "until_ms"),
    [
        ({}, "waiting", None),
        ({"attempts": [FIRST], "living": LIVING}, "calling", None),
        ({"attempts": [FIRST]}, "lost", None),
        ({"attempts": [FIRST], "verdicts": [verdict(FIRST, due_ms=DUE_MS)]}, "retrying", DUE_MS),
        ({"attempts": [FIRST], "verdicts": [verdict(FIRST, due_ms=NOW_MS)]}, "retrying", None),
        ({"attempts": [FIRST], "verdicts": [verdict(FIRST, due_ms=None)]}, "ending", None),
        ({"attempts": [FIRST], "verdicts": [verdict(FIRST, due_ms=JOB.deadline_ms)]}, "ending", None),
        ({"parked": [parked(1, **IDS, due_ms=DUE_MS)]}, "parked", DUE_MS),
        (
            {
                "attempts": [FIRST],
                "verdicts": [verdict(FIRST, due_ms=NOW_MS)],
                "parked": [parked(1, **IDS, attempt=2, due_ms=DUE_MS)],
            },
            "parked",
            DUE_MS,
        ),
        ({"terminals": [terminal_row(settlement(0, state(**IDS)))]}, "ended", None),
        (
            {"terminals": [terminal_row(settlement(0, state(**IDS)))], "attempts": [intent(**IDS, run=2)]},
            "lost",
            None,
        ),
    ],
)
def test_what_the_rows_say(rows: dict[str, Any], at: str, until_ms: int | None) -> None:
    where = whereabouts(records(**rows), NOW_MS)
    assert (where.at, where.until_ms) == (at, until_ms)


def test_an_end_is_told_with_its_reason() -> None:
    refused = state(Refused(reason=Refusal.OVER_QUOTA, stage="reserve"), **IDS)
    for of, text in ((refused, "refused: over_quota"), (state(Expired(stage="retry"), **IDS), "expired")):
        ended = records(terminals=[terminal_row(settlement(0, of))])
        assert whereabouts(ended, NOW_MS) == Whereabouts("ended", text)


attempts = st.lists(
    st.tuples(st.integers(1, 3), st.integers(1, 4), st.booleans(), st.integers(0, 20_000)),
    unique_by=lambda each: each[:2],
)


@given(attempts, st.booleans())
def test_every_row_is_an_event_and_they_come_in_order(
    given_attempts: list[tuple[int, int, bool, int]], ended: bool
) -> None:
    begun = [
        intent(**IDS, run=run, attempt=attempt, started_ms=JOB.appended_ms + at)
        for run, attempt, _, at in given_attempts
    ]
    said = [verdict(row) for row, (_, _, fails, _) in zip(begun, given_attempts, strict=True) if fails]
    ends = [terminal_row(settlement(0, state(**IDS)))] if ended else []
    told = events(records(attempts=begun, verdicts=said, terminals=ends))
    assert [each.at_ms for each in told] == sorted(each.at_ms for each in told)
    assert len(told) == 1 + len(begun) + len(said) + len(ends)
    assert [each.event for each in told].count("attempt begun") == len(begun)
