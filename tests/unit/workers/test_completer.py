"""What follows an attempt is sent to the topic that its end means, with what it cost."""

import hashlib

import pytest

from broker.providers.provider import Failed, Rejected, Result
from schemas import topics
from schemas.envelope import RetryPolicy
from schemas.outcomes import Answered, Dead, Refused, Unknown
from schemas.reasons import Failure, Refusal
from schemas.topics import Lane, RetryDelay
from tests.unit.workers.dispatching import Bench, answered
from tests.unit.workers.memory import HOLD

OUTCOMES = topics.outcomes(Lane.STANDARD)
ONE = RetryPolicy(attempts_max=1)
NO_SECOND = RetryPolicy(at_most_once=True)


def failed(failure: Failure, *, sent: bool) -> Failed:
    return Failed(failure, sent=sent, latency_ms=5)


async def ended(bench: Bench, result: Result) -> list[str]:
    """The topics of what was sent when the call came to this."""
    bench.provider.results.append(result)
    assert await bench.handle()
    return [record.topic for record in bench.producer.sent]


async def test_an_answer_is_an_outcome_whose_hold_settle_settles() -> None:
    bench = Bench()
    assert await ended(bench, answered(5)) == [OUTCOMES]
    assert isinstance(bench.last.outcome, Answered)
    assert bench.last.outcome.response_sha256 == hashlib.sha256(b"{}").hexdigest()
    assert [charge.verdict for charge in bench.last.charges] == ["answered"]
    assert (bench.ledger.verdicts, bench.ledger.settled) == ([], [])


async def test_an_answer_whose_usage_is_not_believed_costs_its_hold_and_is_counted() -> None:
    bench = Bench()
    assert await ended(bench, answered(5)) == [OUTCOMES]
    [charge] = bench.last.charges
    assert (charge.nanodollars, charge.estimated, charge.reason) == (HOLD.nanodollars, True, "usage_missing")
    labels = {"target": "own", "reason": "usage_missing"}
    assert bench.metrics.registry.get_sample_value("headworks_estimated_charges_total", labels) == 1


async def test_a_request_that_the_provider_refuses_is_refused_and_costs_nothing() -> None:
    bench = Bench()
    assert await ended(bench, Rejected(Refusal.PROVIDER_REFUSED, 400, 5)) == [OUTCOMES]
    assert bench.last.outcome == Refused(reason=Refusal.PROVIDER_REFUSED, stage="dispatch")
    [charge] = bench.last.charges
    assert (charge.verdict, charge.nanodollars, charge.hold) == ("refused", 0, HOLD)
    assert (charge.reason, charge.target) == ("provider_refused", "own")


async def test_a_failure_waits_for_the_next_attempt_without_a_hold() -> None:
    bench = Bench()
    [topic] = await ended(bench, failed(Failure.PROVIDER_ERROR, sent=False))
    assert topic == topics.retry(RetryDelay.SECOND)
    assert (bench.last.attempt, bench.last.hold, bench.last.failures) == (2, None, (Failure.PROVIDER_ERROR,))
    assert [settlement.nanodollars for settlement in bench.ledger.settled] == [0]


@pytest.mark.parametrize("sent", [False, True])
async def test_attempts_used_up_are_a_dead_letter_and_then_an_outcome_that_names_it(sent: bool) -> None:
    bench = Bench(retry=ONE)
    assert await ended(bench, failed(Failure.TIMEOUT, sent=sent)) == [topics.DEAD, OUTCOMES]
    assert isinstance(bench.last.outcome, Dead)
    assert bench.last.outcome.reason is Failure.TIMEOUT
    assert bench.last.outcome.dead_letter.startswith("dead/")
    assert [settlement.nanodollars for settlement in bench.ledger.settled] == [9_000 if sent else 0]


async def test_an_at_most_once_job_whose_call_may_have_been_served_is_left_unknown() -> None:
    bench = Bench(retry=NO_SECOND)
    assert await ended(bench, failed(Failure.TIMEOUT, sent=True)) == [OUTCOMES]
    assert bench.last.outcome == Unknown(reason=Failure.TIMEOUT)
    assert b'"outcome_unknown"' in (bench.producer.sent[-1].value or b"")


async def test_a_verdict_of_somebody_else_s_is_left_to_them(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()

    async def another_decides(*_: object) -> bool:
        return False

    monkeypatch.setattr(bench.ledger, "decide", another_decides)
    assert await ended(bench, failed(Failure.TIMEOUT, sent=True)) == []
    assert bench.ledger.settled == []


@pytest.mark.parametrize("how", [("before",), ("after",), ("after", "before", "after")])
async def test_a_verdict_whose_writing_was_not_confirmed_is_gone_on_from_once(how: tuple[str, ...]) -> None:
    """It was taken for somebody else's, and nobody went on: the job was lost."""
    bench = Bench()
    bench.ledger.decides.extend(how)
    assert await ended(bench, failed(Failure.PROVIDER_ERROR, sent=False)) == [topics.retry(RetryDelay.SECOND)]
    assert len(bench.ledger.verdicts) == len(bench.ledger.settled) == 1
