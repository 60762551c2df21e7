"""What a call is charged by. It travels with the job, so that a job is charged by the prices of its hold.

Rates are integers, nano-dollars (10**-9 dollar) per million tokens.
"""

from functools import lru_cache
from typing import Annotated, Final, Literal

from pydantic import Field

from schemas.base import Record

TOKENS_MAX: Final = 2**32
"""More tokens than any one call can have; a larger count is not believed."""
RATE_MAX: Final = 10**12
"""Nano-dollars per million tokens. With TOKENS_MAX it keeps every charge and every estimate below 2**53."""
PERCENT_MAX: Final = 1_000
FULL_PERCENT: Final = 100
SHARES_A_NANODOLLAR: Final = 1_000_000 * FULL_PERCENT
"""Tokens times the rate of a million, times a percentage."""
_UNPACKED_KEPT: Final = 1_024

Tokens = Annotated[int, Field(strict=True, ge=0, le=TOKENS_MAX)]
Rate = Annotated[int, Field(strict=True, ge=0, le=RATE_MAX)]
Percent = Annotated[int, Field(strict=True, ge=1, le=PERCENT_MAX)]
ServiceTier = Literal["flex", "priority", "batch"]
Place = Literal["inside", "beside"]


class Rates(Record):
    """Of one million tokens of each kind."""

    input: Rate
    cached_input: Rate
    """Input that the provider read from its cache."""
    cache_write: Rate
    """Input that the provider wrote to its cache."""
    output: Rate
    reasoning: Rate | None = None
    """Output that the model thought and did not say. None: as other output."""

    def dearest(self, other: "Rates") -> "Rates":
        """Part by part the higher of two."""
        apart = self.reasoning is not None or other.reasoning is not None
        return Rates(
            input=max(self.input, other.input),
            cached_input=max(self.cached_input, other.cached_input),
            cache_write=max(self.cache_write, other.cache_write),
            output=max(self.output, other.output),
            reasoning=max(self.of_reasoning, other.of_reasoning) if apart else None,
        )

    @property
    def of_reasoning(self) -> int:
        return self.output if self.reasoning is None else self.reasoning

    @property
    def highest_input(self) -> int:
        return max(self.input, self.cached_input, self.cache_write)

    @property
    def highest_output(self) -> int:
        return max(self.output, self.of_reasoning)


class Tier(Record):
    """The rates of every token of a call whose input is longer than the threshold."""

    above_input_tokens: Tokens
    rates: Rates


class Counting(Record):
    """How the provider counts: which of its numbers stand inside another, and which beside it."""

    cached_input: Place = "inside"
    """Tokens read from the cache and written to it: inside the number of input tokens, or beside it."""
    reasoning: Place = "inside"
    """Tokens of reasoning: inside the number of output tokens, or beside it."""


class Terms(Record):
    """Rates and what changes them: the length of the input, and the tier of service that was given."""

    rates: Rates
    tiers: tuple[Tier, ...] = ()
    service_tiers: dict[ServiceTier, Percent] = Field(default_factory=dict)
    """Of every rate, in percent: `{"batch": 50}` is half. A tier that is not here has no price."""
    counting: Counting = Counting()

    def packed(self) -> str:
        """As a job's state carries them: one stage alone reads them, and to the others text is cheap."""
        return self.model_dump_json(exclude_defaults=True)

    @staticmethod
    @lru_cache(_UNPACKED_KEPT)
    def unpacked(text: str) -> "Terms":
        """Of what `packed` gave. Raises ValidationError (pydantic) on other text."""
        return Terms.model_validate_json(text)

    @property
    def percent_max(self) -> int:
        """The dearest tier of service, the plain one among them."""
        return max((FULL_PERCENT, *self.service_tiers.values()))

    def rates_at(self, input_tokens: int) -> Rates:
        """What a call with so much input is charged by."""
        rates = self.rates
        for tier in self.tiers:
            if input_tokens > tier.above_input_tokens:
                rates = tier.rates
        return rates

    def rates_up_to(self, input_tokens: int) -> Rates:
        """Part by part the highest that a call with at most so much input can be charged by."""
        rates = self.rates
        for tier in self.tiers:
            if input_tokens > tier.above_input_tokens:
                rates = rates.dearest(tier.rates)
        return rates
