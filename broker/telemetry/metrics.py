"""Prometheus metrics. Labels are closed sets: stages, lanes, codes, configured targets; nobody's text.

Children are kept in tables, so that counting on the hot path is a look-up and an addition.
"""

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from enum import StrEnum
from typing import Final, ParamSpec, TypeVar

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from broker.errors import HeadworksError
from broker.policy.decide import Comparison, Judgement
from broker.providers.provider import Answer, Failed, Rejected, Result
from broker.telemetry.events import Event
from schemas.state import AnswerDecision
from schemas.topics import Lane, RetryDelay

Child = TypeVar("Child")
P = ParamSpec("P")
T = TypeVar("T")

LABELS_MAX: Final = 256
"""Children of one metric. The closed sets are smaller; what comes beyond is counted as `other`."""
TROUBLE_QUIET_S: Final = 5.0
"""The same trouble is logged no more often than this."""
_SECONDS: Final = (0.005, 0.01, 0.02, 0.035, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 3600)
_log = structlog.stdlib.get_logger(__name__)


class Children(dict[tuple[str, ...], Child]):
    """A metric's children by their labels, made when they are first asked for."""

    def __init__(self, make: Callable[..., Child]) -> None:
        """`make` is the metric's `labels`."""
        super().__init__()
        self._make = make

    def __missing__(self, labels: tuple[str, ...]) -> Child:
        if len(self) >= LABELS_MAX:
            return self._make(*("other" for _ in labels))
        child = self[labels] = self._make(*labels)
        return child


class Timed:
    """A stretch of time: one more on the gauge while it lasts, its length in the histogram when it ends."""

    __slots__ = ("_gauge", "_seconds", "_started")

    def __init__(self, gauge: Gauge, seconds: Histogram) -> None:
        self._gauge = gauge
        self._seconds = seconds

    def __enter__(self) -> None:
        self._started = time.monotonic()
        self._gauge.inc()

    def __exit__(self, *_: object) -> None:
        self._gauge.dec()
        self._seconds.observe(time.monotonic() - self._started)


class Metrics:
    """One process's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._jobs = self._counter("jobs_total", "Jobs by stage and what became of them", "stage", "outcome")
        self._ended = self._seconds("job_seconds", "From a job's append to its end on record", "lane", "kind")
        self._stages = self._seconds("stage_seconds", "From a batch's start to its acknowledged end", "stage")
        self._holds = self._counter("holds_total", "What became of requests to hold a budget", "verdict")
        self._count_policy()
        self._unauthentic = self._counter("unauthentic_total", "Records that were not believed", "reason")
        self._dead = self._counter("dead_letters_total", "Dead letters", "stage", "reason")
        self._calls = self._counter("provider_calls_total", "Calls that ended", "target", "verdict")
        self._call_seconds = self._seconds("provider_seconds", "Duration of calls", "target")
        self._calling = self._gauge("provider_in_flight", "Calls under way", "target")
        self._limits = self._gauge("target_limit", "Calls that may be under way at once", "target")
        self._rests = self._gauge("target_rest_seconds", "How long no calls go to it, as it asked", "target")
        self._waiting = self._gauge("target_waiting", "Jobs that wait for a place", "target", "lane")
        self._cuts = self._counter("target_cuts_total", "Times that a limit was lowered", "target", "cause")
        self._closures = self._counter(
            "target_closures_total", "Times that a target asked for rest", "target"
        )
        self._estimated = self._counter(
            "estimated_charges_total", "Answers charged by their hold", "target", "reason"
        )
        self._retries = self._counter("retries_total", "Further attempts", "delay")
        self._takeovers = self._event("takeovers_total", "Attempts taken over from dead workers")
        self._undeliverable = self._event("undeliverable_replies_total", "Replies without topic or partition")
        self._gate_closed = self._event("gate_closed_total", "Times that the quota gate was found closed")
        self._notices = self._counter(
            "notices_total", "Tries to tell an organization something", "destination", "code"
        )
        self._alarms = self._counter("alarms_total", "Things that must not happen", "code")
        self._troubles = self._counter("troubles_total", "Errors that were met and survived", "stage", "code")
        self._parked = Gauge(
            "headworks_parked_jobs",
            "Jobs that wait for a budget's window, for room, or for a reviewer",
            registry=self.registry,
        )
        self._reviews = self._gauge("reviews_waiting", "Jobs that wait for a reviewer", "lane")
        self._reviewed = self._counter("reviews_total", "Reviews that ended", "verdict")
        self._in_flight = self._gauge("in_flight", "Slots in use", "stage")
        self._backlog = self._gauge("backlog", "Fetched records that are not finished", "stage")
        self._lag = self._gauge("lag", "Records published and not yet finished", "stage", "lane")
        self._said: dict[tuple[str, str], float] = {}

    def _count_policy(self) -> None:
        self._decisions = self._counter("policy_decisions_total", "Jobs that policy decided", "effect")
        self._answers = self._counter("policy_answers_total", "Answers that policy judged", "effect")
        self._compared = self._counter(
            "policy_shadow_total", "Jobs that a candidate decided too", "live", "candidate", "same"
        )
        self._answers_compared = self._counter(
            "policy_shadow_answers_total", "Answers that a candidate judged too", "live", "candidate", "same"
        )
        self._looks = self._counter(
            "detector_looks_total", "Jobs and answers for plugged-in detectors", "detector", "outcome"
        )
        self._flagged = self._counter(
            "detector_flags_total", "Kinds of findings in a job", "detector", "kind"
        )

    def _counter(self, name: str, text: str, *labels: str) -> Children[Counter]:
        return Children(Counter(f"headworks_{name}", text, labels, registry=self.registry).labels)

    def _event(self, name: str, text: str) -> Counter:
        return Counter(f"headworks_{name}", text, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Children[Gauge]:
        return Children(Gauge(f"headworks_{name}", text, labels, registry=self.registry).labels)

    def _seconds(self, name: str, text: str, *labels: str) -> Children[Histogram]:
        family = Histogram(f"headworks_{name}", text, labels, buckets=_SECONDS, registry=self.registry)
        return Children(family.labels)

    def job(self, stage: str, outcome: str) -> None:
        self._jobs[stage, outcome].inc()

    def ended(self, lane: Lane, kind: str, age_ms: int) -> None:
        self._ended[lane.value, kind].observe(age_ms / 1000)

    def timed(self, stage: str, handle: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        """`handle`, with the time that each batch takes observed."""
        seconds = self._stages[stage,]

        async def timed(*args: P.args, **kwargs: P.kwargs) -> T:
            started = time.monotonic()
            try:
                return await handle(*args, **kwargs)
            finally:
                seconds.observe(time.monotonic() - started)

        return timed

    def hold(self, verdict: str, count: int = 1) -> None:
        self._holds[verdict,].inc(count)

    def unauthentic(self, reason: StrEnum) -> None:
        self._unauthentic[reason.value,].inc()

    def policy(self, judgement: Judgement) -> None:
        self._decisions[judgement.decision.effect,].inc()
        if judgement.comparison is not None:
            live, candidate, same = judgement.comparison
            self._compared[live, candidate, "yes" if same else "no"].inc()

    def answer(self, decision: AnswerDecision) -> None:
        self._answers[decision.effect,].inc()

    def look(self, detector: str, outcome: str, kinds: Iterable[str] = ()) -> None:
        """`kinds`: what was found, of those that the detector declared."""
        self._looks[detector, outcome].inc()
        for kind in kinds:
            self._flagged[detector, kind].inc()

    def detector_fault(self, detector: str, code: str, error: str) -> None:
        """Counted, and logged once in a while. `error` holds nothing of a job."""
        self._looks[detector, code].inc()
        if self._is_news(detector, code):
            _log.warning(Event.DETECTOR_FAULT, detector=detector, code=code, error=error)

    def compared_answer(self, comparison: Comparison) -> None:
        live, candidate, same = comparison
        self._answers_compared[live, candidate, "yes" if same else "no"].inc()

    def dead_letter(self, stage: str, reason: str) -> None:
        self._dead[stage, str(reason)].inc()

    def calling(self, target: str) -> Timed:
        """Around a call: counted as in flight, and its duration observed."""
        return Timed(self._calling[target,], self._call_seconds[target,])

    def provider_call(self, target: str, result: Result) -> None:
        self._calls[target, _verdict(result)].inc()

    def estimated(self, target: str, reason: str) -> None:
        """An answer is charged by its hold. Counted, and logged once in a while; the ledger has them all."""
        self._estimated[target, reason].inc()
        if self._is_news(target, reason):
            _log.warning(Event.CHARGE_ESTIMATED, target=target, code=reason)

    def target_cut(self, target: str, cause: StrEnum) -> None:
        self._cuts[target, cause.value].inc()

    def target_closed(self, target: str) -> None:
        self._closures[target,].inc()

    def watch_target(
        self,
        target: str,
        limit: Callable[[], int],
        rest_s: Callable[[], float],
        waiting: Mapping[str, Callable[[], int]],
    ) -> None:
        """Asked at each scrape; `waiting` by lane."""
        self._limits[target,].set_function(limit)
        self._rests[target,].set_function(rest_s)
        for lane, number in waiting.items():
            self._waiting[target, lane].set_function(number)

    def retry(self, delay: RetryDelay) -> None:
        self._retries[delay.value,].inc()

    def takeover(self) -> None:
        self._takeovers.inc()

    def undeliverable(self) -> None:
        self._undeliverable.inc()

    def gate_closed(self) -> None:
        self._gate_closed.inc()

    def parked(self, count: int) -> None:
        self._parked.set(count)

    def reviews(self, waiting: Mapping[str, int]) -> None:
        """`waiting`: by lane; none of a lane that is not named."""
        for lane in Lane:
            self._reviews[lane.value,].set(waiting.get(lane.value, 0))

    def reviewed(self, verdict: str) -> None:
        self._reviewed[verdict,].inc()

    def notice(self, destination: str, code: str) -> None:
        self._notices[destination, code].inc()

    def alarm(self, code: str) -> None:
        self._alarms[code,].inc()

    def trouble(self, stage: str, error: BaseException) -> None:
        """Count it, and log it once in a while; one that is alarming counts as an alarm too."""
        known = error if isinstance(error, HeadworksError) else HeadworksError()
        code = known.code
        self._troubles[stage, code].inc()
        if known.is_alarming:
            self.alarm(code)
        if self._is_news(stage, code):
            _log.warning(Event.TROUBLE, stage=stage, code=code, exc_info=error)

    def _is_news(self, where: str, code: str) -> bool:
        now = time.monotonic()
        if now - self._said.get((where, code), float("-inf")) < TROUBLE_QUIET_S:
            return False
        self._said[where, code] = now
        return True

    def watch(
        self,
        stage: str,
        in_use: Callable[[], int],
        backlog: Callable[[], int],
        lags: Mapping[str, Callable[[], int]] | None = None,
    ) -> None:
        """Asked at each scrape: slots in use, records fetched and not finished, and by lane those behind."""
        self._in_flight[stage,].set_function(in_use)
        self._backlog[stage,].set_function(backlog)
        for lane, lag in (lags or {}).items():
            self._lag[stage, lane].set_function(lag)


def _verdict(result: Result) -> str:
    match result:
        case Answer():
            return "answered"
        case Rejected(refusal=refusal):
            return refusal.value
        case Failed(failure=failure):
            return failure.value
