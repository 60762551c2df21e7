"""Who stands behind whom at RESERVE, and who is woken when there is room."""

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest

from broker.errors import DatabaseUnavailable
from broker.identity.directory import Directory, Project, ProjectSettings
from broker.quota.counters import NodeOf
from broker.quota.gate import Gate, Granted, Over, ReserveRequest
from broker.quota.limits import LEVELS, Level, Limits
from broker.quota.lines import CROWDED, LINE_CODES
from broker.settings import ReserveSettings, Settings
from broker.store.crowds import Waiting
from broker.store.keys import JobKey
from broker.store.parking import ParkedRow, Parking
from schemas import topics
from schemas.state import State
from schemas.topics import Lane
from tests.unit.workers.dispatching import OneProject
from tests.unit.workers.engine.turning import until
from tests.unit.workers.memory import HOLD, NOW_MS, MemoryProducer, received, state, tools
from workers.crowds import Crowds, Room
from workers.reserve import Reserve

MAX = 2


class Index:
    """The lines in which jobs wait for room; also where RESERVE enters what it parks."""

    def __init__(self, *lines: str, waiting: int = 9) -> None:
        self.names = list(lines)
        self.waiting = waiting
        self.is_away = False
        self.fault: Exception | None = None
        self.rows: list[ParkedRow] = []

    async def lines(self) -> list[str]:
        if self.is_away:
            raise DatabaseUnavailable("away")
        if self.fault is not None:
            raise self.fault
        return self.names

    crowded = lines

    async def first(self, line: str, partitions: Sequence[int], limit: int) -> list[ParkedRow]:
        return [row(line, offset) for offset in range(min(limit, self.waiting))]

    async def park(self, rows: Sequence[ParkedRow]) -> None:
        self.rows += rows

    async def hasten(self, keys: Sequence[JobKey]) -> None:
        assert list(keys) == []


class Counting:
    """A gate that has room for MAX jobs."""

    def __init__(self, *in_flight: int) -> None:
        self.in_flight = list(in_flight)
        self.asked: list[ReserveRequest] = []
        self.full = Over(CROWDED, "project", NOW_MS, never=False, held=True)

    async def jobs_in_flight(self, nodes: Sequence[NodeOf]) -> list[int]:
        return self.in_flight[: len(nodes)]

    async def reserve(self, requests: Sequence[ReserveRequest]) -> list[Granted | Over]:
        self.asked += requests
        return [
            Granted(HOLD, started=False) if number < (one.jobs_in_flight_max or 99) else self.full
            for number, one in enumerate(requests)
        ]


def row(line: str, offset: int) -> ParkedRow:
    job = state().job_id
    return ParkedRow(0, offset, 1, job, 1, 1, 3, "standard", NOW_MS, CROWDED, NOW_MS, 2, line)


def room(lines: Index, gate: Counting, jobs_in_flight_max: int, directory: OneProject | None = None) -> Room:
    waiting, known = cast(Waiting, lines), cast(Directory, directory or OneProject())
    return Room(waiting, cast(Gate, gate), known, ReserveSettings(jobs_in_flight_max=jobs_in_flight_max))


class Desk:
    """RESERVE with room for MAX jobs of a project, and what it sent."""

    def __init__(self) -> None:
        self.producer, self.gate, self.index = MemoryProducer(), Counting(), Index()
        self.tools = tools(self.producer)
        self.crowds = Crowds(self.index, 1.0, self.tools.metrics)
        settings = Settings(reserve=ReserveSettings(jobs_in_flight_max=MAX))
        directory, parking = cast(Directory, OneProject()), cast(Parking, self.index)
        self.stage = Reserve(settings, self.tools, directory, cast(Gate, self.gate), parking, self.crowds)

    async def handle(self, *states: State) -> list[State]:
        """The states that went out, of this batch alone."""
        self.producer.sent.clear()
        topic = topics.admitted(Lane.STANDARD)
        await self.stage.handle([received(self.tools.sealer.seal(topic, one, b"{}")) for one in states])
        return [self.tools.sealer.open(received(sent)).state for sent in self.producer.sent]

    @property
    def sent_to(self) -> list[str]:
        return [sent.topic for sent in self.producer.sent]


MINE = "2/p3"
LINES = [
    (MINE, "jobs_in_flight"),
    ("2/o", "organization_jobs_in_flight"),
    (f"2/k{state().key_id}", "key_jobs_in_flight"),
]
RESERVED, PARKED = topics.reserved(Lane.STANDARD), topics.PARKED


async def test_whoever_finds_no_room_waits_until_the_deadline_at_most() -> None:
    desk = Desk()
    *_, last = await desk.handle(state(), state(), state())
    assert desk.sent_to == [RESERVED, RESERVED, PARKED]
    assert (last.parked_for, last.due_ms) == (CROWDED, last.deadline_ms)
    [row] = desk.index.rows
    assert (row.reason, row.due_ms, row.line) == (CROWDED, last.deadline_ms, MINE)
    assert (row.appended_ms, row.record_bytes) == (last.appended_ms, len(b"{}"))


async def test_who_comes_later_stands_behind_and_asks_the_gate_for_nothing() -> None:
    desk = Desk()
    await desk.handle(state(), state(), state())
    asked = len(desk.gate.asked)
    await desk.handle(state())
    assert desk.sent_to == [PARKED]
    assert len(desk.gate.asked) == asked


@pytest.mark.parametrize(("line", "parked_for"), LINES)
async def test_a_line_of_any_level_keeps_back_who_comes_later(line: str, parked_for: str) -> None:
    desk = Desk()
    desk.crowds.joined(line)
    [waits] = await desk.handle(state())
    assert (desk.sent_to, desk.gate.asked) == ([PARKED], [])
    [row] = desk.index.rows
    assert (waits.parked_for, row.reason, row.line) == (parked_for, parked_for, line)


@pytest.mark.parametrize("line", ["2/p4", "3/o", "2/kother"])
async def test_a_line_of_others_keeps_nobody_back(line: str) -> None:
    desk = Desk()
    desk.crowds.joined(line)
    await desk.handle(state())
    assert desk.sent_to == [RESERVED]


@pytest.mark.parametrize(("line", "parked_for"), LINES)
async def test_whoever_finds_no_room_on_a_level_stands_in_its_line(line: str, parked_for: str) -> None:
    desk = Desk()
    level: Level = next(level for level in LEVELS if parked_for == LINE_CODES[level])
    desk.gate.full = Over(CROWDED, level, NOW_MS, never=False, held=True)
    await desk.handle(state(), state(), state())
    [row] = desk.index.rows
    assert (row.reason, row.line) == (parked_for, line)
    assert desk.crowds.before(state()) == level


@pytest.mark.parametrize(("line", "parked_for"), LINES)
async def test_who_was_woken_has_waited_and_goes_on_unmarked(line: str, parked_for: str) -> None:
    desk = Desk()
    desk.crowds.joined(line)
    [held] = await desk.handle(state(parked_for=parked_for))
    assert desk.sent_to == [RESERVED]
    assert held.parked_for is None


async def test_who_comes_for_another_attempt_has_waited() -> None:
    """Else each 429 would send a job behind all that its project has."""
    desk = Desk()
    desk.crowds.joined(MINE)
    await desk.handle(state(attempt=2))
    assert desk.sent_to == [RESERVED]


async def test_the_interactive_lane_waits_for_nobody() -> None:
    desk = Desk()
    desk.crowds.joined(MINE)
    await desk.handle(*[state(lane=Lane.INTERACTIVE)] * (MAX + 1))
    assert desk.sent_to == [topics.reserved(Lane.INTERACTIVE)] * (MAX + 1)


async def test_a_crowd_is_forgotten_when_nobody_waits_and_kept_while_the_ledger_is_away() -> None:
    desk, mine = Desk(), state()
    desk.index.names = [MINE]
    await desk.crowds.refresh()
    assert desk.crowds.before(mine)
    desk.index.names, desk.index.is_away = [], True
    async with Crowds(desk.index, 0.0, desk.tools.metrics) as following:
        following.joined(MINE)
        await asyncio.sleep(0)
        assert following.before(mine)
        desk.index.is_away = False
        await until(lambda: following.before(mine) is None)


async def test_a_crowd_is_still_known_after_a_look_that_failed_in_an_unforeseen_way() -> None:
    desk, mine = Desk(), state()
    desk.index.fault = RuntimeError("nobody thought of it")
    async with Crowds(desk.index, 0.0, desk.tools.metrics) as following:
        await asyncio.sleep(0)
        desk.index.fault, desk.index.names = None, [MINE]
        await until(lambda: following.before(mine) is not None)


async def test_nobody_stands_behind_a_line_while_half_of_the_room_is_free() -> None:
    """Else a line never ends: who comes now joins it, faster than it is woken perhaps."""
    lines = Index("2/p3", "2/p5", "2/p7", "2/p9")
    assert await room(lines, Counting(0, 5, 6, 10), 10).crowded() == ["2/p7", "2/p9"]
    assert await room(lines, Counting(0, 1, 0, 1), 1).crowded() == ["2/p5", "2/p9"]


async def test_as_many_of_each_line_are_named_as_there_is_room() -> None:
    lines = Index("2/p3", "2/p5", "2/p7", "2/p9")
    some = room(lines, Counting(7, 12, 0, 10), 10).lines([0], 5)
    assert [[one.line for one in line] async for line in some] == [["2/p3"] * 3, ["2/p7"] * 5]
    many = room(lines, Counting(0, 0, 0, 0), 1_000).lines([0], 2)
    assert [len(line) async for line in many] == [2, 2, 2, 2]


async def test_a_project_with_a_limit_of_its_own_has_no_more_room_than_that() -> None:
    own = OneProject(Project(3, 2, "p", ProjectSettings(jobs_in_flight=4)))
    waiting = room(Index("2/p3", "2/p5", "2/p7"), Counting(3, 2, 0), 10, own)
    assert await waiting.crowded() == ["2/p3"]
    assert [len(line) async for line in waiting.lines([0], 9)] == [1, 2, 4]


async def test_an_organization_and_a_key_have_as_much_room_as_their_own_limits_give() -> None:
    limited = OneProject(limits=Limits(jobs_in_flight=4))
    waiting = room(Index("2/ka", "2/o"), Counting(3, 1), 2, limited)
    assert await waiting.crowded() == ["2/ka"]
    assert [len(line) async for line in waiting.lines([0], 9)] == [1, 3]


async def test_where_the_limit_was_lifted_all_in_its_line_have_room() -> None:
    waiting = room(Index("2/o"), Counting(10_000), 2)
    assert await waiting.crowded() == []
    assert [len(line) async for line in waiting.lines([0], 7)] == [7]
