"""An attempt that DISPATCH failed over in an unforeseen way is charged, if it may have been served."""

import hashlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from broker.errors import DatabaseUnavailable
from broker.policy.decide import Unrestricted
from broker.providers.provider import Failed
from broker.records import Incoming, Outgoing
from broker.settings import Settings
from broker.store.attempts import AttemptFacts
from broker.store.keys import AttemptKey
from schemas import topics
from schemas.envelope import RetryPolicy
from schemas.outcomes import Dead, Unknown
from schemas.reasons import Failure
from schemas.state import State
from schemas.topics import Coordinate, Lane, RetryDelay
from tests.unit.workers.dispatching import VALUE, HeldLease, Ledger, OneProject, Provider
from tests.unit.workers.engine.turning import until
from tests.unit.workers.logs import Log
from tests.unit.workers.memory import HOLD, MemoryProducer, received, state, targets, tools
from workers.app import Worker
from workers.engine.source import Source
from workers.parts import Parts

RESERVED, OUTCOMES = topics.reserved(Lane.STANDARD), topics.outcomes(Lane.STANDARD)


class Narrow(MemoryProducer):
    """Fails in an unforeseen way at the first record of a topic."""

    def __init__(self, topic: str | None) -> None:
        super().__init__()
        self._fails_at = topic

    async def send(self, record: Outgoing) -> Coordinate:
        if record.topic == self._fails_at:
            self._fails_at = None
            raise ZeroDivisionError
        return await super().send(record)


class Forgetful(Ledger):
    """Away for a while when it is asked for facts."""

    times_away = 0

    async def facts(self, key: AttemptKey) -> AttemptFacts:
        if self.times_away:
            self.times_away -= 1
            raise DatabaseUnavailable("away")
        return await super().facts(key)


class Dispatching(Worker):
    """DISPATCH of one process, with one job."""

    def __init__(self, fails_at: str | None = None, **fields: Any) -> None:
        super().__init__(Settings(), ["dispatch"])
        self.producer, self.ledger, self.provider = Narrow(fails_at), Forgetful(), Provider()
        self.kit = tools(self.producer)
        self.record = received(self.kit.sealer.seal(RESERVED, state(**fields), VALUE))
        self._parts = cast(
            Parts,
            SimpleNamespace(
                settings=self.settings,
                tools=self.kit,
                directory=OneProject(),
                attempts=self.ledger,
                lease=HeldLease(),
                targets=targets(self.provider),
                reader=None,
                settlements=None,
                policy=Unrestricted(),
            ),
        )

    def _source(self, group: str, *names: str, pattern: str | None = None) -> Source[Incoming]:
        return Log({name: [self.record] if name == RESERVED else [] for name in names})

    async def ended(self) -> State:
        """The state that its outcome carries."""
        await self.start()
        await until(lambda: OUTCOMES in self.topics)
        await self.stop()
        return self.kit.sealer.open(received(self.producer.sent[-1])).state

    @property
    def topics(self) -> list[str]:
        return [sent.topic for sent in self.producer.sent]


def fail(*_: object) -> None:
    raise ZeroDivisionError


async def fail_later() -> None:
    raise ZeroDivisionError


def at_the_start(worker: Dispatching) -> None:
    worker.ledger.slow = fail


def in_the_call(worker: Dispatching) -> None:
    worker.provider.during = fail_later


BROKEN = [at_the_start, in_the_call]


@pytest.mark.parametrize("broken", BROKEN)
async def test_one_that_was_begun_is_on_record_as_unknown_and_its_job_s_end_carries_the_charge(
    broken: Callable[[Dispatching], None],
) -> None:
    worker = Dispatching()
    broken(worker)
    end = await worker.ended()
    assert worker.topics == [topics.DEAD, OUTCOMES]
    [verdict] = worker.ledger.verdicts
    assert (verdict.kind, verdict.reason) == ("unknown", "internal_error")
    [charge] = end.charges
    assert charge == verdict.charge
    assert (charge.verdict, charge.nanodollars, charge.hold) == ("unknown", HOLD.nanodollars, HOLD)
    assert isinstance(end.outcome, Dead)
    assert end.hold is None
    letter = worker.kit.sealer.open(received(worker.producer.sent[0]))
    assert letter.state.charges == (charge,)
    assert b'"cost_nanodollars":9000' in (worker.producer.sent[-1].value or b"")


@pytest.mark.parametrize("broken", BROKEN)
async def test_one_that_may_be_made_once_is_of_unknown_outcome_and_no_dead_letter(
    broken: Callable[[Dispatching], None],
) -> None:
    worker = Dispatching(retry=RetryPolicy(at_most_once=True))
    broken(worker)
    end = await worker.ended()
    assert worker.topics == [OUTCOMES]
    assert end.outcome == Unknown(reason=Failure.INTERNAL_ERROR)
    assert [charge.nanodollars for charge in end.charges] == [HOLD.nanodollars]


async def test_one_that_was_not_begun_costs_nothing_and_its_hold_is_left_to_settle() -> None:
    worker = Dispatching()
    worker.record = received(worker.kit.sealer.seal(RESERVED, state(), b"[]"))
    end = await worker.ended()
    assert worker.topics == [topics.DEAD, OUTCOMES]
    assert (end.charges, end.hold, worker.ledger.verdicts) == ((), HOLD, [])


async def test_one_whose_tokens_cannot_be_read_is_not_begun() -> None:
    """Its answer could not be given back whole, so nothing is spent on it."""
    worker = Dispatching()
    unreadable = b"sealed under another key"
    of = state(tokens_sha256=hashlib.sha256(unreadable).hexdigest())
    worker.record = received(worker.kit.sealer.seal(RESERVED, of, VALUE, tokens=unreadable))
    end = await worker.ended()
    assert worker.topics == [topics.DEAD, OUTCOMES]
    assert (worker.ledger.intents, worker.provider.calls, end.charges) == ({}, [], ())


async def test_one_that_has_its_verdict_keeps_it() -> None:
    """Here the retry could not be published: that the provider refused to serve is known."""
    worker = Dispatching(fails_at=topics.retry(RetryDelay.SECOND))
    worker.provider.results.append(Failed(Failure.PROVIDER_ERROR, sent=False, latency_ms=5))
    end = await worker.ended()
    assert worker.topics == [topics.DEAD, OUTCOMES]
    assert [verdict.reason for verdict in worker.ledger.verdicts] == ["provider_error"]
    assert [(charge.verdict, charge.nanodollars) for charge in end.charges] == [("failed", 0)]


async def test_while_the_ledger_is_away_the_end_is_waited_for() -> None:
    worker = Dispatching()
    at_the_start(worker)
    worker.ledger.times_away = 2
    assert len((await worker.ended()).charges) == 1


async def test_its_record_comes_again_and_it_ends_the_same_way() -> None:
    """As when the process died after the letter and before the commit."""
    first, second = Dispatching(), Dispatching()
    in_the_call(first)
    end = await first.ended()
    second.ledger.intents, second.ledger.verdicts = first.ledger.intents, first.ledger.verdicts
    assert await second.ended() == end
    assert second.topics == [topics.DEAD, OUTCOMES]
    assert second.provider.calls == []
