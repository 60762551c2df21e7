"""Prometheus metrics. Labels are closed sets: stages, lanes, codes, configured targets; never an application's text."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import cache

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from broker.errors import HeadworksError
from broker.providers.provider import Answer, Failed, Rejected, Result
from schemas.topics import Lane, RetryDelay

_SECONDS = (0.005, 0.01, 0.02, 0.035, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 3600)
_log = structlog.stdlib.get_logger(__name__)
_QUIET_S = 5.0
"""The same trouble is logged no more often than this."""


class Metrics:
    """One process's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        make = self.registry
        self._jobs = Counter(
            "headworks_jobs_total", "Jobs by stage and what became of them", ["stage", "outcome"], registry=make
        )
        self._ended = Histogram(
            "headworks_job_seconds",
            "From a job's append to its end on record",
            ["lane", "kind"],
            buckets=_SECONDS,
            registry=make,
        )
        self._unauthentic = Counter(
            "headworks_unauthentic_total", "Records that were not believed", ["reason"], registry=make
        )
        self._dead = Counter(
            "headworks_dead_letters_total", "Dead letters", ["stage", "reason"], registry=make
        )
        self._provider_calls = Counter(
            "headworks_provider_calls_total", "Calls by target and verdict", ["target", "verdict"], registry=make
        )
        self._provider_seconds = Histogram(
            "headworks_provider_seconds", "Duration of calls", ["target"], buckets=_SECONDS, registry=make
        )
        self._provider_in_flight = Gauge(
            "headworks_provider_in_flight", "Calls under way", ["target"], registry=make
        )
        self._retries = Counter("headworks_retries_total", "Further attempts", ["delay"], registry=make)
        self._takeovers = Counter(
            "headworks_takeovers_total", "Attempts of dead workers that were taken over", registry=make
        )
        self._undeliverable = Counter(
            "headworks_undeliverable_replies_total", "Replies without a topic or partition", registry=make
        )
        self._gate_closed = Counter(
            "headworks_gate_closed_total", "Times that the quota gate was found closed", registry=make
        )
        self._parked = Gauge("headworks_parked_jobs", "Jobs that wait for a window", registry=make)
        self._alarms = Counter("headworks_alarms_total", "Things that must not happen", ["code"], registry=make)
        self._troubles = Counter(
            "headworks_troubles_total", "Errors that were met and survived", ["stage", "code"], registry=make
        )
        self._in_flight = Gauge("headworks_in_flight", "Slots in use", ["stage"], registry=make)
        self._backlog = Gauge(
            "headworks_backlog", "Fetched records that are not finished", ["stage"], registry=make
        )
        self._lag = Gauge(
            "headworks_lag", "Records published and not yet finished", ["stage", "lane"], registry=make
        )
        self._said: dict[tuple[str, str], float] = {}
        self._job = cache(self._jobs.labels)

    def job(self, stage: str, outcome: str) -> None:
        self._job(stage, outcome).inc()

    def ended(self, lane: Lane, kind: str, age_ms: int) -> None:
        self._ended.labels(lane.value, kind).observe(age_ms / 1000)

    def unauthentic(self, reason: StrEnum) -> None:
        self._unauthentic.labels(reason.value).inc()

    def dead_letter(self, stage: str, reason: str) -> None:
        self._dead.labels(stage, str(reason)).inc()

    @contextmanager
    def calling(self, target: str) -> Iterator[None]:
        gauge = self._provider_in_flight.labels(target)
        started = time.monotonic()
        gauge.inc()
        try:
            yield
        finally:
            gauge.dec()
            self._provider_seconds.labels(target).observe(time.monotonic() - started)

    def provider_call(self, target: str, result: Result) -> None:
        self._provider_calls.labels(target, _verdict(result)).inc()

    def retry(self, delay: RetryDelay) -> None:
        self._retries.labels(delay.value).inc()

    def takeover(self) -> None:
        self._takeovers.inc()

    def undeliverable(self) -> None:
        self._undeliverable.inc()

    def gate_closed(self) -> None:
        self._gate_closed.inc()

    def parked(self, count: int) -> None:
        self._parked.set(count)

    def lag(self, stage: str, lane: str, records: int) -> None:
        self._lag.labels(stage, lane).set(records)

    def alarm(self, code: str) -> None:
        self._alarms.labels(code).inc()

    def trouble(self, stage: str, error: BaseException) -> None:
        """Count it, and log it once in a while. The text of a foreign error is not logged: only its type."""
        known = isinstance(error, HeadworksError)
        code = error.code if isinstance(error, HeadworksError) else "internal_error"
        self._troubles.labels(stage, code).inc()
        now = time.monotonic()
        if now - self._said.get((stage, code), float("-inf")) < _QUIET_S:
            return
        self._said[stage, code] = now
        detail = str(error) if known else type(error).__name__
        _log.warning("trouble", stage=stage, code=code, detail=detail, exc_info=None if known else error)

    def watch(self, stage: str, in_use: Callable[[], int], backlog: Callable[[], int]) -> None:
        self._in_flight.labels(stage).set_function(in_use)
        self._backlog.labels(stage).set_function(backlog)


def _verdict(result: Result) -> str:
    match result:
        case Answer():
            return "answered"
        case Rejected(refusal=refusal):
            return refusal.value
        case Failed(failure=failure):
            return failure.value
