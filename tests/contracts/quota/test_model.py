"""The scripts against the rules in plain Python: any verbs, in any order, any number of times."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from fakeredis import FakeAsyncRedis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from redis.asyncio import Redis

from broker.errors import GateClosed
from broker.quota.gate import ProjectOf, Release, Settlement, StartRequest
from broker.quota.limits import DAY_MS, MINUTE_MS, Limits, day_of, first_open_day, minute_of
from broker.quota.redis_gate import RedisGate
from schemas.state import Hold
from tests.contracts.quota.harness import ORGANIZATION, Bench, Clock, MemoryLedger, rebuilt, request
from tests.contracts.quota.model import Model

PROJECTS = (1, 2)
# Ten seconds before midnight, so that windows turn in most of what is tried.
START_MS = 20_001 * DAY_MS - 10_000

ids = st.sampled_from(["a", "b", "c", "d", "e"])
projects = st.sampled_from(PROJECTS)
amounts = st.sampled_from([0, 1, 40, 60, 100, 101])
limits = st.builds(
    Limits,
    nanodollars_per_day=st.sampled_from([None, 0, 100, 150]),
    requests_per_minute=st.sampled_from([None, 0, 1, 3]),
    jobs_in_flight=st.sampled_from([None, 0, 1, 2]),
)
reserves = st.builds(
    request,
    ids,
    amounts,
    limits,
    project_id=projects,
    ttl_ms=st.sampled_from([1, 5_000, 100_000]),
)


class GateMachine(RuleBasedStateMachine):
    """`open_bench` gives a bench on an empty server; it is run on each kind of server."""

    open_bench: Callable[[], Bench]

    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        self.bench = type(self).open_bench()
        self.clock = self.bench.clock
        self.model = Model(self.clock.now_ms)
        self.latest: dict[str, tuple[int, Hold]] = {}
        self.run(self.bench.open())

    def run(self, work: Any) -> Any:
        return self.runner.run(work)

    def teardown(self) -> None:
        if hasattr(self, "bench"):
            self.run(self.bench.forget_all())
            self.run(self.bench.client.aclose())
            self.runner.close()

    @rule(requests=st.lists(reserves, min_size=1, max_size=4))
    def reserve(self, requests: list[Any]) -> None:
        expected = [self.model.reserve(one) for one in requests]
        answers = self.run(self.bench.gate.reserve(requests))
        assert answers == expected
        self.note(requests, answers)

    @rule(chosen=st.lists(ids, min_size=1, max_size=3), limits=limits)
    def start(self, chosen: list[str], limits: Limits) -> None:
        holds = [self.hold(hold_id) for hold_id in chosen]
        requests = [StartRequest(hold, ORGANIZATION, project_id, limits) for project_id, hold in holds]
        expected = [self.model.start(one) for one in requests]
        answers = self.run(self.bench.gate.start(requests))
        assert answers == expected
        self.note(requests, answers)

    @rule(chosen=st.lists(st.tuples(ids, amounts), min_size=1, max_size=3))
    def settle(self, chosen: list[tuple[str, int]]) -> None:
        settlements = []
        for hold_id, nanodollars in chosen:
            project_id, hold = self.hold(hold_id)
            settlements.append(Settlement(hold, ORGANIZATION, project_id, nanodollars))
        for one in settlements:
            self.model.settle(one)
        self.run(self.bench.gate.settle(settlements))

    @rule(chosen=st.lists(ids, min_size=1, max_size=3))
    def release(self, chosen: list[str]) -> None:
        releases = [Release(hold_id, ORGANIZATION) for hold_id in chosen]
        for one in releases:
            self.model.release(one)
        self.run(self.bench.gate.release(releases))

    @rule(chosen=st.lists(projects, min_size=1, max_size=3))
    def jobs_in_flight(self, chosen: list[int]) -> None:
        expected = [self.model.jobs_in_flight(project_id) for project_id in chosen]
        asked = [ProjectOf(project_id, ORGANIZATION) for project_id in chosen]
        assert self.run(self.bench.gate.jobs_in_flight(asked)) == expected

    @rule(passed_ms=st.sampled_from([1, 4_999, 10_000, MINUTE_MS, DAY_MS // 2, DAY_MS]))
    def time_passes(self, passed_ms: int) -> None:
        self.clock.now_ms += passed_ms
        self.model.now_ms = self.clock.now_ms

    @rule()
    def everything_is_lost(self) -> None:
        self.run(self.bench.forget_all())
        with pytest.raises(GateClosed):
            self.run(self.bench.gate.reserve([request("a")]))
        ledger = MemoryLedger(self.model.charged(), self.model.unsettled(), PROJECTS)
        self.run(rebuilt(self.bench.gate, ledger))
        self.model.lose()

    @invariant()
    def counters_agree(self) -> None:
        if not hasattr(self, "bench"):
            return
        for project_id in PROJECTS:
            found = self.run(self.bench.counters(project_id))
            assert self.run(self.bench.jobs(project_id)) == self.model.jobs(project_id)
            # Fields of closed windows go away only when their node is next used.
            assert {name: value for name, value in found.items() if self.is_open(name)} == self.expected(
                project_id
            )

    def is_open(self, name: str) -> bool:
        window, number, _ = name.split(":")
        now_ms = self.clock.now_ms
        return int(number) >= (first_open_day(now_ms) if window == "d" else minute_of(now_ms))

    def expected(self, project_id: int) -> dict[str, int]:
        model, now_ms = self.model, self.clock.now_ms
        found = {f"m:{minute_of(now_ms)}:requests": model.requests[project_id, minute_of(now_ms)]}
        for day in (first_open_day(now_ms), day_of(now_ms)):
            found[f"d:{day}:spent"] = model.spent[project_id, day]
            found[f"d:{day}:held"] = model.held[project_id, day]
        return {name: value for name, value in found.items() if value}

    def hold(self, hold_id: str) -> tuple[int, Hold]:
        """The hold that a worker would have at hand: the latest it was given, or one from nowhere."""
        day, minute = day_of(START_MS), minute_of(START_MS)
        unknown = Hold(id=hold_id, nanodollars=40, input_tokens=1, output_tokens=1, day=day, minute=minute)
        return self.latest.get(hold_id, (1, unknown))

    def note(self, requests: list[Any], answers: list[Any]) -> None:
        for one, answer in zip(requests, answers, strict=True):
            if hasattr(answer, "hold"):
                project_id = self.latest.get(answer.hold.id, (one.project_id,))[0]
                taken = self.model.taken.get(answer.hold.id)
                self.latest[answer.hold.id] = taken.project_id if taken else project_id, answer.hold


def bench_on(kind: str, client: Redis) -> Bench:
    prefix, clock = f"test-{uuid4().hex}", Clock(START_MS)
    make = RedisGate.embedded if kind == "embedded" else RedisGate
    return Bench(kind, client, prefix, clock, MemoryLedger(), [make(client, prefix, clock=clock)])


def check(machine: type[RuleBasedStateMachine], examples: int) -> None:
    run_state_machine_as_test(
        machine, settings=settings(max_examples=examples, stateful_step_count=25, deadline=None)
    )


def test_the_embedded_gate_follows_the_rules() -> None:
    class OnFake(GateMachine):
        open_bench = staticmethod(lambda: bench_on("embedded", FakeAsyncRedis()))

    check(OnFake, 40)


def test_the_gate_on_redis_follows_the_rules(redis_server: Any) -> None:
    class OnRedis(GateMachine):
        open_bench = staticmethod(lambda: bench_on("redis", Redis.from_url(redis_server.url)))

    check(OnRedis, 100)
