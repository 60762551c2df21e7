"""What a call costs: by the tokens that the provider counted, or by the hold where they are not believed."""

from typing import NamedTuple

from schemas.reasons import Disbelief
from schemas.state import Hold, Usage
from schemas.terms import FULL_PERCENT, SHARES_A_NANODOLLAR, Terms


class Cost(NamedTuple):
    nanodollars: int
    usage: Usage | None
    """None: the cost is the hold."""
    disbelief: Disbelief | None


def settled(usage: Usage | Disbelief, hold: Hold, terms: Terms) -> Cost:
    """By the usage, if it can be true and has a price; else the hold, which was made to be enough."""
    if not isinstance(usage, Usage):
        return Cost(hold.nanodollars, None, usage)
    if usage.service_tier is not None and usage.service_tier not in terms.service_tiers:
        return Cost(hold.nanodollars, None, Disbelief.SERVICE_TIER_UNPRICED)
    nanodollars = charge(usage, terms)
    if _is_above(usage, nanodollars, hold):
        return Cost(hold.nanodollars, None, Disbelief.USAGE_ABOVE_HOLD)
    return Cost(nanodollars, usage, None)


def charge(usage: Usage, terms: Terms) -> int:
    """Nano-dollars, exact and rounded up once. The usage's tier of service must have a price."""
    rates = terms.rates_at(usage.input_tokens)
    plain_tokens = usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens
    said_tokens = usage.output_tokens - usage.reasoning_tokens
    percent = FULL_PERCENT if usage.service_tier is None else terms.service_tiers[usage.service_tier]
    shares = percent * (
        plain_tokens * rates.input
        + usage.cached_input_tokens * rates.cached_input
        + usage.cache_write_tokens * rates.cache_write
        + said_tokens * rates.output
        + usage.reasoning_tokens * rates.of_reasoning
    )
    return -(-shares // SHARES_A_NANODOLLAR)


def _is_above(usage: Usage, nanodollars: int, hold: Hold) -> bool:
    return (
        usage.input_tokens > hold.input_tokens
        or usage.output_tokens > hold.output_tokens
        or nanodollars > hold.nanodollars
    )
