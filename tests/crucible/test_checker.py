"""The checker, on histories with one planted fault each; and that one without any passes."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any
from uuid import UUID

import pytest

from schemas.reasons import Failure
from tests.crucible.checker import MUST_BE_ZERO, check
from tests.crucible.history import (
    Attempt,
    AttemptId,
    Call,
    Charge,
    Harm,
    History,
    Published,
    Reply,
    Sample,
    Terminal,
    Verdict,
)

JOB, OTHER = UUID(int=1), UUID(int=2)
FIRST, SECOND = AttemptId(JOB, 1, 1), AttemptId(JOB, 1, 2)
PID, DAY = 4_711, 20_000
KILLED = Harm("kill", began_s=11, ended_s=12, pids=(PID,))


def charge(id_: AttemptId, verdict: str, nanodollars: int, hold_id: str) -> Charge:
    return Charge(id_, "north", DAY, hold_id, verdict, nanodollars)


SOUND = History(
    budgets={"north": 100},
    published=(Published("web", JOB, 10), Published("web", OTHER, 13, probe=True)),
    calls=(Call(FIRST, 10.2, 200), Call(SECOND, 18, 200), Call(AttemptId(OTHER, 1, 1), 14, 200)),
    attempts=(
        Attempt(FIRST, PID, 10.1, lease_until_s=16.5),
        Attempt(SECOND, None, 17.9),
        Attempt(AttemptId(OTHER, 1, 1), None, 13.9),
    ),
    verdicts=(Verdict(FIRST, "unknown", Failure.WORKER_LOST, 17),),
    terminals=(Terminal(JOB, 1, "answered", "a", 50), Terminal(OTHER, 1, "answered", "b", 10)),
    charges=(
        charge(FIRST, "unknown", 30, "h1"),
        charge(SECOND, "answered", 20, "h2"),
        charge(AttemptId(OTHER, 1, 1), "answered", 10, "h3"),
    ),
    replies=(Reply(JOB, 1, "a", 50, 19), Reply(OTHER, 1, "b", 10, 14.5), Reply(OTHER, 1, "b", 10, 15)),
    samples=(Sample("north", DAY, 30, 20),),
    at_rest=(Sample("north", DAY, 60, 0),),
    harms=(KILLED,),
)


CUT_OFF = replace(
    SOUND,
    published=(replace(SOUND.published[0], called_off=True), SOUND.published[1]),
    calls=(Call(FIRST, 10.2, None), SOUND.calls[2]),
    attempts=(SOUND.attempts[0], SOUND.attempts[2]),
    verdicts=(Verdict(FIRST, "unknown", Failure.CANCELLED, 17),),
    terminals=(Terminal(JOB, 1, "cancelled", "a", 30), SOUND.terminals[1]),
    charges=(SOUND.charges[0], SOUND.charges[2]),
    replies=(Reply(JOB, 1, "a", 30, 19), *SOUND.replies[1:]),
    at_rest=(Sample("north", DAY, 40, 0),),
)
"""The first job was called off while its only call was under way."""
UNCALLED = replace(
    CUT_OFF,
    calls=CUT_OFF.calls[1:],
    attempts=CUT_OFF.attempts[1:],
    verdicts=(),
    terminals=(Terminal(JOB, 1, "cancelled", "a", 0), SOUND.terminals[1]),
    charges=CUT_OFF.charges[1:],
    replies=(Reply(JOB, 1, "a", 0, 19), *SOUND.replies[1:]),
    at_rest=(Sample("north", DAY, 10, 0),),
)
"""It was called off before anybody was called."""


def called_off(history: History) -> History:
    """The same, with the first job called off: to no effect."""
    return replace(history, published=(replace(history.published[0], called_off=True), history.published[1]))


def ended_as(kind: str, history: History) -> History:
    first, *others = history.terminals
    return replace(history, terminals=(replace(first, kind=kind), *others))


def counted(history: History) -> dict[str, Any]:
    """Of the counts that must be zero, those that are not."""
    counts = asdict(check(history).counts)
    return {name: counts[name] for name in MUST_BE_ZERO if counts[name]}


def with_verdict(reason: Failure, kind: str = "failed") -> History:
    return replace(SOUND, verdicts=(Verdict(FIRST, kind, reason, 17),))


def first_answered(status: int | None, history: History) -> History:
    return replace(history, calls=(Call(FIRST, 10.2, status), *history.calls[1:]))


def test_a_run_in_which_all_promises_held() -> None:
    report = check(SOUND)
    assert report.holds_good
    assert report.broken == ()
    assert asdict(report.counts) == {
        "published": 2,
        "answered": 2,
        "lost": 0,
        "two_outcomes": 0,
        "charged_twice": 0,
        "cancelled": 0,
        "cancelled_wrongly": 0,
        "overspent": 0,
        "holds_left": 0,
        "second_calls": 1,
        "second_calls_unexplained": 0,
        "faults": 1,
        "recover_p99_s": 2.5,
        "errors": 0,
    }
    assert report.second_calls_by_cause == {"worker_lost": 1}


@pytest.mark.parametrize(("history", "cancelled"), [(CUT_OFF, 1), (UNCALLED, 1), (called_off(SOUND), 0)])
def test_a_job_that_is_called_off_may_end_as_cancelled_or_as_what_came_first(
    history: History, cancelled: int
) -> None:
    report = check(history)
    assert report.broken == ()
    assert (report.counts.cancelled, report.counts.answered) == (cancelled, 2)


@pytest.mark.parametrize("kind", ["refused", "expired", "dead", "unknown"])
def test_it_may_end_in_any_other_way_too_if_nobody_was_cut_off_for_it(kind: str) -> None:
    assert counted(ended_as(kind, UNCALLED)) == {}


def test_an_attempt_that_was_called_off_before_its_call_costs_nothing() -> None:
    intent = replace(CUT_OFF.attempts[0])
    free = charge(FIRST, "failed", 0, "h1")
    before = replace(
        UNCALLED,
        attempts=(intent, *UNCALLED.attempts),
        verdicts=(Verdict(FIRST, "failed", Failure.CANCELLED, 17),),
        charges=(free, *UNCALLED.charges),
    )
    assert counted(before) == {}


def test_a_worker_may_die_between_a_cancellation_and_the_end_and_its_call_is_charged() -> None:
    lost = replace(CUT_OFF, verdicts=(Verdict(FIRST, "unknown", Failure.WORKER_LOST, 17),))
    assert counted(lost) == {}


BROKEN: Sequence[tuple[str, str, History]] = (
    ("lost", "no terminal", replace(SOUND, terminals=SOUND.terminals[1:])),
    ("lost", "no reply", replace(SOUND, replies=SOUND.replies[1:])),
    ("two_outcomes", "terminals", replace(SOUND, terminals=(SOUND.terminals[0], *SOUND.terminals))),
    ("two_outcomes", "replies", replace(SOUND, replies=(*SOUND.replies, Reply(JOB, 1, "c", 50, 20)))),
    ("two_outcomes", "of two runs", replace(SOUND, replies=(*SOUND.replies, Reply(JOB, 2, "a", 50, 20)))),
    (
        "charged_twice",
        "a hold",
        replace(SOUND, charges=(charge(FIRST, "unknown", 30, "h2"), *SOUND.charges[1:])),
    ),
    (
        "charged_twice",
        "an answer",
        replace(SOUND, charges=(charge(FIRST, "answered", 30, "h1"), *SOUND.charges[1:])),
    ),
    (
        "charged_twice",
        "more than was told",
        replace(SOUND, replies=(Reply(JOB, 1, "a", 20, 19), *SOUND.replies[1:])),
    ),
    ("cancelled_wrongly", "nobody called it off", replace(UNCALLED, published=SOUND.published)),
    ("cancelled_wrongly", "an answer is charged", ended_as("cancelled", called_off(SOUND))),
    ("cancelled_wrongly", "cut off, and answered all the same", ended_as("answered", CUT_OFF)),
    (
        "cancelled_wrongly",
        "cut off for nobody",
        ended_as("dead", replace(CUT_OFF, published=SOUND.published)),
    ),
    (
        "cancelled_wrongly",
        "called, and free",
        replace(
            CUT_OFF,
            charges=(charge(FIRST, "unknown", 0, "h1"), *CUT_OFF.charges[1:]),
            at_rest=(Sample("north", DAY, 10, 0),),
        ),
    ),
    (
        "cancelled_wrongly",
        "called, and on record as not called",
        replace(CUT_OFF, verdicts=(Verdict(FIRST, "failed", Failure.CANCELLED, 17),)),
    ),
    ("lost", "called off, and no reply", replace(UNCALLED, replies=UNCALLED.replies[1:])),
    (
        "two_outcomes",
        "cancelled and answered",
        replace(UNCALLED, replies=(*UNCALLED.replies, Reply(JOB, 1, "c", 0, 20))),
    ),
    (
        "charged_twice",
        "cut off, and charged again",
        replace(
            CUT_OFF,
            charges=(*CUT_OFF.charges, charge(SECOND, "unknown", 30, "h1")),
            replies=(Reply(JOB, 1, "a", 60, 19), *CUT_OFF.replies[1:]),
            at_rest=(Sample("north", DAY, 70, 0),),
        ),
    ),
    ("holds_left", "of a job that was called off", replace(UNCALLED, holds=("h1",))),
    (
        "second_calls_unexplained",
        "after it was cut off",
        replace(CUT_OFF, calls=(*CUT_OFF.calls, Call(SECOND, 20, 200)), attempts=SOUND.attempts),
    ),
    ("overspent", "by charges", replace(SOUND, budgets={"north": 59}, samples=(), at_rest=())),
    ("overspent", "by holds", replace(SOUND, samples=(Sample("north", DAY, 60, 41),))),
    ("overspent", "for charges are forgotten", replace(SOUND, at_rest=(Sample("north", DAY, 59, 0),))),
    ("holds_left", "a hold", replace(SOUND, holds=("h2",))),
    ("holds_left", "money", replace(SOUND, at_rest=(Sample("north", DAY, 60, 5),))),
    ("second_calls_unexplained", "no verdict", replace(SOUND, verdicts=())),
    ("second_calls_unexplained", "no intent", replace(SOUND, attempts=SOUND.attempts[:2])),
    ("second_calls_unexplained", "same attempt", replace(SOUND, calls=(*SOUND.calls, Call(SECOND, 20, 200)))),
    ("second_calls_unexplained", "nobody died", replace(SOUND, harms=())),
    ("second_calls_unexplained", "another died", replace(SOUND, harms=(replace(KILLED, pids=(PID + 1,)),))),
    (
        "second_calls_unexplained",
        "it died before it began",
        replace(SOUND, harms=(replace(KILLED, began_s=8, ended_s=9),)),
    ),
    ("second_calls_unexplained", "renewed only", replace(SOUND, harms=(replace(KILLED, kind="renew"),))),
    (
        "second_calls_unexplained",
        "the database was back in time",
        replace(SOUND, harms=(Harm("postgres", 11, 13.5),)),
    ),
    (
        "second_calls_unexplained",
        "the lease was renewed while the database was there",
        replace(SOUND, harms=(Harm("still postgres", 14.5, 16.9),)),
    ),
    ("second_calls_unexplained", "not the database", replace(SOUND, harms=(Harm("still kafka", 11, 16.9),))),
    (
        "second_calls_unexplained",
        "it stood still too briefly",
        replace(SOUND, harms=(Harm("pause", 11, 13, (PID,)),)),
    ),
    (
        "second_calls_unexplained",
        "its worker left in good order",
        replace(
            SOUND,
            attempts=(Attempt(FIRST, None, 10.1), *SOUND.attempts[1:]),
            harms=(Harm("postgres", 11, 16.9),),
        ),
    ),
    ("errors", "of the run itself", replace(SOUND, errors=("renew: it did not end",))),
    ("second_calls_unexplained", "was answered", with_verdict(Failure.PROVIDER_ERROR)),
    ("second_calls_unexplained", "was called", with_verdict(Failure.HOLD_LAPSED)),
    (
        "second_calls_unexplained",
        "may be called once",
        replace(SOUND, published=(replace(SOUND.published[0], at_most_once=True), SOUND.published[1])),
    ),
    (
        "second_calls_unexplained",
        "out of order",
        replace(SOUND, calls=(Call(SECOND, 10.15, 200), *SOUND.calls[:1], *SOUND.calls[2:])),
    ),
)


@pytest.mark.parametrize(("count", "what", "history"), BROKEN, ids=[f"{row[0]}: {row[1]}" for row in BROKEN])
def test_a_planted_fault_is_found(count: str, what: str, history: History) -> None:
    assert counted(history) == {count: 1}
    report = check(history)
    assert not report.holds_good
    assert len(report.broken) == 1


def test_an_attempt_that_was_charged_twice_is_found_by_the_attempt_and_by_the_sum() -> None:
    twice = replace(SOUND, charges=(charge(FIRST, "unknown", 30, "h4"), *SOUND.charges), at_rest=())
    assert counted(twice) == {"charged_twice": 2}


@pytest.mark.parametrize(
    ("history", "cause"),
    [
        (first_answered(503, with_verdict(Failure.PROVIDER_ERROR)), "provider_error"),
        (first_answered(429, with_verdict(Failure.RATE_LIMITED)), "rate_limited"),
        (first_answered(None, with_verdict(Failure.TIMEOUT, "unknown")), "timeout"),
        (replace(SOUND, harms=(Harm("postgres", 11, 16),)), "worker_lost"),
        (replace(SOUND, harms=(Harm("still postgres", 11.5, 16.5),)), "worker_lost"),
        (replace(SOUND, harms=(Harm("pause", 11, 17, (PID,)),)), "worker_lost"),
    ],
)
def test_a_call_again_for_a_reason_is_counted_by_its_cause(history: History, cause: str) -> None:
    assert counted(history) == {}
    assert check(history).second_calls_by_cause == {cause: 1}


def test_a_fault_that_nothing_was_published_after_has_no_recovery() -> None:
    report = check(replace(SOUND, harms=(replace(KILLED, began_s=14, ended_s=15),)))
    assert report.counts.recover_p99_s is None
    assert report.recovered_s == (("kill", None),)


def test_faults_that_came_before_one_was_over_are_named_with_it() -> None:
    later = Harm("pause", began_s=13, ended_s=14, pids=(PID + 1,))
    report = check(replace(SOUND, harms=(KILLED, later)))
    assert report.recovered_s == (("kill then pause", 2.5), ("pause", None))
