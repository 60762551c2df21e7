"""Who stands behind whom at RESERVE, and who is woken when there is room."""

import asyncio
from collections.abc import Sequence
from typing import cast

from broker.errors import DatabaseUnavailable
from broker.identity.directory import Directory, Project, ProjectSettings
from broker.quota.gate import Gate, Granted, Over, ProjectOf, ReserveRequest
from broker.settings import ReserveSettings, Settings
from broker.store.crowds import Waiting
from broker.store.keys import JobKey
from broker.store.parking import CROWDED, ParkedRow, Parking
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
    """What waits for room, by project; also where RESERVE enters what it parks."""

    def __init__(self, **projects: int) -> None:
        self.numbers = {int(name.removeprefix("p")): number for name, number in projects.items()}
        self.is_away = False
        self.fault: Exception | None = None
        self.rows: list[ParkedRow] = []

    async def projects(self) -> list[int]:
        if self.is_away:
            raise DatabaseUnavailable("away")
        if self.fault is not None:
            raise self.fault
        return sorted(self.numbers)

    async def first(self, project_id: int, partitions: Sequence[int], limit: int) -> list[ParkedRow]:
        number = min(limit, self.numbers[project_id])
        return [row(project_id, offset) for offset in range(number)]

    async def park(self, rows: Sequence[ParkedRow]) -> None:
        self.rows += rows

    async def hasten(self, keys: Sequence[JobKey]) -> None:
        assert list(keys) == []


class Counting:
    """A gate that has room for MAX jobs."""

    def __init__(self, *in_flight: int) -> None:
        self.in_flight = list(in_flight)
        self.asked: list[ReserveRequest] = []

    async def jobs_in_flight(self, projects: Sequence[ProjectOf]) -> list[int]:
        return self.in_flight[: len(projects)]

    async def reserve(self, requests: Sequence[ReserveRequest]) -> list[Granted | Over]:
        self.asked += requests
        full = Over(CROWDED, "project", NOW_MS, never=False, held=True)
        return [
            Granted(HOLD, started=False) if number < (one.jobs_in_flight_max or 99) else full
            for number, one in enumerate(requests)
        ]


def row(project_id: int, offset: int) -> ParkedRow:
    job = state().job_id
    return ParkedRow(0, offset, 1, job, 1, 1, project_id, "standard", NOW_MS, CROWDED, NOW_MS, 2)


def room(projects: Index, gate: Counting, jobs_in_flight_max: int) -> Room:
    waiting, directory = cast(Waiting, projects), cast(Directory, OneProject())
    return Room(waiting, cast(Gate, gate), directory, ReserveSettings(jobs_in_flight_max=jobs_in_flight_max))


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


RESERVED, PARKED = topics.reserved(Lane.STANDARD), topics.PARKED


async def test_whoever_finds_no_room_waits_until_the_deadline_at_most() -> None:
    desk = Desk()
    *_, last = await desk.handle(state(), state(), state())
    assert desk.sent_to == [RESERVED, RESERVED, PARKED]
    assert (last.parked_for, last.due_ms) == (CROWDED, last.deadline_ms)
    [row] = desk.index.rows
    assert (row.reason, row.due_ms) == (CROWDED, last.deadline_ms)
    assert (row.appended_ms, row.record_bytes) == (last.appended_ms, len(b"{}"))


async def test_who_comes_later_stands_behind_and_asks_the_gate_for_nothing() -> None:
    desk = Desk()
    await desk.handle(state(), state(), state())
    asked = len(desk.gate.asked)
    await desk.handle(state())
    assert desk.sent_to == [PARKED]
    assert len(desk.gate.asked) == asked


async def test_who_was_woken_has_waited_and_goes_on_unmarked() -> None:
    desk = Desk()
    desk.crowds.joined(state().project_id)
    [held] = await desk.handle(state(parked_for=CROWDED))
    assert desk.sent_to == [RESERVED]
    assert held.parked_for is None


async def test_who_comes_for_another_attempt_has_waited() -> None:
    """Else each 429 would send a job behind all that its project has."""
    desk = Desk()
    desk.crowds.joined(state().project_id)
    await desk.handle(state(attempt=2))
    assert desk.sent_to == [RESERVED]


async def test_the_interactive_lane_waits_for_nobody() -> None:
    desk = Desk()
    desk.crowds.joined(state().project_id)
    await desk.handle(*[state(lane=Lane.INTERACTIVE)] * (MAX + 1))
    assert desk.sent_to == [topics.reserved(Lane.INTERACTIVE)] * (MAX + 1)


async def test_a_crowd_is_forgotten_when_nobody_waits_and_kept_while_the_ledger_is_away() -> None:
    desk, mine = Desk(), state()
    desk.index.numbers = {mine.project_id: 1}
    await desk.crowds.refresh()
    assert desk.crowds.stand_before(mine)
    desk.index.numbers, desk.index.is_away = {}, True
    async with Crowds(desk.index, 0.0, desk.tools.metrics) as following:
        following.joined(mine.project_id)
        await asyncio.sleep(0)
        assert following.stand_before(mine)
        desk.index.is_away = False
        await until(lambda: not following.stand_before(mine))


async def test_a_crowd_is_still_known_after_a_look_that_failed_in_an_unforeseen_way() -> None:
    desk, mine = Desk(), state()
    desk.index.fault = RuntimeError("nobody thought of it")
    async with Crowds(desk.index, 0.0, desk.tools.metrics) as following:
        await asyncio.sleep(0)
        desk.index.fault, desk.index.numbers = None, {mine.project_id: 1}
        await until(lambda: following.stand_before(mine))


async def test_nobody_stands_behind_a_line_while_half_of_the_room_is_free() -> None:
    """Else a line never ends: who comes now joins it, faster than it is woken perhaps."""
    projects = Index(p3=9, p5=9, p7=9, p9=9)
    assert await room(projects, Counting(0, 5, 6, 10), 10).projects() == [7, 9]
    assert await room(projects, Counting(0, 1, 0, 1), 1).projects() == [5, 9]


async def test_as_many_of_each_project_are_named_as_there_is_room() -> None:
    projects = Index(p3=9, p5=9, p7=1, p9=9)
    some = room(projects, Counting(7, 12, 0, 10), 10).lines([0], 5)
    assert [[one.project_id for one in line] async for line in some] == [[3, 3, 3], [7]]
    many = room(projects, Counting(0, 0, 0, 0), 1_000).lines([0], 2)
    assert [len(line) async for line in many] == [2, 2, 1, 2]


async def test_a_project_with_a_limit_of_its_own_has_no_more_room_than_that() -> None:
    own = Project(3, 2, "p", ProjectSettings(jobs_in_flight=4))
    directory = cast(Directory, OneProject(own))
    gate, settings = cast(Gate, Counting(3, 2, 0)), ReserveSettings(jobs_in_flight_max=10)
    waiting = Room(cast(Waiting, Index(p3=9, p5=9, p7=9)), gate, directory, settings)
    assert await waiting.projects() == [3]
    assert [len(line) async for line in waiting.lines([0], 9)] == [1, 2, 4]
