"""What a run has come to so far, and its summary."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from headworks.batch.latency import Latencies
from headworks.client.results import (
    Answered,
    Cancelled,
    Dead,
    Expired,
    Refused,
    Result,
    ResultGone,
    Unknown,
    Unrecognized,
)

_NANODOLLARS = 1_000_000_000


@dataclass(slots=True)
class Tally:
    """Counts of lines; those that an earlier session had finished are `earlier` and in no other count."""

    lines: int | None
    """Of the whole input; None where it is read from a pipe."""
    blank: int = 0
    earlier: int = 0
    open: int = 0
    answered: int = 0
    gone: int = 0
    expired: int = 0
    cancelled: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    dead: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    malformed: Counter[str] = field(default_factory=Counter)
    input_tokens: int = 0
    output_tokens: int = 0
    nanodollars: int = 0
    latencies: Latencies = field(default_factory=Latencies)
    undelivered: int = 0
    """Publishes that were not acknowledged in time, and were made again."""

    @property
    def replied(self) -> int:
        """Jobs of this session that have their result."""
        return self.answered + self.refused.total() + self.failed

    @property
    def failed(self) -> int:
        return self.gone + self.expired + self.cancelled + self.dead.total() + self.unknown.total()

    @property
    def handled(self) -> int:
        """Lines that need nothing more."""
        return self.blank + self.earlier + self.replied + self.malformed.total()

    def ended(self, result: Result, duration_s: float) -> None:
        self.latencies.add(duration_s)
        self.nanodollars += result.cost_nanodollars
        match result:
            case Answered():
                self.answered += 1
                self._count_tokens(result.response)
            case Refused():
                self.refused[result.reason] += 1
            case Dead():
                self.dead[result.reason] += 1
            case Unknown() | Unrecognized():
                self.unknown[result.reason] += 1
            case Expired():
                self.expired += 1
            case Cancelled():
                self.cancelled += 1
            case ResultGone():
                self.gone += 1

    def _count_tokens(self, response: dict[str, Any]) -> None:
        match response:
            case {"usage": {"prompt_tokens": int(tokens_in), **rest}}:
                self.input_tokens += tokens_in
                tokens_out = rest.get("completion_tokens")
                self.output_tokens += tokens_out if isinstance(tokens_out, int) else 0


def dollars(nanodollars: int) -> str:
    """Exact, with all nine places: `0.000123450`."""
    whole, parts = divmod(nanodollars, _NANODOLLARS)
    return f"{whole}.{parts:09d}"


def signed_dollars(nanodollars: int) -> str:
    """As `dollars`, of what may be less than nothing."""
    return f"-{dollars(-nanodollars)}" if nanodollars < 0 else dollars(nanodollars)


def summary(tally: Tally, elapsed_s: float) -> dict[str, Any]:
    """As `--json` prints it. Durations run from submit to reply."""
    return {
        "lines": tally.lines,
        "earlier": tally.earlier,
        "answered": tally.answered,
        "refused": _by_code(tally.refused),
        "dead": _by_code(tally.dead),
        "unknown": _by_code(tally.unknown),
        "expired": tally.expired,
        "cancelled": tally.cancelled,
        "result_expired": tally.gone,
        "malformed": _by_code(tally.malformed),
        "input_tokens": tally.input_tokens,
        "output_tokens": tally.output_tokens,
        "dollars": dollars(tally.nanodollars),
        "p50_ms": _ms(tally.latencies.percentile(50)),
        "p95_ms": _ms(tally.latencies.percentile(95)),
        "elapsed_s": round(elapsed_s, 3),
        "jobs_per_s": round(tally.replied / elapsed_s, 1) if elapsed_s > 0 else None,
    }


def _by_code(counts: Counter[str]) -> dict[str, int]:
    return {str(code): count for code, count in counts.most_common()}


def _ms(duration_s: float | None) -> float | None:
    return None if duration_s is None else round(duration_s * 1000, 1)
