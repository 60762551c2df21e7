"""Open jobs: bounded, shared where the same job is submitted twice, and forgotten once handed over."""

from uuid import UUID

import pytest

from headworks.client.errors import JobInvalid, NotOpen, TooManyOpen
from headworks.client.inbox import Inbox
from headworks.client.results import Expired

JOB, OTHER = UUID(int=1), UUID(int=2)


def result(job_id: UUID = JOB, run: int = 1) -> Expired:
    return Expired(job_id=job_id, run=run, cost_nanodollars=0, attempts=0, message="")


async def test_a_result_may_come_before_anybody_asks() -> None:
    inbox = Inbox(1)
    slot = inbox.open(JOB)
    assert inbox.arrive(result())
    assert inbox.slot(JOB).arrival.result() == result()
    assert inbox.hand_over(JOB, slot)
    assert (len(inbox), JOB in inbox) == (0, False)


async def test_the_first_of_two_results_counts() -> None:
    inbox = Inbox(1)
    inbox.open(JOB)
    assert inbox.arrive(result())
    assert not inbox.arrive(result(run=2))
    assert inbox.slot(JOB).arrival.result().run == 1


async def test_a_result_that_nobody_awaits_is_not_kept() -> None:
    inbox = Inbox(1)
    assert not inbox.arrive(result())
    with pytest.raises(NotOpen, match="submit the same job again"):
        inbox.slot(JOB)


async def test_one_job_more_than_the_limit_is_told_what_to_do() -> None:
    inbox = Inbox(1)
    inbox.open(JOB)
    with pytest.raises(TooManyOpen, match="take results"):
        inbox.open(OTHER)
    assert inbox.open(JOB) is inbox.slot(JOB)


async def test_a_failed_submit_leaves_the_job_to_another_that_relies_on_it() -> None:
    inbox = Inbox(1)
    slot = inbox.open(JOB)
    assert inbox.open(JOB) is slot
    inbox.withdraw(JOB, slot)
    assert JOB in inbox
    inbox.withdraw(JOB, slot)
    assert JOB not in inbox


async def test_a_late_failure_does_not_close_a_job_that_was_opened_anew() -> None:
    inbox = Inbox(1)
    former = inbox.open(JOB)
    inbox.arrive(result())
    inbox.hand_over(JOB, former)
    inbox.open(JOB)
    inbox.withdraw(JOB, former)
    assert JOB in inbox
    assert not inbox.hand_over(JOB, former)


async def test_at_the_end_whoever_waits_is_woken() -> None:
    inbox = Inbox(1)
    slot = inbox.open(JOB)
    inbox.close()
    assert slot.arrival.cancelled()
    assert len(inbox) == 0


async def test_another_request_under_an_open_id_is_refused_and_the_first_keeps_its_result() -> None:
    inbox = Inbox(1)
    slot = inbox.open(JOB, b"one")
    with pytest.raises(JobInvalid, match="another request is open"):
        inbox.open(JOB, b"two")
    assert inbox.open(JOB, b"one") is slot
    assert inbox.open(JOB) is slot
    assert slot.submits == 3


async def test_who_opened_it_without_a_request_goes_with_the_first_that_comes() -> None:
    inbox = Inbox(1)
    inbox.open(JOB)
    inbox.open(JOB, b"one")
    with pytest.raises(JobInvalid):
        inbox.open(JOB, b"two")
