"""A project's own prices, from ADMIT's estimate to DISPATCH's charge, with everything outside in memory."""

import hashlib
import uuid
from collections.abc import Sequence
from typing import cast

import orjson
import pytest

from broker.errors import DirectoryBehind
from broker.identity.directory import Directory, Key, Project, ProjectSettings
from broker.policy.decide import Unrestricted
from broker.pricing.book import InputBound, ModelPrice, PriceBook
from broker.pricing.project_books import ProjectBooks
from broker.providers.provider import Answer, Call, Result
from broker.providers.routes import Routes, Target
from broker.quota.budget import Budget
from broker.quota.gate import Granted, StartRequest
from broker.records import Outgoing
from broker.settings import ProviderTarget, Settings
from broker.store.attempts import AttemptFacts, AttemptRow
from broker.store.cancels import Cancels
from broker.store.jobs import JobRow, Seen
from broker.store.keys import AttemptKey
from schemas import topics
from schemas.outcomes import Answered, Refused
from schemas.reasons import Disbelief, Refusal
from schemas.state import Hold, State, Usage
from schemas.terms import Rates
from schemas.topics import Lane
from tests.unit.workers.memory import (
    NOW_MS,
    ORGANIZATIONS,
    MemoryCancels,
    MemoryProducer,
    holding,
    received,
    register,
    targets,
    tools,
)
from tests.unit.workers.signing import KEY, signed
from workers.admit import Admit
from workers.attempts import AttemptBook
from workers.dispatch import Dispatch
from workers.lease import Lease
from workers.succession import Succession

SHIPPED = PriceBook.load()
USAGE = Usage(input_tokens=10, output_tokens=200)


def price(rate: int, model: str = "in-house") -> ModelPrice:
    """Bounded, so that a budget may be hard."""
    return ModelPrice(
        model=model,
        provider="own",
        endpoint="/v1/chat/completions",
        rates=Rates(input=rate, cached_input=rate, cache_write=rate, output=2 * rate),
        input_bound=InputBound(kind="utf8_bytes"),
    )


class MemoryDirectory:
    """One project. `coming` is what the next refresh finds."""

    def __init__(self, *prices: ModelPrice) -> None:
        self.set(*prices)
        self.coming: tuple[ModelPrice, ...] | None = None
        self.refreshed = 0

    def set(self, *prices: ModelPrice) -> None:
        self._project = Project(3, 2, "p", ProjectSettings(prices=prices, nanodollars_per_day=10**15))

    def key(self, key_id: str) -> Key | None:
        return KEY if key_id == KEY.id else None

    organizations = ORGANIZATIONS

    def project(self, project_id: int) -> Project:
        if project_id != self._project.id:
            raise DirectoryBehind("not yet")
        return self._project

    def budget(self, key_id: str) -> Budget:
        if key_id != KEY.id:
            raise DirectoryBehind("not yet")
        return Budget(2, 3, key_id, project=self._project.settings)

    async def refresh(self) -> None:
        self.refreshed += 1
        if self.coming is not None:
            self.set(*self.coming)


class MemoryJobs:
    async def register(self, rows: Sequence[JobRow]) -> list[Seen]:
        return [Seen.NEW] * len(rows)


class MemoryAttempts:
    """Every attempt is new, and its hold is as good as it was."""

    def __init__(self) -> None:
        self.intents: list[AttemptRow] = []

    async def begin(self, row: AttemptRow) -> bool:
        self.intents.append(row)
        return True

    async def start(self, request: StartRequest) -> Granted:
        return Granted(request.hold, started=True)

    async def facts(self, key: AttemptKey) -> AttemptFacts:
        return AttemptFacts(None, None, False, None, False)


class MemoryProviders:
    def __init__(self, usage: Usage | Disbelief) -> None:
        self.routes = Routes({"own": ProviderTarget(base_url="http://127.0.0.1:1/v1")})
        self.calls: list[Call] = []
        self._usage = usage

    async def call(self, target: Target, call: Call) -> Result:
        self.calls.append(call)
        return Answer(200, b"{}", self._usage, hashlib.sha256(b"{}").hexdigest(), 5)


class HeldLease:
    incarnation = "0" * 32

    def held_since(self, incarnation: str) -> bool:
        return True


class Way:
    """ADMIT and DISPATCH over one directory, and RESERVE's part between them: a hold as estimated."""

    def __init__(
        self, *prices: ModelPrice, usage: Usage | Disbelief = USAGE, book: PriceBook = SHIPPED
    ) -> None:
        self.directory = MemoryDirectory(*prices)
        self.producer = MemoryProducer()
        self.attempts = MemoryAttempts()
        self.providers = MemoryProviders(usage)
        self.tools = tools(self.producer)
        directory, books = cast(Directory, self.directory), ProjectBooks(book)
        jobs, cancels = register(MemoryJobs()), cast(Cancels, MemoryCancels())
        self.admit = Admit(
            Settings(), self.tools, directory, books, Unrestricted(), jobs, cancels, holding(self.tools)
        )
        self.dispatch = Dispatch(
            Settings(),
            self.tools,
            directory,
            cast(AttemptBook, self.attempts),
            cast(Succession, None),
            cast(Lease, HeldLease()),
            targets(self.providers),
            Unrestricted(),
        )

    async def admitted(self, model: str = "in-house") -> State:
        request = {"model": model, "messages": [{"role": "user", "content": "Name a canal."}]}
        value = orjson.dumps({"version": 1, "endpoint": "/v1/chat/completions", "request": request})
        self.record = signed(value, job_id=uuid.uuid4())
        await self.admit.handle([self.record])
        return self._state_of(self.producer.sent[-1])

    async def dispatched(self, state: State) -> State:
        estimate = state.estimate
        assert estimate is not None
        hold = Hold(
            id="c0" * 16,
            nanodollars=estimate.nanodollars,
            input_tokens=estimate.input_tokens,
            output_tokens=estimate.output_tokens,
            day=NOW_MS // 86_400_000,
            minute=NOW_MS // 60_000,
        )
        held = state.model_copy(update={"hold": hold})
        sealed = self.tools.sealer.seal(topics.reserved(Lane.STANDARD), held, self.record.value or b"")
        assert await self.dispatch.handle([received(sealed)]) is None
        return self._state_of(self.producer.sent[-1])

    def _state_of(self, record: Outgoing) -> State:
        return self.tools.sealer.open(received(record)).state


def version(*prices: ModelPrice) -> str:
    return SHIPPED.with_overrides(prices).version


async def test_estimate_hold_and_charge_are_by_the_project_s_price() -> None:
    way, own = Way(price(3_000_000_000)), price(3_000_000_000)
    state = await way.admitted()
    estimate = state.estimate
    assert state.outcome is None
    assert estimate is not None
    assert estimate.price_version == version(own)
    assert estimate.nanodollars == 3_000 * estimate.input_tokens + 6_000 * estimate.output_tokens
    ended = await way.dispatched(state)
    [charge] = ended.charges
    assert isinstance(ended.outcome, Answered)
    assert charge.nanodollars == 3_000 * 10 + 6_000 * 200
    assert charge.price_version == version(own) == way.attempts.intents[0].price_version


async def test_a_project_s_terms_come_before_the_book_s() -> None:
    dear = Way(price(9_000_000_000, "gpt-4o-mini"))
    [charge] = (await dear.dispatched(await dear.admitted("gpt-4o-mini"))).charges
    assert charge.nanodollars == 9_000 * 10 + 18_000 * 200
    plain = Way()
    [charge] = (await plain.dispatched(await plain.admitted("gpt-4o-mini"))).charges
    assert charge.price_version == SHIPPED.version
    assert charge.nanodollars == 150 * 10 + 600 * 200


async def test_a_model_that_nobody_prices_is_refused_at_the_door() -> None:
    state = await Way().admitted()
    assert state.outcome == Refused(reason=Refusal.UNKNOWN_MODEL, stage="admit")


async def test_without_usage_the_hold_is_charged() -> None:
    way = Way(price(3_000_000_000), usage=Disbelief.USAGE_MISSING)
    state = await way.admitted()
    [charge] = (await way.dispatched(state)).charges
    assert state.estimate is not None
    assert (charge.nanodollars, charge.estimated) == (state.estimate.nanodollars, True)


async def test_a_job_is_charged_by_the_prices_of_its_hold_whatever_changes_meanwhile() -> None:
    for changed in ((price(2_000_000_000),), (price(9_000_000_000),), ()):
        way, own = Way(price(3_000_000_000)), price(3_000_000_000)
        state = await way.admitted()
        way.directory.set(*changed)
        [charge] = (await way.dispatched(state)).charges
        assert charge.nanodollars == 3_000 * 10 + 6_000 * 200
        assert charge.price_version == version(own) == way.attempts.intents[0].price_version


async def test_a_worker_that_starts_with_another_book_charges_by_the_prices_of_the_hold() -> None:
    before, after = Way(), Way(book=SHIPPED.with_overrides([price(9_000_000_000, "gpt-4o-mini")]))
    state = await before.admitted("gpt-4o-mini")
    [own] = (await before.dispatched(state)).charges
    after.record = before.record
    [charge] = (await after.dispatched(state)).charges
    assert charge == own
    assert charge.price_version == SHIPPED.version
    again = await after.admitted("gpt-4o-mini")
    [dearer] = (await after.dispatched(again)).charges
    assert dearer.price_version != SHIPPED.version
    assert dearer.nanodollars == 9_000 * 10 + 18_000 * 200 > charge.nanodollars


async def test_a_call_is_charged_by_the_tier_in_which_it_was_served() -> None:
    tiered = price(3_000_000_000).model_copy(update={"service_tiers": {"flex": 50, "priority": 200}})
    for served, cost in (("flex", 615_000), (None, 1_230_000)):
        way = Way(tiered, usage=USAGE.model_copy(update={"service_tier": served}))
        state = await way.admitted()
        [charge] = (await way.dispatched(state)).charges
        assert (charge.nanodollars, charge.estimated) == (cost, False)
        assert orjson.loads(way.providers.calls[0].body)["service_tier"] == "default"


async def test_a_key_that_dispatch_has_not_read_yet_is_waited_for() -> None:
    way = Way(price(3_000_000_000))
    state = await way.admitted()
    with pytest.raises(DirectoryBehind) as caught:
        await way.dispatched(state.model_copy(update={"key_id": "new"}))
    assert caught.value.retryable
    assert way.providers.calls == []
