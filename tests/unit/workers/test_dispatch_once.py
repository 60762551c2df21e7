"""One attempt, one call: whatever fails around it, and however often its record comes, in one process."""

import asyncio
import dataclasses
import hashlib
from collections import deque
from itertools import count
from typing import cast

import orjson
import pytest

from broker.errors import DatabaseUnavailable, RedisUnavailable, Unavailable
from broker.identity.directory import Directory, Project, ProjectSettings
from broker.pricing.book import PriceBook
from broker.pricing.project_books import ProjectBooks
from broker.providers.provider import Answer, Call, Result
from broker.providers.registry import Providers
from broker.providers.routes import Routes, Target
from broker.quota.gate import Granted, Release, StartRequest
from broker.settings import ProviderTarget, Settings
from broker.store.attempts import AttemptFacts, AttemptRow
from broker.store.keys import AttemptKey
from schemas import topics
from schemas.state import Hold
from schemas.topics import Lane
from tests.unit.workers.memory import HOLD, NOW_MS, MemoryProducer, Received, received, state, tools
from workers.attempts import AttemptBook
from workers.dispatch import Dispatch
from workers.lease import Lease
from workers.succession import Succession

VALUE = orjson.dumps({"request": {"model": "gpt-4o-mini", "messages": []}})


class Ledger:
    """Intents by their key. What stands in `fails` fails so the next times: before or after it is done."""

    def __init__(self) -> None:
        self.intents: dict[AttemptKey, AttemptRow] = {}
        self.begins: deque[str] = deque()
        self.starts: deque[str] = deque()
        self.terminal: str | None = None
        self.released: list[Release] = []

    async def begin(self, row: AttemptRow) -> bool:
        how = self.begins.popleft() if self.begins else ""
        if how == "before":
            raise DatabaseUnavailable("away")
        if self.terminal is not None:
            return False
        is_new = self.intents.setdefault(row.key, row) is row
        if how == "after":
            raise DatabaseUnavailable("lost on the way back")
        return is_new

    async def start(self, request: StartRequest) -> Granted:
        if self.starts and self.starts.popleft():
            raise RedisUnavailable("away")
        return Granted(request.hold, started=True)

    async def facts(self, key: AttemptKey) -> AttemptFacts:
        row = self.intents.get(key)
        copy = None if row is None else dataclasses.replace(row, hold=Hold(**dict(row.hold)))
        return AttemptFacts(copy, None, charged=False, terminal=self.terminal, owner_alive=True)

    async def release(self, release: Release) -> None:
        self.released.append(release)


class Provider:
    def __init__(self) -> None:
        self.routes = Routes({"own": ProviderTarget(base_url="http://127.0.0.1:1/v1")})
        self.calls: list[Call] = []

    async def call(self, target: Target, call: Call) -> Result:
        self.calls.append(call)
        return Answer(200, b"{}", None, hashlib.sha256(b"{}").hexdigest(), 5)


class OneProject:
    def project(self, project_id: int) -> Project:
        return Project(3, 2, "p", ProjectSettings())


class HeldLease:
    incarnation = "0" * 32

    def held_since(self, incarnation: str) -> bool:
        return True


class Waiting:
    async def wait(self) -> None:
        """What DISPATCH awaits where somebody else is to end the attempt."""


class Bench:
    def __init__(self) -> None:
        self.ledger = Ledger()
        self.provider = Provider()
        ticks = count(NOW_MS)
        own = dataclasses.replace(tools(MemoryProducer()), clock=lambda: next(ticks))
        self.dispatch = Dispatch(
            Settings(),
            own,
            cast(Directory, OneProject()),
            ProjectBooks(PriceBook.load()),
            cast(AttemptBook, self.ledger),
            cast(Succession, Waiting()),
            cast(Lease, HeldLease()),
            cast(Providers, self.provider),
        )
        sealed = own.sealer.seal(topics.reserved(Lane.STANDARD), state(), VALUE)
        self.record: Received = received(sealed)

    async def handle(self) -> bool:
        """As the pump does, until it passes. Whether the record is done with, or waits for somebody else."""
        for _ in range(5):
            try:
                later = await self.dispatch.handle([self.record])
            except Unavailable:
                continue
            if later is None:
                return True
            await later
        return False


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize("begins", [[], ["before"], ["after"], ["before", "after"], ["after", "after"]])
@pytest.mark.parametrize("starts", [[], ["away"], ["away", "away"]])
async def test_a_begin_or_start_that_fails_is_made_good_by_one_call(
    bench: Bench, begins: list[str], starts: list[str]
) -> None:
    bench.ledger.begins.extend(begins)
    bench.ledger.starts.extend(starts)
    assert await bench.handle()
    assert len(bench.provider.calls) == 1


@pytest.mark.parametrize("begins", [[], ["before"], ["after"], ["before", "before"]])
async def test_a_record_that_comes_again_while_the_database_is_away_is_not_called_again(
    bench: Bench, begins: list[str]
) -> None:
    """The intent on record is this process's own, but the call under it was made."""
    assert await bench.handle()
    bench.ledger.begins.extend(begins)
    assert not await bench.handle()
    assert len(bench.provider.calls) == 1


async def test_two_records_of_one_attempt_at_one_time_make_one_call(bench: Bench) -> None:
    bench.ledger.begins.extend(["after", "before", "after"])
    bench.ledger.starts.extend(["away"])
    done = await asyncio.gather(bench.handle(), bench.handle())
    assert True in done
    assert len(bench.provider.calls) == 1


async def test_an_attempt_of_a_job_that_has_ended_gives_its_hold_back(bench: Bench) -> None:
    """As when a worker that was taken for dead comes back with the answer."""
    bench.ledger.terminal = "answered"
    assert await bench.handle()
    assert bench.provider.calls == []
    assert bench.ledger.released == [Release(HOLD.id, 2)]


async def test_the_hold_of_a_call_that_was_made_is_left_to_its_settlement(bench: Bench) -> None:
    assert await bench.handle()
    bench.ledger.terminal = "answered"
    assert await bench.handle()
    assert bench.ledger.released == []
