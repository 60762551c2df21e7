"""How the simulated provider is to behave: a frozen value, set at start and replaced while it runs."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

LATENCY_MS_MAX = 3_600_000


class Fault(StrEnum):
    """What can go wrong with one call; a call suffers one fault at most."""

    ERROR = "error"
    """Answers 500 or 503."""
    RATE_LIMITED = "rate_limited"
    """Answers 429 with Retry-After, whatever the load."""
    HANG = "hang"
    """Takes the request and never answers."""
    BROKEN_JSON = "broken_json"
    """Answers 200 with a whole body that is not JSON."""
    TRUNCATED = "truncated"
    """Answers 200 with the first half of the body, framed as if it were the whole."""
    DROP_BEFORE_ANSWER = "drop_before_answer"
    """Closes the connection after the latency, without a byte."""
    DROP_IN_BODY = "drop_in_body"
    """Closes the connection after half of the body."""
    MISSING_USAGE = "missing_usage"
    """Answers without token counts."""
    ABSURD_USAGE = "absurd_usage"
    """Answers with token counts that cannot be: negative, huge, or not numbers."""
    OVERSIZED = "oversized"
    """Answers with a body of at least `oversized_bytes`."""
    SLOW_FIRST_BYTE = "slow_first_byte"
    """Sends the first byte `slow_first_byte_ms` later than the latency says."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Milliseconds = Annotated[float, Field(ge=0, le=LATENCY_MS_MAX)]
Rate = Annotated[float, Field(ge=0, le=1)]


class FixedLatency(_Frozen):
    """Every answer takes `ms`."""

    kind: Literal["fixed"] = "fixed"
    ms: Milliseconds = 0


class UniformLatency(_Frozen):
    """Any time from `min_ms` to `max_ms` is as likely as any other."""

    kind: Literal["uniform"] = "uniform"
    min_ms: Milliseconds
    max_ms: Milliseconds

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        if self.min_ms > self.max_ms:
            raise ValueError("min_ms is above max_ms")
        return self


class LognormalLatency(_Frozen):
    """The long tail of real providers, given by its median and its 99th percentile."""

    kind: Literal["lognormal"] = "lognormal"
    p50_ms: Annotated[float, Field(gt=0, le=LATENCY_MS_MAX)]
    p99_ms: Annotated[float, Field(gt=0, le=LATENCY_MS_MAX)]

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        if self.p50_ms > self.p99_ms:
            raise ValueError("p50_ms is above p99_ms")
        return self


Latency = Annotated[FixedLatency | UniformLatency | LognormalLatency, Field(discriminator="kind")]


def parse_latency(text: str) -> FixedLatency | UniformLatency | LognormalLatency:
    """`20` or `fixed:20`, `uniform:10:50` (least, most), `lognormal:200:1500` (p50, p99); milliseconds.

    Raises ValueError (pydantic's ValidationError is one) where the text is none of these.
    """
    kind, _, rest = text.partition(":") if ":" in text else ("fixed", "", text)
    numbers = [float(number) for number in rest.split(":")]
    match kind, numbers:
        case "fixed", [ms]:
            return FixedLatency(ms=ms)
        case "uniform", [min_ms, max_ms]:
            return UniformLatency(min_ms=min_ms, max_ms=max_ms)
        case "lognormal", [p50_ms, p99_ms]:
            return LognormalLatency(p50_ms=p50_ms, p99_ms=p99_ms)
    raise ValueError("not MS, fixed:MS, uniform:MIN:MAX or lognormal:P50:P99")


class CannedAnswer(_Frozen):
    """What to do with calls that carry a marker, ahead of every rate; the first that fits is taken.

    Give one of `content` (the text after the plain statement), `fault`, and `status` (an error answer).
    """

    contains: str = ""
    """Text that stands in the request's body as sent, so with JSON's escapes; empty fits every body."""
    job_id: str | None = None
    attempt_max: Annotated[int, Field(ge=1)] | None = None
    """Fits only attempts up to this number: 2 makes a job fail twice and then be answered."""
    content: str | None = None
    fault: Fault | None = None
    status: Annotated[int, Field(ge=400, le=599)] | None = None

    @model_validator(mode="after")
    def _does_one_thing(self) -> Self:
        if sum(part is not None for part in (self.content, self.fault, self.status)) != 1:
            raise ValueError("give exactly one of content, fault and status")
        return self


class Behaviour(_Frozen):
    """Everything that can be set. Rates are shares of all calls (0 to 1) and sum to 1 at most."""

    seed: int = 0
    """Same seed, same request, job, run and attempt: same fate, in whatever order calls arrive."""
    latency: Latency = FixedLatency()
    error_rate: Rate = 0
    rate_limited_rate: Rate = 0
    hang_rate: Rate = 0
    broken_json_rate: Rate = 0
    truncated_rate: Rate = 0
    drop_before_answer_rate: Rate = 0
    drop_in_body_rate: Rate = 0
    missing_usage_rate: Rate = 0
    absurd_usage_rate: Rate = 0
    oversized_rate: Rate = 0
    slow_first_byte_rate: Rate = 0
    retry_after_s: Annotated[int, Field(ge=0, le=86_400)] = 1
    """What a 429 tells the caller; the limit on requests a second works out its own."""
    requests_per_second_max: Annotated[float, Field(gt=0, le=1_000_000)] | None = None
    """A real limit: calls above it get 429, and every answer says what is left."""
    capacity: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """So many calls at once it serves in its latency; when there are more, in proportion longer."""
    calls_at_once_max: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Calls above it get 429, at once, with `retry_after_s`."""
    oversized_bytes: Annotated[int, Field(ge=1, le=256 * 1024 * 1024)] = 16 * 1024 * 1024
    slow_first_byte_ms: Milliseconds = 30_000
    stream_gap_ms: Milliseconds = 0
    """The wait between two events of a streamed answer."""
    completion_tokens_min: Annotated[int, Field(ge=1, le=100_000)] = 20
    completion_tokens_max: Annotated[int, Field(ge=1, le=100_000)] = 120
    """Answers are as long as these say, and never longer than the request's own limit."""
    canned: tuple[CannedAnswer, ...] = ()

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if sum(rate for _, rate in self.fault_rates()) > 1 + 1e-9:
            raise ValueError("the rates of the faults sum to more than 1")
        if self.completion_tokens_min > self.completion_tokens_max:
            raise ValueError("completion_tokens_min is above completion_tokens_max")
        return self

    def fault_rates(self) -> tuple[tuple[Fault, float], ...]:
        return (
            (Fault.ERROR, self.error_rate),
            (Fault.RATE_LIMITED, self.rate_limited_rate),
            (Fault.HANG, self.hang_rate),
            (Fault.BROKEN_JSON, self.broken_json_rate),
            (Fault.TRUNCATED, self.truncated_rate),
            (Fault.DROP_BEFORE_ANSWER, self.drop_before_answer_rate),
            (Fault.DROP_IN_BODY, self.drop_in_body_rate),
            (Fault.MISSING_USAGE, self.missing_usage_rate),
            (Fault.ABSURD_USAGE, self.absurd_usage_rate),
            (Fault.OVERSIZED, self.oversized_rate),
            (Fault.SLOW_FIRST_BYTE, self.slow_first_byte_rate),
        )


def explain(error: ValidationError) -> str:
    """One line for each thing that is wrong: its place and what was expected, in pydantic's words."""
    parts = error.errors(include_url=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, part['loc'])) or 'behaviour'}: {part['msg']}" for part in parts)
