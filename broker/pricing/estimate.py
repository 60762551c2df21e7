"""The upper bound of what a call can cost, before it is made.

    input:  every byte that is sent, as the model's `input_bound` tells, or its exact count where that is
            less; or all that the model's context window takes
    output: the request's own limit, else the project's default, and what reasoning may add; times `n`
    money:  both at the highest rates that so much input can reach, in the dearest tier of service that the
            request may be given; rounded up once

No charge for usage inside these bounds is higher (`broker.pricing.cost`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from broker.errors import JobRefused
from broker.pricing.book import InputBound, ModelPrice
from broker.pricing.counters import TokenCounter
from broker.pricing.input_tokens import (
    CHAT_FIELDS,
    EMBEDDINGS_FIELDS,
    chat_tokens_max,
    embeddings_tokens_max,
    measure,
    refuse_unknown,
)
from schemas.envelope import Endpoint
from schemas.reasons import Refusal
from schemas.state import Overrides
from schemas.terms import FULL_PERCENT, SHARES_A_NANODOLLAR, TOKENS_MAX, Rates

CHOICES_MAX: Final = 128
GUESSED_BOUND: Final = InputBound(
    kind="utf8_bytes",
    request_tokens=512,
    message_tokens=32,
    tools_tokens=2048,
    tool_tokens=512,
    json_tokens_per_byte=3,
)
"""Where the budget is not a hard one: for a model whose input has no bound that can be shown, or none but its
context window, by which a short call would weigh as much as the longest.
"""

_LIMIT_FIELDS: Final = ("max_completion_tokens", "max_tokens")


@dataclass(frozen=True, slots=True)
class Estimate:
    """The most that a call can use and cost, if `bounded`; otherwise a cautious guess."""

    input_tokens_max: int
    output_tokens_max: int
    nanodollars_max: int
    overrides: Overrides
    """Fields to set in the request that is sent, so that the bound holds; None: leave the field out."""
    bounded: bool = True


def upper_bound(
    endpoint: Endpoint,
    request: Mapping[str, Any],
    price: ModelPrice,
    output_default_tokens: int,
    *,
    hard: bool = True,
    counter: TokenCounter | None = None,
) -> Estimate:
    """Estimate a call with this OpenAI-style body, whose nesting has been bounded.

    `output_default_tokens` limits an answer that the request does not limit. `hard=False` guesses where the
    model has no bound but its context window. `counter` counts texts exactly. Raises JobRefused:
    `unpriced_parameter`, `unpriced_content`, `unbounded_model`, `unsupported_endpoint`, `invalid_request`.
    """
    if endpoint != price.endpoint:
        raise JobRefused(Refusal.UNSUPPORTED_ENDPOINT, f"the model has no price for {endpoint}", "model")
    bound = _bound(price.input_bound, hard=hard)
    by = measure(bound, price.image_bound, counter)
    overrides: Overrides = {}
    percent = FULL_PERCENT
    if endpoint == "/v1/embeddings":
        refuse_unknown(request, EMBEDDINGS_FIELDS)
        input_tokens, output_tokens = embeddings_tokens_max(request, by), 0
    else:
        refuse_unknown(request, CHAT_FIELDS)
        input_tokens = chat_tokens_max(request, by)
        limit, overrides = _output_limit(request, price, output_default_tokens)
        output_tokens = (limit + price.reasoning_tokens_max) * _choices(request)
        if price.service_tiers or "service_tier" in request:
            percent = _percent_max(request, price, overrides)
    if input_tokens > TOKENS_MAX or output_tokens > TOKENS_MAX:
        raise JobRefused(Refusal.INVALID_REQUEST, f"it asks for more than {TOKENS_MAX} tokens")
    nanodollars = _nanodollars(input_tokens, output_tokens, price.rates_up_to(input_tokens), percent)
    return Estimate(input_tokens, output_tokens, nanodollars, overrides, bound is price.input_bound)


def _bound(declared: InputBound | None, *, hard: bool) -> InputBound:
    if declared is None and hard:
        raise JobRefused(Refusal.UNBOUNDED_MODEL, "the cost of its input cannot be bounded", "model")
    if declared is None or (declared.kind == "context_window" and not hard):
        return GUESSED_BOUND
    return declared


def _output_limit(
    request: Mapping[str, Any], price: ModelPrice, default_tokens: int
) -> tuple[int, Overrides]:
    """One choice's limit, in the field that the provider obeys and in no other.

    Some providers refuse a request with both fields, some ignore the one they do not know.
    """
    given = {field: request[field] for field in _LIMIT_FIELDS if request.get(field) is not None}
    for field, tokens in given.items():
        _check_count(field, tokens, TOKENS_MAX)
    limit = min(given.values()) if given else min(default_tokens, price.output_tokens_max or default_tokens)
    obeyed = price.output_limit_field
    if given == {obeyed: limit}:
        return limit, {}
    return limit, {**dict.fromkeys(given), obeyed: limit}


def _choices(request: Mapping[str, Any]) -> int:
    choices = request.get("n")
    if choices is None:
        return 1
    _check_count("n", choices, CHOICES_MAX)
    return int(choices)


def _check_count(field: str, value: Any, highest: int) -> None:
    if type(value) is not int or not 1 <= value <= highest:
        raise JobRefused(Refusal.INVALID_REQUEST, f"{field} must be an integer from 1 to {highest}", field)


def _percent_max(request: Mapping[str, Any], price: ModelPrice, overrides: Overrides) -> int:
    """Of the dearest tier of service that the request may be given.

    Asked for one, a provider may give the plain one. Left unasked it gives what its project is set to, so
    where there are tiers the plain one is asked for by name.
    """
    asked = request.get("service_tier")
    if asked is None and price.service_tiers:
        overrides["service_tier"] = "default"
    if asked is None or asked == "default":
        return FULL_PERCENT
    if asked == "auto" and price.service_tiers:
        return price.percent_max
    if asked not in price.service_tiers:
        raise JobRefused(
            Refusal.UNPRICED_PARAMETER, "the model has no price for this service_tier", "service_tier"
        )
    return max(FULL_PERCENT, price.service_tiers[asked])


def _nanodollars(input_tokens: int, output_tokens: int, rates: Rates, percent: int) -> int:
    shares = percent * (input_tokens * rates.highest_input + output_tokens * rates.highest_output)
    return -(-shares // SHARES_A_NANODOLLAR)
