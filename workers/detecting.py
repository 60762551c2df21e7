"""Plugged-in detectors beside the way of jobs: what passes is shown to them, and what they find is on record.

Nothing waits for a detector. What it has no time for is dropped and counted; one that hangs is killed, and
started anew. What it finds is no part of any decision: it is found later, or never.
"""

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final, NamedTuple, Protocol, Self
from uuid import UUID

import structlog

from broker import tasks
from broker.errors import Unavailable
from broker.plugins.child import Child, Limits, check
from broker.plugins.contract import Flag, Phase
from broker.plugins.errors import DetectorFault, DetectorUnusable
from broker.settings import DetectorSettings
from broker.store.flags import FlagRow
from broker.telemetry.events import Event
from broker.telemetry.metrics import Metrics
from schemas.state import State

PAUSES_S: Final = (1.0, 5.0, 30.0, 60.0)
"""Before a detector that ended is started anew, the last one again and again; the first after a good look."""
_log = structlog.stdlib.get_logger(__name__)


class Record(Protocol):
    async def enter(self, row: FlagRow) -> None: ...


class Look(NamedTuple):
    """`value`: an envelope or an answer, as it goes on."""

    phase: Phase
    application_id: int
    job_id: UUID
    run: int
    revision: str
    value: bytes

    @classmethod
    def at(cls, phase: Phase, state: State, value: bytes) -> "Look":
        revision = "" if state.decision is None else state.decision.revision
        return cls(phase, state.application_id, state.job_id, state.run, revision, value)


class Detecting:
    """`async with Detecting(…)` starts those detectors that look at one of `phases`.

    Entering raises DetectorUnusable: no worker starts without what the settings name.
    """

    def __init__(
        self,
        detectors: Mapping[str, DetectorSettings],
        phases: Collection[Phase],
        record: Record,
        metrics: Metrics,
        clock: Callable[[], int],
        pauses_s: Sequence[float] = PAUSES_S,
    ) -> None:
        """`clock`: Unix milliseconds."""
        self._detectors = [
            _Plugged(name, settings, _Notes(name, record, metrics, clock), pauses_s)
            for name, settings in detectors.items()
            if set(settings.looks_at).intersection(phases)
        ]
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        check(detector.name for detector in self._detectors)
        async with AsyncExitStack() as stack:
            for detector in self._detectors:
                await stack.enter_async_context(detector)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def shower(self, phase: Phase) -> Callable[[State, bytes], None] | None:
        """Of a job's value, and what it is: it is put in line, or dropped, and takes no time. None where
        nobody looks.
        """
        detectors = [detector for detector in self._detectors if phase in detector.looks_at]

        def show(state: State, value: bytes) -> None:
            look = Look.at(phase, state, value)
            for detector in detectors:
                detector.show(look)

        return show if detectors else None


class _Notes:
    """What becomes of each look of one detector."""

    def __init__(self, name: str, record: Record, metrics: Metrics, clock: Callable[[], int]) -> None:
        self._name = name
        self._record = record
        self._metrics = metrics
        self._clock = clock

    def dropped(self) -> None:
        self._metrics.look(self._name, "dropped")

    def fault(self, error: DetectorFault | DetectorUnusable) -> None:
        self._metrics.detector_fault(self._name, error.code, str(error))

    def trouble(self, error: Exception) -> None:
        self._metrics.trouble("detect", error)

    async def found(self, look: Look, version: str, flags: Sequence[Flag]) -> None:
        """Where it cannot be entered now it is lost, and counted so."""
        kinds = [flag.kind for flag in flags]
        if not flags:
            self._metrics.look(self._name, "nothing")
            return
        try:
            await self._record.enter(self._row(look, version, flags))
        except Unavailable as error:
            self._metrics.look(self._name, "unrecorded", kinds)
            self._metrics.trouble("detect", error)
        else:
            self._metrics.look(self._name, "flagged", kinds)

    def _row(self, look: Look, version: str, flags: Sequence[Flag]) -> FlagRow:
        return FlagRow(
            application_id=look.application_id,
            job_id=look.job_id,
            run=look.run,
            phase=look.phase,
            detector=self._name,
            version=version,
            revision=look.revision,
            sha256=hashlib.sha256(look.value).hexdigest(),
            found=[flag.told for flag in flags],
            at_ms=self._clock(),
        )


class _Plugged:
    """One detector: a bounded line before its process."""

    def __init__(
        self, name: str, settings: DetectorSettings, notes: _Notes, pauses_s: Sequence[float]
    ) -> None:
        self.name = name
        self.looks_at = frozenset(settings.looks_at)
        self._settings = settings
        self._limits = Limits(settings.start_timeout_s, settings.timeout_s)
        self._notes = notes
        self._pauses_s = pauses_s
        self._failures = 0
        """One after another, since it last gave an answer."""
        self._line: deque[Look] = deque()
        self._bytes = 0
        self._came = asyncio.Event()
        self._child: Child | None = None
        self._looking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._start()
        self._looking = asyncio.create_task(self._always(), name=f"detector {self.name}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What is in line is not looked at any more."""
        await tasks.end(self._looking)
        if self._child is not None:
            await self._child.kill()

    def show(self, look: Look) -> None:
        size = self._bytes + len(look.value)
        if len(self._line) >= self._settings.waiting_jobs_max or size > self._settings.waiting_bytes_max:
            self._notes.dropped()
            return
        self._line.append(look)
        self._bytes = size
        self._came.set()

    async def _always(self) -> None:
        while True:
            try:
                child = self._child if self._is_up() else await self._revived()
                if child is not None:
                    await self._look(child, await self._next())
            except Exception as error:  # noqa: BLE001  # counted and logged; jobs go on, whatever it is
                self._notes.trouble(error)

    def _is_up(self) -> bool:
        return self._child is not None and not self._child.is_over

    async def _next(self) -> Look:
        while not self._line:
            self._came.clear()
            await self._came.wait()
        look = self._line.popleft()
        self._bytes -= len(look.value)
        return look

    async def _look(self, child: Child, look: Look) -> None:
        try:
            flags = await child.look(look.phase, look.value)
        except DetectorFault as error:
            self._notes.fault(error)
            return
        self._failures = 0
        await self._notes.found(look, child.version, flags)

    async def _revived(self) -> Child | None:
        """After a pause, None where it does not come up: then after a longer one."""
        pause = self._pauses_s[min(self._failures, len(self._pauses_s) - 1)]
        self._failures += 1
        await asyncio.sleep(pause)
        try:
            return await self._start()
        except DetectorUnusable as error:
            self._notes.fault(error)
            return None

    async def _start(self) -> Child:
        """Raises DetectorUnusable."""
        self._child = child = await Child.start(self.name, self._limits)
        _log.info(Event.DETECTOR_READY, detector=self.name, version=child.version, kinds=child.kinds)
        return child
