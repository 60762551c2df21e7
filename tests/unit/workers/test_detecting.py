"""Detectors beside the way of jobs: what they find is on record, and nothing that they do is felt."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from broker.errors import DatabaseUnavailable
from broker.plugins.errors import DetectorUnusable
from broker.settings import DetectorSettings
from broker.store.flags import FlagRow
from broker.telemetry.metrics import Metrics
from schemas.state import Decision, State
from tests.unit.broker.plugins.test_child import asks
from tests.unit.plugged import installed
from tests.unit.workers.memory import NOW_MS, state
from workers.detecting import Detecting

__all__ = ["installed"]
pytestmark = pytest.mark.usefixtures("installed")

DEADLINE_S = 30
DECIDED = Decision(id="d" * 32, revision="r" * 64, effect="allow")
Show = Callable[[State, bytes], None]


class Counted(Metrics):
    """Tells of each look."""

    def __init__(self) -> None:
        super().__init__()
        self.outcomes: list[str] = []
        self._came = asyncio.Event()

    def look(self, detector: str, outcome: str, kinds: Iterable[str] = ()) -> None:
        super().look(detector, outcome, kinds)
        self._note(outcome)

    def detector_fault(self, detector: str, code: str, error: str) -> None:
        super().detector_fault(detector, code, error)
        self._note(code)

    def _note(self, outcome: str) -> None:
        self.outcomes.append(outcome)
        self._came.set()

    async def until(self, outcome: str, times: int = 1) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while self.outcomes.count(outcome) < times:
                self._came.clear()
                await self._came.wait()


class Table:
    def __init__(self, *, away: bool = False) -> None:
        self.rows: list[FlagRow] = []
        self.away = away

    async def enter(self, row: FlagRow) -> None:
        if self.away:
            raise DatabaseUnavailable("away")
        self.rows.append(row)


class Bench:
    def __init__(self, table: Table | None = None) -> None:
        self.metrics = Counted()
        self.table = table or Table()

    @asynccontextmanager
    async def showing(self, **settings: Any) -> AsyncIterator[Show]:
        async with self.detecting(words=DetectorSettings(**settings)) as detecting:
            show = detecting.shower("request")
            assert show is not None
            yield show

    def detecting(self, **detectors: DetectorSettings) -> Detecting:
        return Detecting(
            detectors, ["request", "answer"], self.table, self.metrics, lambda: NOW_MS, pauses_s=(0.0,)
        )


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_what_is_found_is_on_record_by_job_and_revision_and_without_a_text(bench: Bench) -> None:
    job, value = state(decision=DECIDED), asks("Ask Joe.")
    async with bench.showing() as show:
        show(job, asks("Ask me."))
        show(job, value)
        await bench.metrics.until("flagged")
    [row] = bench.table.rows
    assert (row.application_id, row.job_id, row.run) == (job.application_id, job.job_id, job.run)
    assert (row.phase, row.detector, row.version) == ("request", "words", "plugged-words 1.5")
    assert (row.revision, row.sha256) == (DECIDED.revision, hashlib.sha256(value).hexdigest())
    assert list(row.found) == [{"kind": "PERSON", "score": 900, "places": 1, "marks": [[0, 4, 7]]}]
    assert row.at_ms == NOW_MS
    assert bench.metrics.outcomes == ["nothing", "flagged"]
    labels = {"detector": "words", "kind": "PERSON"}
    assert bench.metrics.registry.get_sample_value("headworks_detector_flags_total", labels) == 1


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("raise", "detector_failed"),
        ("garbage", "detector_garbage"),
        ("die", "detector_died"),
        ("hang", "detector_timed_out"),
    ],
)
async def test_one_that_fails_is_counted_and_goes_on_with_the_next_job(
    bench: Bench, word: str, code: str
) -> None:
    timeout_s = 0.5 if word == "hang" else 60.0
    async with bench.showing(timeout_s=timeout_s) as show:
        show(state(), asks(word))
        show(state(), asks("Ask Joe."))
        await bench.metrics.until("flagged")
    assert bench.metrics.outcomes == [code, "flagged"]


async def test_what_there_is_no_room_for_is_dropped_and_counted(bench: Bench) -> None:
    async with bench.showing(waiting_jobs_max=2) as show:
        for _ in range(5):
            show(state(), asks("Ask Joe."))  # the loop had no turn: nothing was taken out of the line
        await bench.metrics.until("flagged", times=2)
    assert bench.metrics.outcomes[:3] == ["dropped"] * 3
    assert len(bench.table.rows) == 2


async def test_so_is_what_is_larger_than_the_room(bench: Bench) -> None:
    async with bench.showing(waiting_bytes_max=1024) as show:
        show(state(), asks("Joe " * 256))
        show(state(), asks("Joe " * 100))
        show(state(), asks("Joe " * 200))
        await bench.metrics.until("flagged")
        show(state(), asks("Joe " * 100))
        await bench.metrics.until("flagged", times=2)
    assert bench.metrics.outcomes == ["dropped", "dropped", "flagged", "flagged"]


async def test_a_stop_waits_for_nothing(bench: Bench) -> None:
    async with asyncio.timeout(DEADLINE_S), bench.showing(timeout_s=600) as show:
        show(state(), asks("hang"))
        for _ in range(3):
            show(state(), asks("Ask Joe."))
        await asyncio.sleep(0)
    assert bench.table.rows == []


async def test_what_cannot_be_entered_is_counted() -> None:
    bench = Bench(Table(away=True))
    async with bench.showing() as show:
        show(state(), asks("Ask Joe."))
        await bench.metrics.until("unrecorded")
    labels = {"stage": "detect", "code": "database_unavailable"}
    assert bench.metrics.registry.get_sample_value("headworks_troubles_total", labels) == 1


async def test_each_sees_what_it_is_to_look_at(bench: Bench) -> None:
    answers = DetectorSettings(looks_at=["answer"])
    async with bench.detecting(words=answers) as detecting:
        assert detecting.shower("request") is None
        show = detecting.shower("answer")
        assert show is not None
        show(state(), b'{"choices": [{"message": {"content": "Ask Joe."}}]}')
        await bench.metrics.until("flagged")
    assert bench.table.rows[0].phase == "answer"


async def test_what_nobody_here_looks_at_is_not_started(bench: Bench) -> None:
    settings = {
        "words": DetectorSettings(looks_at=["answer"]),
        "unknown": DetectorSettings(looks_at=["answer"]),
    }
    async with Detecting(settings, ["request"], bench.table, bench.metrics, lambda: 0) as detecting:
        assert detecting.shower("answer") is None


@pytest.mark.parametrize("name", ["unknown", "stubborn"])
async def test_a_worker_does_not_start_without_one_that_is_named(bench: Bench, name: str) -> None:
    with pytest.raises(DetectorUnusable, match=name) as told:
        async with bench.detecting(words=DetectorSettings(), **{name: DetectorSettings()}):
            pass
    assert told.value.code == "detector_unusable"
