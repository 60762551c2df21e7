"""The state header of inner records: what the broker learned and decided about a job.

It travels sealed beside the application's value, which no stage but ADMIT and DISPATCH opens.
"""

from datetime import date
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import Field

from schemas.base import Record
from schemas.envelope import Endpoint, RetryPolicy, Tags
from schemas.outcomes import Outcome
from schemas.reasons import Failure
from schemas.terms import ServiceTier
from schemas.topics import Lane

Overrides = dict[str, int | str | None]


_EPOCH: Final = date(1970, 1, 1).toordinal()


def month_of(day: int) -> int:
    """The calendar month of a day, counted from the year 0: year * 12 + month - 1."""
    found = date.fromordinal(_EPOCH + day)
    return found.year * 12 + found.month - 1


def _own_month(hold: dict[str, Any]) -> int:
    return month_of(hold["day"])


class Hold(Record):
    """Money and quota held for one attempt, and the windows that they belong to."""

    id: str
    nanodollars: int = Field(ge=0)
    input_tokens: int = Field(ge=0)
    output_tokens: int = Field(ge=0)
    day: int
    """Days from 1970-01-01 to the date, in the time zone of the organization."""
    month: int = Field(default_factory=_own_month)
    """`month_of` the day. A hold on record from before there were months does not say it."""
    minute: int
    """Minutes since the Unix epoch, UTC."""

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens


class Usage(Record):
    """Tokens as the provider counted them. Cached and cache-writing tokens are part of the input, those of
    reasoning part of the output.
    """

    input_tokens: int = Field(ge=0)
    cached_input_tokens: int = Field(0, ge=0)
    cache_write_tokens: int = Field(0, ge=0)
    output_tokens: int = Field(ge=0)
    reasoning_tokens: int = Field(0, ge=0)
    service_tier: ServiceTier | None = None
    """In which the call was served, if not in the plain one."""


class Charge(Record):
    """How one attempt ended and what it costs. At most one a (application, job, run, attempt)."""

    attempt: int = Field(ge=1)
    verdict: Literal["answered", "refused", "failed", "unknown"]
    hold: Hold
    nanodollars: int = Field(ge=0)
    estimated: bool = False
    """The cost is the hold, because no believable usage came back."""
    usage: Usage | None = None
    price_version: str
    target: str
    reason: str | None = None
    """Of an attempt without an answer: what went wrong. Of an answer: why its usage was not believed."""
    latency_ms: int = Field(0, ge=0)

    @property
    def tokens(self) -> int:
        """What counts against budgets of tokens: as many as the cost is for."""
        if self.estimated:
            return self.hold.tokens
        return 0 if self.usage is None else self.usage.input_tokens + self.usage.output_tokens


class Estimate(Record):
    """The upper bound that a hold is made for, and the terms by which it was reckoned and will be settled."""

    nanodollars: int = Field(ge=0)
    input_tokens: int = Field(ge=0)
    output_tokens: int = Field(ge=0)
    price_version: str
    terms: str
    """`schemas.terms.Terms`, packed."""


class Decision(Record):
    """What policy decided at ADMIT."""

    id: str
    revision: str
    effect: Literal["allow", "flag", "redact", "deny", "review"]
    rules: tuple[str, ...] = ()
    score: int = 0
    regions: tuple[str, ...] | None = None
    """The job may go only to targets with one of these labels. None: anywhere."""
    served: tuple[str, ...] | None = None
    """Labels of the targets that served its model then, where rules asked for them."""
    answers: Literal[True] | None = None
    """Rules of the revision are about the job's answer too: it goes to nobody before they have judged it."""


class Approval(Record):
    """Somebody let a job go on that policy had held for review."""

    by: str
    at_ms: int


class AnswerDecision(Decision):
    """What policy decided on the answer that came. No text of it, and no name that it made up, is here."""

    reason: str
    rule: str | None = None
    """The id of the rule that decided, or of the one that failed."""
    monitored: tuple[str, ...] = ()
    """Rules in monitor mode that fired, and those of them that failed."""
    types: tuple[tuple[str, int], ...] = ()
    """How many spans of each type of data were found."""
    redacted: tuple[str, ...] = ()
    """Types of data that were taken out."""
    response_sha256: str
    """Of the bytes that the provider answered."""


class State(Record):
    version: Literal[1] = 1
    application: str
    application_id: int
    organization_id: int
    project_id: int
    key_id: str
    job_id: UUID
    run: int = Field(1, ge=1)
    attempt: int = Field(1, ge=1)
    lane: Lane
    origin: str
    """The coordinate at which ADMIT read the job, `topic/partition/offset`."""
    value_sha256: str
    """Of the application's value as it was sent, in hexadecimal."""
    tokens_sha256: str | None = None
    """Of the header with the values behind the tokens that policy put in, in hexadecimal."""
    appended_ms: int
    deadline_ms: int
    reply_to: str | None = None
    traceparent: str | None = None
    endpoint: Endpoint | None = None
    model: str | None = None
    tags: Tags = Tags()
    retry: RetryPolicy = RetryPolicy()
    overrides: Overrides = Field(default_factory=dict)
    """Request fields that DISPATCH sets, such as the output limit; None: leaves out."""
    estimate: Estimate | None = None
    decision: Decision | None = None
    approval: Approval | None = None
    """Of a decision with the effect `review`."""
    answer: AnswerDecision | None = None
    """Where policy judged the answer of the last attempt."""
    hold: Hold | None = None
    charges: tuple[Charge, ...] = ()
    """Of the attempts that are over; SETTLE writes them all with the terminal."""
    failures: tuple[Failure, ...] = ()
    due_ms: int | None = None
    """On `retry.*` and `parked`: not before this time."""
    parked_for: str | None = None
    outcome: Annotated[Outcome, Field(discriminator="kind")] | None = None

    @property
    def is_unapproved(self) -> bool:
        """Policy held it for review, and no reviewer has let it go on."""
        return self.decision is not None and self.decision.effect == "review" and self.approval is None

    def forget_what_was_set(self) -> None:
        """Let go of the names of the fields that were given, of this record and those in it: half of what a
        state takes in memory. Which were given and which have their default, nobody asks.
        """
        for record in (self, self.tags, self.retry, self.estimate, self.decision, self.hold):
            if record is not None:
                record.model_fields_set.clear()
