"""The scripts against the rules in plain Python: any verbs, in any order, any number of times."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from fakeredis import FakeAsyncRedis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from redis.asyncio import Redis

from broker.errors import GateClosed
from broker.quota.budget import project_node
from broker.quota.calendar import DAY_MS, MINUTE_MS, Calendar
from broker.quota.counters import NodeOf
from broker.quota.gate import Release, StartRequest
from broker.quota.limits import REASONS, Limits
from broker.quota.redis_gate import RedisGate
from schemas.state import Hold, month_of
from tests.contracts.quota.harness import (
    KEY,
    NO_LIMITS,
    ORGANIZATION,
    PROJECT,
    Bench,
    Clock,
    MemoryLedger,
    budget_of,
    rebuilt,
    request,
    settle_of,
)
from tests.contracts.quota.model import Model

ZONE = "America/New_York"
PROJECTS, KEYS = (PROJECT, 2), (KEY, "b")
# Ten seconds before midnight in New York, so that windows turn in most of what is tried: the day, the month,
# and on to a day of 25 hours.
START_MS = int(datetime(2026, 11, 1, 4, tzinfo=UTC).timestamp()) * 1000 - 10_000
CAPS: dict[str, list[int | None]] = {
    "nanodollars_per_day": [None, 0, 100, 150],
    "requests_per_minute": [None, 0, 1, 3],
    "jobs_in_flight": [None, 0, 1, 2],
    "tokens_per_minute": [None, 0, 10, 45],
    "tokens_per_day": [None, 0, 30, 50],
    "tokens_per_month": [None, 0, 30, 60],
    "nanodollars_per_month": [None, 0, 160, 200],
}

ids = st.sampled_from(["a", "b", "c", "d", "e"])
projects = st.sampled_from(PROJECTS)
keys = st.sampled_from(KEYS)
amounts = st.sampled_from([0, 1, 40, 60, 100, 101])
tokens = st.sampled_from([0, 10, 20])
narrow = st.builds(Limits, **{name: st.sampled_from(caps) for name, caps in CAPS.items()})
limits = st.just(NO_LIMITS) | narrow
budgets = st.builds(budget_of, limits, project_id=projects, key_id=keys, organization=limits, key=limits)
ttls = st.sampled_from([1, 5_000, 100_000])
reserves = st.builds(
    request,
    ids,
    amounts,
    budget=budgets,
    ttl_ms=ttls,
    input_tokens=tokens,
    output_tokens=tokens,
    jobs_in_flight_max=st.sampled_from([None, 1, 3]),
)


class Latest:
    """What a worker would have at hand of a hold: the latest it was given, or one from nowhere."""

    def __init__(self, hold_id: str) -> None:
        minute, day = START_MS // MINUTE_MS, Calendar(ZONE).day(START_MS)
        self.hold = Hold(id=hold_id, nanodollars=40, input_tokens=1, output_tokens=1, day=day, minute=minute)
        self.project_id, self.key_id = PROJECT, KEY


class Machine(RuleBasedStateMachine):
    """`open_bench` gives a bench on an empty server; it is run on each kind of server."""

    open_bench: Callable[[], Bench]

    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        self.bench = type(self).open_bench()
        self.clock = self.bench.clock
        self.model = Model(self.clock.now_ms, Calendar(ZONE))
        self.latest: dict[str, Latest] = {}
        self.run(self.bench.open())

    def run(self, work: Any) -> Any:
        return self.runner.run(work)

    def teardown(self) -> None:
        if hasattr(self, "bench"):
            self.run(self.bench.forget_all())
            self.run(self.bench.client.aclose())
            self.runner.close()

    @rule(chosen=st.lists(ids, min_size=1, max_size=3))
    def release(self, chosen: list[str]) -> None:
        releases = [Release(hold_id, ORGANIZATION) for hold_id in chosen]
        for one in releases:
            self.model.release(one)
        self.run(self.bench.gate.release(releases))

    @rule(passed_ms=st.sampled_from([1, 4_999, 10_000, MINUTE_MS, DAY_MS // 2, DAY_MS, 25 * DAY_MS]))
    def time_passes(self, passed_ms: int) -> None:
        self.clock.now_ms += passed_ms
        self.model.now_ms = self.clock.now_ms

    @rule()
    def everything_is_lost(self) -> None:
        self.run(self.bench.forget_all())
        with pytest.raises(GateClosed):
            self.run(self.bench.gate.reserve([request("a")]))
        ledger = MemoryLedger(self.model.charges, self.model.unsettled())
        self.run(rebuilt(self.bench.gate, ledger))
        self.model.lose()

    @invariant()
    def counters_agree(self) -> None:
        if hasattr(self, "bench"):
            # Fields of closed windows go away only when their node is next used.
            found = self.model.of_open_windows(self.run(self.bench.tree()))
            assert found == self.model.tree()

    def reserve_all(self, requests: list[Any]) -> None:
        expected = [self.model.reserve(one) for one in requests]
        answers = self.run(self.bench.gate.reserve(requests))
        assert answers == expected
        self.note(requests, answers)

    def start_all(self, requests: list[StartRequest]) -> None:
        expected = [self.model.start(one) for one in requests]
        answers = self.run(self.bench.gate.start(requests))
        assert answers == expected
        self.note(requests, answers)

    def settle_all(self, chosen: list[tuple[str, int, int]]) -> None:
        settlements = [self.settlement(*each) for each in chosen]
        for one in settlements:
            self.model.settle(one)
        self.run(self.bench.gate.settle(settlements))

    def settlement(self, hold_id: str, nanodollars: int, tokens: int) -> Any:
        known = self.known(hold_id)
        return settle_of(known.hold, nanodollars, tokens, project_id=known.project_id, key_id=known.key_id)

    def known(self, hold_id: str) -> Latest:
        return self.latest.get(hold_id) or Latest(hold_id)

    def note(self, requests: list[Any], answers: list[Any]) -> None:
        for one, answer in zip(requests, answers, strict=True):
            if hasattr(answer, "hold"):
                taken = self.model.taken.get(answer.hold.id)
                latest = self.latest.setdefault(answer.hold.id, Latest(answer.hold.id))
                latest.hold = answer.hold
                latest.project_id = taken.project_id if taken else one.budget.project_id
                latest.key_id = taken.key_id if taken else one.budget.key_id


class AnyVerbs(Machine):
    """Limits change from request to request, and costs may exceed what was held."""

    @rule(requests=st.lists(reserves, min_size=1, max_size=4))
    def reserve(self, requests: list[Any]) -> None:
        self.reserve_all(requests)

    @rule(chosen=st.lists(ids, min_size=1, max_size=3), budget=budgets)
    def start(self, chosen: list[str], budget: Any) -> None:
        self.start_all([StartRequest(self.known(hold_id).hold, budget) for hold_id in chosen])

    @rule(chosen=st.lists(st.tuples(ids, amounts, tokens), min_size=1, max_size=3))
    def settle(self, chosen: list[tuple[str, int, int]]) -> None:
        self.settle_all(chosen)

    @rule(chosen=st.lists(projects, min_size=1, max_size=3))
    def jobs_in_flight(self, chosen: list[int]) -> None:
        expected = [self.model.jobs_in_flight(project_id) for project_id in chosen]
        asked = [NodeOf(ORGANIZATION, project_node(project_id)) for project_id in chosen]
        assert self.run(self.bench.gate.jobs_in_flight(asked)) == expected


class WithinCaps(Machine):
    """As workers do it: limits stay, only started holds are settled, and a cost is within its hold."""

    @initialize(organization=limits, own=st.tuples(limits, limits), of_keys=st.tuples(limits, limits))
    def limit(self, organization: Limits, own: tuple[Limits, Limits], of_keys: tuple[Limits, Limits]) -> None:
        self.limits = {"o": organization}
        self.limits |= {f"p{project_id}": each for project_id, each in zip(PROJECTS, own, strict=True)}
        self.limits |= {f"k{key_id}": each for key_id, each in zip(KEYS, of_keys, strict=True)}

    def budget(self, project_id: int, key_id: str) -> Any:
        mine, its_key = self.limits[f"p{project_id}"], self.limits[f"k{key_id}"]
        return budget_of(
            mine, project_id=project_id, key_id=key_id, organization=self.limits["o"], key=its_key
        )

    @rule(
        chosen=st.lists(st.tuples(ids, amounts, tokens, projects, keys), min_size=1, max_size=4), ttl_ms=ttls
    )
    def reserve(self, chosen: list[tuple[str, int, int, int, str]], ttl_ms: int) -> None:
        self.reserve_all(
            [
                request(
                    name, amount, budget=self.budget(project_id, key_id), input_tokens=size, ttl_ms=ttl_ms
                )
                for name, amount, size, project_id, key_id in chosen
            ]
        )

    @rule(chosen=st.lists(ids, min_size=1, max_size=3))
    def start(self, chosen: list[str]) -> None:
        known = [self.known(hold_id) for hold_id in chosen]
        self.start_all([StartRequest(one.hold, self.budget(one.project_id, one.key_id)) for one in known])

    @rule(chosen=st.lists(st.tuples(ids, st.sampled_from([0, 1, 2])), min_size=1, max_size=3))
    def settle(self, chosen: list[tuple[str, int]]) -> None:
        started = {name: taken.hold for name, taken in self.model.taken.items() if taken.started}
        self.settle_all(
            [
                (name, started[name].nanodollars * share // 2, started[name].tokens * share // 2)
                for name, share in dict(chosen).items()
                if name in started
            ]
        )

    @invariant()
    def nothing_exceeds_its_cap(self) -> None:
        if not hasattr(self, "limits"):
            return
        day, month = f"d:{self.model.day}", f"m:{month_of(self.model.day)}"
        for name, fields in self.run(self.bench.tree()).items():
            spent, held, used, tokens_held = fields.get(day, (0,) * 4)
            month_spent, month_held, month_used, month_tokens_held = fields.get(month, (0,) * 4)
            requests, minute_tokens = fields.get(f"i:{self.model.minute}", (0, 0))
            (jobs,) = fields.get("jobs", (0,))
            counted = {
                "nanodollars_per_day": spent + held,
                "requests_per_minute": requests,
                "jobs_in_flight": jobs,
                "tokens_per_minute": minute_tokens,
                "tokens_per_day": used + tokens_held,
                "tokens_per_month": month_used + month_tokens_held,
                "nanodollars_per_month": month_spent + month_held,
            }
            caps = {reason: getattr(self.limits[name], reason) for reason in REASONS}
            assert all(cap is None or counted[reason] <= cap for reason, cap in caps.items()), (name, counted)


def bench_on(kind: str, client: Redis) -> Bench:
    prefix, clock = f"test-{uuid4().hex}", Clock(START_MS)
    make = RedisGate.embedded if kind == "embedded" else RedisGate
    gate = make(client, prefix, time_zone_of=lambda _: ZONE, clock=clock)
    return Bench(kind, client, prefix, clock, MemoryLedger(), [gate])


def check(machine: type[RuleBasedStateMachine], examples: int) -> None:
    run_state_machine_as_test(
        machine, settings=settings(max_examples=examples, stateful_step_count=25, deadline=None)
    )


@pytest.mark.parametrize("machine", [AnyVerbs, WithinCaps])
def test_the_embedded_gate_follows_the_rules(machine: type[Machine]) -> None:
    class OnFake(machine):  # type: ignore[misc, valid-type]
        open_bench = staticmethod(lambda: bench_on("embedded", FakeAsyncRedis()))

    check(OnFake, 25)


@pytest.mark.parametrize("machine", [AnyVerbs, WithinCaps])
def test_the_gate_on_redis_follows_the_rules(machine: type[Machine], redis_server: Any) -> None:
    class OnRedis(machine):  # type: ignore[misc, valid-type]
        open_bench = staticmethod(lambda: bench_on("redis", Redis.from_url(redis_server.url)))

    check(OnRedis, 75)
