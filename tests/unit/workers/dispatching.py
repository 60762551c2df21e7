"""DISPATCH with the rest in memory: a ledger and a gate that fail when told, a provider, a clock."""

import dataclasses
import hashlib
import time
from collections import deque
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any, cast

import orjson

from broker.errors import DatabaseUnavailable, RedisUnavailable, Unavailable
from broker.identity.directory import Directory, Organization, Project, ProjectSettings
from broker.identity.settings import OrganizationSettings
from broker.policy.decide import AnswerPolicy, Unrestricted
from broker.providers.provider import Answer, Call, Result
from broker.providers.routes import Routes, Target
from broker.quota.budget import Budget
from broker.quota.gate import Granted, Release, Settlement, StartRequest
from broker.quota.limits import Limits
from broker.records import Incoming, Inner
from broker.settings import Settings
from broker.store.attempts import AttemptFacts, AttemptRow, VerdictRow
from broker.store.keys import AttemptKey
from schemas import topics
from schemas.reasons import Disbelief
from schemas.state import Hold, State
from schemas.topics import Lane
from tests.unit.workers.memory import (
    NOW_MS,
    ORGANIZATIONS,
    OTHER,
    TARGET,
    MemoryCancels,
    MemoryProducer,
    Received,
    received,
    state,
    targets,
    tools,
)
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
        self.decides: deque[str] = deque()
        self.terminal: str | None = None
        self.owner_alive = True
        self.released: list[Release] = []
        self.verdicts: list[VerdictRow] = []
        self.settled: list[Settlement] = []
        self.slow: Callable[[], None] = lambda: None
        """What happens while a hold is started."""

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
        self.slow()
        if self.starts and self.starts.popleft():
            raise RedisUnavailable("away")
        return Granted(request.hold, started=True)

    async def facts(self, key: AttemptKey) -> AttemptFacts:
        row = self.intents.get(key)
        copy = None if row is None else dataclasses.replace(row, hold=Hold(**dict(row.hold)))
        verdict = next((each for each in self.verdicts if each.key == key), None)
        return AttemptFacts(
            copy, verdict, charged=False, terminal=self.terminal, owner_alive=self.owner_alive
        )

    async def decide(self, row: VerdictRow) -> bool:
        how = self.decides.popleft() if self.decides else ""
        is_new = all(each.key != row.key for each in self.verdicts)
        if is_new and how != "before":
            self.verdicts.append(row)
        if how:
            raise DatabaseUnavailable("away" if how == "before" else "lost on the way back")
        return is_new

    async def settle(self, settlement: Settlement) -> None:
        self.settled.append(settlement)

    async def release(self, release: Release) -> None:
        self.released.append(release)


class Provider:
    def __init__(self) -> None:
        self.routes = Routes({"own": TARGET, "other": OTHER})
        self.calls: list[Call] = []
        self.results: deque[Result] = deque()
        """What the next calls come to; after them, all are answered in 5 ms."""
        self.during: Callable[[], Awaitable[None]] | None = None
        """What happens while a call is under way."""

    async def call(self, target: Target, call: Call) -> Result:
        self.calls.append(call)
        if self.during is not None:
            await self.during()
        return self.results.popleft() if self.results else answered(5)


def answered(latency_ms: int) -> Answer:
    return Answer(200, b"{}", Disbelief.USAGE_MISSING, hashlib.sha256(b"{}").hexdigest(), latency_ms)


_PROJECT = Project(3, 2, "p", ProjectSettings())
_NO_LIMITS = Limits()


class OneProject:
    """A directory. `limits` are the organization's and each key's; `changes` come with the next refresh."""

    def __init__(self, project: Project = _PROJECT, limits: Limits = _NO_LIMITS) -> None:
        self._project = project
        self.limits = limits
        self.changes: Limits | None = None

    organizations = ORGANIZATIONS

    def project(self, project_id: int) -> Project:
        return self._project

    def organization(self, organization_id: int) -> Organization:
        settings = OrganizationSettings(**self.limits.model_dump())
        return Organization(organization_id, "acme", settings)

    def budget(self, key_id: str) -> Budget:
        return Budget(2, 3, key_id, self.limits, key=self.limits)

    async def refresh(self) -> None:
        self.limits, self.changes = self.changes or self.limits, None


class HeldLease:
    def __init__(self) -> None:
        self.incarnation = "0" * 32

    def held_since(self, incarnation: str) -> bool:
        return incarnation == self.incarnation

    def lose(self) -> None:
        """The process stands still past its lease, and joins anew."""
        self.incarnation = "1" * 32


class Waiting:
    async def wait(self) -> None:
        """What DISPATCH awaits where somebody else is to end the attempt."""

    async def settled_up_to_now(self, state: State) -> bool:
        return True


class Bench:
    def __init__(self, *, policy: AnswerPolicy | None = None, **fields: Any) -> None:
        """`fields` of the job's state. The clock goes on by a millisecond a look, and by `later_ms`; that of
        the targets as ours does, and by `later_s`.
        """
        self.ledger = Ledger()
        self.lease = HeldLease()
        self.provider = Provider()
        self.producer = MemoryProducer()
        self.later_s = 0.0
        self.targets = targets(self.provider, lambda: time.monotonic() + self.later_s)
        self.later_ms = 0
        ticks = count(NOW_MS)
        self.cancels = MemoryCancels()
        own = dataclasses.replace(
            tools(self.producer, self.cancels), clock=lambda: next(ticks) + self.later_ms
        )
        self._sealer = own.sealer
        self.clock = own.clock
        self.metrics = own.metrics
        self.tombstones = own.tombstones
        self.dispatch = Dispatch(
            Settings(),
            own,
            cast(Directory, OneProject()),
            cast(AttemptBook, self.ledger),
            cast(Succession, Waiting()),
            cast(Lease, self.lease),
            self.targets,
            policy or Unrestricted(),
        )
        self.bring(**fields)

    def bring(self, tokens: bytes | None = None, **fields: Any) -> State:
        """Another job's record, with these fields of its state."""
        made = state(**fields)
        sealed = self._sealer.seal(topics.reserved(Lane.STANDARD), made, VALUE, tokens=tokens)
        self.record: Received = received(sealed)
        return made

    def open(self) -> Inner:
        return self._sealer.open(self.record)

    @property
    def token_key(self) -> bytes:
        return self._sealer.token_key

    @property
    def last(self) -> State:
        """The state of what was sent last."""
        return self._sealer.open(received(self.producer.sent[-1])).state

    async def handle(self, record: Incoming | None = None) -> bool:
        """As the pump does, until it passes. Whether the record is done with, or waits for somebody else."""
        for _ in range(5):
            try:
                later = await self.dispatch.handle([record or self.record])
            except Unavailable:
                continue
            if later is None:
                return True
            await later
        return False
