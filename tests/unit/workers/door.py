"""ADMIT with everything outside in memory: a key, a policy, what is on record already, what was sent."""

from collections.abc import Callable, Mapping, Sequence
from typing import cast

import orjson

from broker.identity.directory import Directory, Key, Project, ProjectSettings
from broker.policy.decide import Job, Judgement, Policy, Unrestricted
from broker.policy.judge import Judge, judge
from broker.pricing.book import PriceBook
from broker.pricing.project_books import ProjectBooks
from broker.quota.budget import Budget
from broker.settings import Settings
from broker.store.attempts import AttemptFacts
from broker.store.cancels import Cancels
from broker.store.jobs import JobRow, Seen
from broker.store.keys import AttemptKey, JobKey
from schemas.state import State
from tests.unit.workers.memory import (
    JOB,
    NOW_MS,
    ORGANIZATIONS,
    MemoryCancels,
    MemoryProducer,
    Received,
    holding,
    received,
    register,
    tools,
)
from tests.unit.workers.signing import KEY, TOPIC
from workers.admit import Admit

NOT_BEGUN = AttemptFacts(None, None, charged=False, terminal=None, owner_alive=False)


def conversing(messages: Sequence[Mapping[str, str]]) -> bytes:
    """The value of a job's record."""
    request = {"model": "gpt-4o-mini", "messages": messages}
    return orjson.dumps({"version": 1, "endpoint": "/v1/chat/completions", "request": request})


def asking(content: str) -> bytes:
    return conversing([{"role": "user", "content": content}])


JOB_VALUE = asking("Name a canal.")


class Rules:
    """Judges by these, as long as it lives."""

    def __init__(self, live: Judge, candidate: Judge | None = None) -> None:
        self._judges = live, candidate

    def judge(self, job: Job) -> Judgement:
        return judge(job, *self._judges)


class Door:
    """`seen` and `facts`: what is on record of every job, and of its first attempt."""

    organizations = ORGANIZATIONS

    def __init__(
        self,
        policy: Policy | None = None,
        *,
        settings: Settings | None = None,
        key: Key = KEY,
        seen: Seen = Seen.NEW,
        facts: AttemptFacts = NOT_BEGUN,
        now_ms: Callable[[], int] = lambda: NOW_MS,
    ) -> None:
        self.producer, self.cancels = MemoryProducer(), MemoryCancels()
        self.tools = tools(self.producer, self.cancels, now_ms)
        self.registered: list[JobRow] = []
        self.asked = 0
        """How often for facts."""
        self.origin = f"{TOPIC}/0/0"
        self._key, self._seen, self._facts = key, seen, facts
        self.admit = Admit(
            settings or Settings(),
            self.tools,
            cast(Directory, self),
            ProjectBooks(PriceBook.load()),
            policy or Unrestricted(),
            register(self, self),
            cast(Cancels, self.cancels),
            holding(self.tools),
        )

    # what it asks of the directory

    def key(self, key_id: str) -> Key | None:
        return self._key

    def budget(self, key_id: str) -> Budget:
        return Budget(2, 3, key_id)

    def project(self, project_id: int) -> Project:
        return Project(3, 2, "p", ProjectSettings())

    # and of the ledger

    async def register(self, rows: Sequence[JobRow]) -> list[Seen]:
        self.registered += rows
        return [self._seen] * len(rows)

    async def origins(self, keys: Sequence[JobKey]) -> dict[JobKey, str]:
        return {JobKey(1, JOB): self.origin}

    async def facts(self, key: AttemptKey) -> AttemptFacts:
        self.asked += 1
        return self._facts

    # what it has sent

    def topics(self) -> list[str]:
        return [record.topic for record in self.producer.sent]

    def states(self) -> list[State]:
        return [self.tools.sealer.open(received(record)).state for record in self.producer.sent]

    @property
    def last(self) -> Received:
        return received(self.producer.sent[-1])
