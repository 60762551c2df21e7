"""The record of every call: counts in memory, and a log file of one JSON line a call. Never a prompt."""

import asyncio
import os
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson

from headworks.simulate.behaviour import Fault

FLUSH_AFTER_S = 0.02
JOBS_COUNTED_MAX = 500_000

Key = tuple[int | None, Fault | None]
Tally = tuple[tuple[Key, int], ...]


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it was decided, before any wait: a call whose caller dies is on record too."""

    at: float
    """Unix seconds."""
    job_id: str | None
    run: int | None
    attempt: int | None
    model: str | None
    status: int | None
    """The status line that goes out; None where none does."""
    fault: Fault | None
    prompt_tokens: int | None
    completion_tokens: int | None
    """What the call really used, whatever its answer says; None where nothing was answered."""
    body_sha256: str

    def line(self) -> bytes:
        fields = {
            "t": round(self.at, 6),
            "job_id": self.job_id,
            "run": self.run,
            "attempt": self.attempt,
            "model": self.model,
            "status": self.status,
            "fault": self.fault,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "body_sha256": self.body_sha256,
        }
        return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)


@dataclass(frozen=True, slots=True)
class Counts:
    """Calls by the status that went out ("none" where none did) and by the fault they suffered."""

    total: int
    by_status: dict[str, int]
    by_fault: dict[str, int]

    def as_json(self) -> dict[str, Any]:
        return {"total": self.total, "by_status": self.by_status, "by_fault": self.by_fault}


@lru_cache(maxsize=4096)
def _with_one_more(tally: Tally, key: Key) -> Tally:
    # Cached, so that jobs with the same story share one tuple and a job costs little more than its id.
    counts = Counter(dict(tally))
    counts[key] += 1
    return tuple(counts.items())


def _counts_of(tally: Tally) -> Counts:
    by_status: Counter[str] = Counter()
    by_fault: Counter[str] = Counter()
    for (status, fault), times in tally:
        by_status["none" if status is None else str(status)] += times
        if fault is not None:
            by_fault[fault.value] += times
    return Counts(by_status.total(), dict(by_status), dict(by_fault))


class CallCounts:
    """Counts in total and by job; beyond `jobs_max` jobs the oldest are forgotten, and counted as such."""

    def __init__(self, jobs_max: int = JOBS_COUNTED_MAX) -> None:
        self._jobs_max = jobs_max
        self._all: Counter[Key] = Counter()
        self._by_job: dict[str, Tally] = {}
        self._forgotten = 0
        self._in_flight = 0
        self._in_flight_most = 0
        self._abandoned = 0
        self._waiters: deque[tuple[int, asyncio.Future[None]]] = deque()

    def began(self, call: Call) -> None:
        key = (call.status, call.fault)
        self._all[key] += 1
        if call.job_id is not None:
            self._by_job[call.job_id] = _with_one_more(self._by_job.get(call.job_id, ()), key)
            if len(self._by_job) > self._jobs_max:
                del self._by_job[next(iter(self._by_job))]
                self._forgotten += 1
        self._in_flight += 1
        self._in_flight_most = max(self._in_flight_most, self._in_flight)
        if self._waiters:
            self._wake()

    @property
    def in_flight(self) -> int:
        return self._in_flight

    def ended(self, *, abandoned: bool) -> None:
        self._in_flight -= 1
        self._abandoned += abandoned

    def of_all(self) -> Counts:
        return _counts_of(tuple(self._all.items()))

    def of_job(self, job_id: str) -> Counts:
        return _counts_of(self._by_job.get(job_id, ()))

    def by_job(self) -> dict[str, int]:
        return {job_id: sum(times for _, times in tally) for job_id, tally in self._by_job.items()}

    def summary(self) -> dict[str, Any]:
        """All counts, the jobs, how many of them were called again, and the calls under way."""
        repeated = sum(1 for times in self.by_job().values() if times > 1)
        return {
            **self.of_all().as_json(),
            "jobs": len(self._by_job) + self._forgotten,
            "jobs_forgotten": self._forgotten,
            "jobs_called_again": repeated,
            "in_flight": self._in_flight,
            "in_flight_most": self._in_flight_most,
            "abandoned": self._abandoned,
        }

    async def reach(self, total: int) -> None:
        """Returns once `total` calls have come in."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append((total, waiter))
        self._wake()
        await waiter

    def _wake(self) -> None:
        so_far = self._all.total()
        for _ in range(len(self._waiters)):
            total, waiter = self._waiters.popleft()
            if waiter.done():
                continue
            if so_far >= total:
                waiter.set_result(None)
            else:
                self._waiters.append((total, waiter))


class CallLog:
    """Appends lines to a file: gathered for FLUSH_AFTER_S, then handed to the kernel in one write.

    Opens the file at once (raises OSError). A write that fails is given to `failed`, once, and ends the log:
    a record with holes would be worse than none.
    """

    def __init__(
        self, path: Path, loop: asyncio.AbstractEventLoop, failed: Callable[[OSError], None]
    ) -> None:
        self._loop = loop
        self._failed = failed
        self._lines: list[bytes] = []
        self._file: int | None = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def write(self, call: Call) -> None:
        if not self._lines:
            self._loop.call_later(FLUSH_AFTER_S, self.flush)
        self._lines.append(call.line())

    def flush(self) -> None:
        data, self._lines = memoryview(b"".join(self._lines)), []
        if self._file is None:
            return
        try:
            while data:
                data = data[os.write(self._file, data) :]
        except OSError as error:
            self.close()
            self._failed(error)

    def close(self) -> None:
        """Writes what is left and closes; a second call does nothing."""
        if self._file is not None:
            self.flush()
        if self._file is not None:
            os.close(self._file)
            self._file = None
