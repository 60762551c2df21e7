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
from broker.pricing.book import InputBound, ModelPrice, PriceBook, Rates
from broker.pricing.project_books import ProjectBooks
from broker.providers.provider import Answer, Call, Result
from broker.providers.routes import Routes, Target
from broker.quota.gate import Granted, StartRequest
from broker.records import Outgoing
from broker.settings import ProviderTarget, Settings
from broker.store.attempts import AttemptFacts, AttemptRow
from broker.store.cancels import Cancels
from broker.store.jobs import JobRow, Jobs, Seen
from broker.store.keys import AttemptKey
from schemas import topics
from schemas.outcomes import Answered, Refused
from schemas.reasons import Refusal
from schemas.state import Hold, State, Usage
from schemas.topics import Lane
from tests.unit.workers.memory import NOW_MS, MemoryCancels, MemoryProducer, received, targets, tools
from tests.unit.workers.signing import KEY, signed
from workers.admit import Admit
from workers.attempts import AttemptBook
from workers.dispatch import Dispatch
from workers.lease import Lease
from workers.succession import Succession

SHIPPED = PriceBook.load()
USAGE = Usage(input_tokens=1_000, output_tokens=2_000)


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

    def project(self, project_id: int) -> Project:
        if project_id != self._project.id:
            raise DirectoryBehind("not yet")
        return self._project

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
    def __init__(self, usage: Usage | None) -> None:
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

    def __init__(self, *prices: ModelPrice, usage: Usage | None = USAGE) -> None:
        self.directory = MemoryDirectory(*prices)
        self.producer = MemoryProducer()
        self.attempts = MemoryAttempts()
        self.providers = MemoryProviders(usage)
        self.tools = tools(self.producer)
        directory, books = cast(Directory, self.directory), ProjectBooks(SHIPPED)
        jobs, cancels = cast(Jobs, MemoryJobs()), cast(Cancels, MemoryCancels())
        self.admit = Admit(Settings(), self.tools, directory, books, Unrestricted(), jobs, cancels)
        self.dispatch = Dispatch(
            Settings(),
            self.tools,
            directory,
            books,
            cast(AttemptBook, self.attempts),
            cast(Succession, None),
            cast(Lease, HeldLease()),
            targets(self.providers),
        )

    async def admitted(self, model: str = "in-house") -> State:
        request = {"model": model, "messages": [{"role": "user", "content": "Name a canal."}]}
        value = orjson.dumps({"version": 1, "endpoint": "/v1/chat/completions", "request": request})
        self._record = signed(value, job_id=uuid.uuid4())
        await self.admit.handle([self._record])
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
        sealed = self.tools.sealer.seal(topics.reserved(Lane.STANDARD), held, self._record.value or b"")
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
    assert charge.nanodollars == 3_000 * 1_000 + 6_000 * 2_000
    assert charge.price_version == version(own) == way.attempts.intents[0].price_version


async def test_a_project_s_terms_come_before_the_book_s() -> None:
    dear = Way(price(9_000_000_000, "gpt-4o-mini"))
    [charge] = (await dear.dispatched(await dear.admitted("gpt-4o-mini"))).charges
    assert charge.nanodollars == 9_000 * 1_000 + 18_000 * 2_000
    plain = Way()
    [charge] = (await plain.dispatched(await plain.admitted("gpt-4o-mini"))).charges
    assert charge.price_version == SHIPPED.version
    assert charge.nanodollars < 9_000 * 1_000


async def test_a_model_that_nobody_prices_is_refused_at_the_door() -> None:
    state = await Way().admitted()
    assert state.outcome == Refused(reason=Refusal.UNKNOWN_MODEL, stage="admit")


async def test_without_usage_the_hold_is_charged() -> None:
    way = Way(price(3_000_000_000), usage=None)
    state = await way.admitted()
    [charge] = (await way.dispatched(state)).charges
    assert state.estimate is not None
    assert (charge.nanodollars, charge.estimated) == (state.estimate.nanodollars, True)


async def test_a_change_between_the_stages_is_charged_and_told_by_its_version() -> None:
    way, new = Way(price(3_000_000_000)), price(2_000_000_000)
    state = await way.admitted()
    way.directory.set(new)
    [charge] = (await way.dispatched(state)).charges
    assert charge.nanodollars == 2_000 * 1_000 + 4_000 * 2_000
    assert charge.price_version == version(new)


async def test_a_price_that_dispatch_has_not_read_yet_is_looked_for() -> None:
    way, own = Way(price(3_000_000_000)), price(3_000_000_000)
    state = await way.admitted()
    way.directory.set()
    way.directory.coming = (own,)
    [charge] = (await way.dispatched(state)).charges
    assert charge.price_version == version(own)
    assert way.directory.refreshed == 1


async def test_what_has_lost_its_price_is_refused_uncalled() -> None:
    way = Way(price(3_000_000_000))
    state = await way.admitted()
    way.directory.set()
    ended = await way.dispatched(state)
    assert ended.outcome == Refused(reason=Refusal.UNKNOWN_MODEL, stage="dispatch")
    assert ended.charges == ()
    assert way.providers.calls == []
    assert way.attempts.intents == []


async def test_a_project_that_dispatch_has_not_read_yet_is_waited_for() -> None:
    way = Way(price(3_000_000_000))
    state = await way.admitted()
    with pytest.raises(DirectoryBehind) as caught:
        await way.dispatched(state.model_copy(update={"project_id": 4}))
    assert caught.value.retryable
    assert way.providers.calls == []
