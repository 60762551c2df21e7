"""Where a job waited is told from what is on record of it."""

from dataclasses import replace
from uuid import UUID

from tests.crucible.history import Step
from tests.crucible.test_checker import FIRST, JOB, OTHER, SOUND
from tests.crucible.waits import Waits

STEPPED = replace(
    SOUND,
    steps=(
        Step(JOB, "jobs.standard", 10.05),
        Step(JOB, "reserved.standard", 10.1),
        Step(JOB, "outcomes.standard", 18.5),
        Step(JOB, "outcomes.standard", 60.0),
        Step(UUID(int=9), "jobs.bulk", 1.0),
    ),
)


def test_the_slowest_come_first_by_their_first_reply_probes_by_themselves() -> None:
    both = replace(STEPPED, published=(STEPPED.published[0], replace(STEPPED.published[1], probe=False)))
    assert Waits(both).slowest(5, probes=False) == [JOB, OTHER]
    assert Waits(both).slowest(1, probes=False) == [JOB]
    assert Waits(STEPPED).slowest(5, probes=True) == [OTHER]
    assert [Waits(STEPPED).took_s(job) for job in (JOB, OTHER)] == [9, 1.5]


def test_a_job_that_was_not_answered_is_not_among_them() -> None:
    unanswered = Waits(replace(STEPPED, replies=STEPPED.replies[:1]))
    assert unanswered.slowest(5, probes=True) == []
    assert unanswered.slowest(5, probes=False) == [JOB]


def test_the_longest_stretches_are_named_and_what_came_after_the_reply_is_not() -> None:
    line = Waits(STEPPED).line(JOB)
    assert line == (
        f"9.0 s web {FIRST.job_id} (answered): 6.8 s from call 1 (200) to worker_lost of attempt 1, "
        "0.9 s from worker_lost of attempt 1 to attempt 2"
    )
