"""Where jobs waited: the longest stretches between two things that are on record of each. Pure."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple
from uuid import UUID

from tests.crucible.history import History

_SHOWN = 2
"""Stretches of a job."""


class Mark(NamedTuple):
    at_s: float
    what: str


class Waits:
    def __init__(self, history: History) -> None:
        self._marks: dict[UUID, list[Mark]] = defaultdict(list)
        for job_id, mark in _marks(history):
            self._marks[job_id].append(mark)
        self._published = {job.job_id: job for job in history.published}
        self._kinds = {end.job_id: end.kind for end in history.terminals}
        self._replied: dict[UUID, float] = {}
        for reply in history.replies:
            first = self._replied.get(reply.job_id, reply.at_s)
            self._replied[reply.job_id] = min(first, reply.at_s)

    def took_s(self, job_id: UUID) -> float:
        """From the publish to the first reply, of a job that has both."""
        return self._replied[job_id] - self._published[job_id].at_s

    def slowest(self, number: int, *, probes: bool) -> list[UUID]:
        """Of the probes, or of the other jobs, that were answered in any way."""
        found = [job.job_id for job in self._published.values() if job.probe is probes]
        return sorted((job for job in found if job in self._replied), key=self.took_s, reverse=True)[:number]

    def line(self, job_id: UUID) -> str:
        job = self._published[job_id]
        told = f"{self.took_s(job_id):.1f} s {job.application} {job_id} ({self._kinds.get(job_id, 'no end')})"
        return f"{told}: {self.stretches(job_id)}"

    def stretches(self, job_id: UUID) -> str:
        """The longest of what lies between a job's marks, up to its reply."""
        until_s = self._replied[job_id]
        marks = sorted(mark for mark in self._marks[job_id] if mark.at_s <= until_s)
        gaps = sorted(pairwise(marks), key=lambda pair: pair[0].at_s - pair[1].at_s)
        return ", ".join(
            f"{after.at_s - before.at_s:.1f} s from {before.what} to {after.what}"
            for before, after in gaps[:_SHOWN]
        )


def _marks(history: History) -> Iterator[tuple[UUID, Mark]]:
    for job in history.published:
        yield job.job_id, Mark(job.at_s, "publish")
    for step in history.steps:
        yield step.job_id, Mark(step.at_s, step.topic)
    for begun in history.attempts:
        yield begun.id.job_id, Mark(begun.at_s, f"attempt {begun.id.attempt}")
    for call in history.calls:
        yield call.id.job_id, Mark(call.at_s, f"call {call.id.attempt} ({call.status})")
    for verdict in history.verdicts:
        yield verdict.id.job_id, Mark(verdict.at_s, f"{verdict.reason} of attempt {verdict.id.attempt}")
    for reply in history.replies:
        yield reply.job_id, Mark(reply.at_s, "reply")
