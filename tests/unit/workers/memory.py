"""What stages work with, in memory, and states with something in every field."""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, cast
from uuid import UUID

from broker.errors import DatabaseUnavailable, KafkaUnavailable
from broker.identity.settings import OrganizationSettings
from broker.identity.snapshot import Organization
from broker.kafka.producing import Producer
from broker.providers.registry import Providers
from broker.records import Outgoing, ReceivedHeaders, Sealer, partition_of
from broker.settings import ProviderTarget, Settings
from broker.store.attempts import AttemptFacts
from broker.store.cancels import Cancel, CancelRow
from broker.store.jobs import Jobs
from broker.store.keys import AttemptKey, JobKey, RunKey
from broker.store.parking import ParkedRow, Parking
from broker.store.reviews import End, ReviewRow, Reviews, Ruling, Verdict
from broker.telemetry.metrics import Metrics
from schemas.envelope import RetryPolicy
from schemas.state import Charge, Estimate, Hold, State
from schemas.terms import Rates, Terms
from schemas.topics import Coordinate, Lane
from workers.attempts import AttemptBook
from workers.lanes import LANE_WEIGHTS
from workers.outlets import Clock, Outlets
from workers.register import Register
from workers.review import Holding, Rulings
from workers.targets import Targets
from workers.tombstones import Tombstones
from workers.tools import Tools

NOW_MS = 1_700_000_000_000
SEAL_KEY = bytes(range(32))
PARTITIONS = 3
JOB = UUID(int=7)
ORGANIZATIONS = {2: Organization(2, "acme", OrganizationSettings())}
HOLD = Hold(
    id="c0" * 16, nanodollars=9_000, input_tokens=100, output_tokens=50, day=19_675, minute=28_333_333
)
TERMS = Terms(
    rates=Rates(input=30_000_000, cached_input=15_000_000, cache_write=30_000_000, output=120_000_000)
)
"""Under which the hold is enough for all the tokens that it is for."""


class Received(NamedTuple):
    """A fetched record."""

    topic: str
    value: bytes | None
    headers: ReceivedHeaders = ()
    partition: int = 0
    offset: int = 0
    timestamp: int = NOW_MS
    timestamp_type: int | None = 1
    key: bytes | None = None


class MemoryProducer:
    """Keeps what is sent, in order; `away` sends nothing."""

    def __init__(self) -> None:
        self.sent: list[Outgoing] = []
        self.away = False

    async def partitions(self, topic: str, least: int = 1) -> int | None:
        return PARTITIONS

    async def send(self, record: Outgoing) -> Coordinate:
        return (await self.send_all([record]))[0]

    async def send_all(self, records: Sequence[Outgoing]) -> list[Coordinate]:
        if self.away:
            raise KafkaUnavailable("away")
        start = len(self.sent)
        self.sent += records
        return [
            Coordinate(record.topic, partition_of(record.key or b"", PARTITIONS), offset)
            for offset, record in enumerate(records, start)
        ]


TARGET = ProviderTarget(base_url="http://127.0.0.1:1/v1")
OTHER = ProviderTarget(base_url="http://127.0.0.1:1/v1", models=["gpt-4o"])


def targets(providers: object, clock: Callable[[], float] = time.monotonic, **settings: Any) -> Targets:
    """Two: `own`, and `other` for gpt-4o."""
    given = Settings(providers={"own": TARGET, "other": OTHER}, **settings)
    return Targets(given, cast(Providers, providers), LANE_WEIGHTS, Metrics(), clock)


class MemoryCancels:
    """Jobs that are called off, each by a commit of its own. `away`: nothing can be read or entered."""

    def __init__(self) -> None:
        self.entered: list[Cancel] = []
        self.away = False
        self.refused = asyncio.Event()
        """Somebody has met it away."""

    async def enter(self, rows: Sequence[CancelRow]) -> None:
        known = {cancel.key for cancel in self.entered}
        for row in rows:
            if row.key not in known:
                self.entered.append(Cancel(row.key, row.until_ms, len(self.entered) + 1))

    async def beyond(self, revision: int) -> list[Cancel]:
        if self.away:
            self.refused.set()
            raise DatabaseUnavailable("away")
        return [cancel for cancel in self.entered if cancel.revision > revision]

    def call_off(self, job_id: UUID = JOB, until_ms: int = NOW_MS + 60_000) -> None:
        self.entered.append(Cancel(JobKey(1, job_id), until_ms, len(self.entered) + 1))


class MemoryReviews:
    """As `broker.store.reviews.Reviews`, whose contract `tests/contracts/store/test_reviews.py` has."""

    def __init__(self) -> None:
        self.rows: dict[RunKey, ReviewRow] = {}
        self.parked: list[ParkedRow] = []
        self.verdicts: dict[RunKey, Ruling] = {}

    async def hold(self, held: Sequence[tuple[ReviewRow, ParkedRow]]) -> None:
        for row, place in held:
            if row.key not in self.rows:
                self.rows[row.key] = row
                self.parked.append(place)

    async def known(self, keys: Collection[RunKey]) -> set[RunKey]:
        return {key for key in keys if key in self.rows}

    async def close(self, ends: Mapping[RunKey, End]) -> None:
        for key, verdict in ends.items():
            if key in self.rows:
                self.verdicts.setdefault(key, self._ruling(key, verdict, None))

    async def rulings(self, keys: Collection[RunKey]) -> dict[RunKey, Ruling]:
        return {
            key: self.verdicts.get(key) or self._ruling(key, None, None) for key in keys if key in self.rows
        }

    async def count(self) -> dict[str, int]:
        return {}

    def decide(self, said: Verdict, key: RunKey | None = None) -> None:
        """Of the only one, if nothing is said."""
        key = next(iter(self.rows)) if key is None else key
        self.verdicts.setdefault(key, self._ruling(key, said, "ann"))

    def _ruling(self, key: RunKey, verdict: Verdict | None, by: str | None) -> Ruling:
        row = self.rows[key]
        return Ruling(verdict, row.decision_id, row.rule, by, NOW_MS)


def holding(kit: Tools, reviews: MemoryReviews | None = None) -> Holding:
    index = cast(Parking, _Hastening())
    return Holding(kit, cast(Reviews, reviews or MemoryReviews()), index)


class NoneBegun:
    """Of no attempt anything is on record."""

    async def facts(self, key: AttemptKey) -> AttemptFacts:
        return AttemptFacts(None, None, charged=False, terminal=None, owner_alive=False)


def register(jobs: object, attempts: object | None = None) -> Register:
    """ADMIT's register, on stand-ins for the tables of jobs and of attempts."""
    return Register(cast(Jobs, jobs), cast(AttemptBook, attempts or NoneBegun()))


def rulings(kit: Tools, reviews: MemoryReviews | None = None) -> Rulings:
    return Rulings(kit, cast(Reviews, reviews or MemoryReviews()))


class _Hastening:
    async def hasten(self, keys: Collection[JobKey]) -> None:
        pass


def tools(
    producer: MemoryProducer, cancels: MemoryCancels | None = None, clock: Clock = lambda: NOW_MS
) -> Tools:
    sealer = Sealer(SEAL_KEY)
    outlets, metrics = Outlets(sealer, clock), Metrics()
    tombstones = Tombstones(cancels or MemoryCancels(), 1_000, clock, metrics)
    return Tools(cast(Producer, producer), sealer, outlets, clock, metrics, tombstones)


def received(record: Outgoing, partition: int = 0, offset: int = 0) -> Received:
    """As it is fetched again."""
    return Received(record.topic, record.value, record.headers, partition, offset, key=record.key)


def state(**fields: Any) -> State:
    known: dict[str, Any] = {
        "application": "shop",
        "application_id": 1,
        "organization_id": 2,
        "project_id": 3,
        "key_id": "key-1",
        "job_id": JOB,
        "lane": Lane.STANDARD,
        "origin": "jobs.standard/0/7",
        "value_sha256": "11" * 32,
        "appended_ms": NOW_MS - 1_000,
        "deadline_ms": NOW_MS + 60_000,
        "reply_to": "replies.shop/1/own",
        "endpoint": "/v1/chat/completions",
        "model": "gpt-4o-mini",
        "retry": RetryPolicy(attempts_max=3),
        "estimate": Estimate(
            nanodollars=9_000,
            input_tokens=100,
            output_tokens=50,
            price_version="2026-01-01.aa",
            terms=TERMS.packed(),
        ),
        "hold": HOLD,
    }
    return State(**known | fields)


def charge(attempt: int = 1, nanodollars: int = 0, **fields: Any) -> Charge:
    known: dict[str, Any] = {
        "attempt": attempt,
        "verdict": "failed",
        "hold": HOLD,
        "nanodollars": nanodollars,
        "price_version": "2026-01-01.aa",
        "target": "openai",
    }
    return Charge(**known | fields)
