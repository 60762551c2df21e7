"""What a call costs, from the tokens that the provider counted."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from broker.pricing.book import TOKENS_MAX, ModelPrice, Tokens
from schemas.envelope import Endpoint
from schemas.state import Usage


def charge(usage: Usage, price: ModelPrice) -> int:
    """Nano-dollars, exact and rounded up once."""
    rates = price.rates_at(usage.input_tokens)
    plain_tokens = usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens
    millionths = (
        plain_tokens * rates.input
        + usage.cached_input_tokens * rates.cached_input
        + usage.cache_write_tokens * rates.cache_write
        + usage.output_tokens * rates.output
    )
    return -(-millionths // 1_000_000)


def parse_usage(block: Mapping[str, Any] | None, endpoint: Endpoint) -> Usage | None:
    """Read the `usage` of an OpenAI-style answer; None if it is missing or cannot be true.

    Some providers leave reasoning out of `completion_tokens` and yet bill it as output; then `total_tokens`
    still holds it, and is believed where it says more.
    """
    if not isinstance(block, Mapping):
        return None
    try:
        if endpoint == "/v1/embeddings":
            return Usage(input_tokens=_Prompt.model_validate(dict(block)).prompt_tokens, output_tokens=0)
        said = _Completion.model_validate(dict(block))
    except ValidationError:
        return None
    details = said.prompt_tokens_details or _PromptDetails()
    cached, written = details.cached_tokens or 0, details.cache_write_tokens or 0
    if cached + written > said.prompt_tokens:
        return None
    return Usage(
        input_tokens=said.prompt_tokens,
        cached_input_tokens=cached,
        cache_write_tokens=written,
        output_tokens=max(said.completion_tokens, (said.total_tokens or 0) - said.prompt_tokens),
    )


class _Prompt(BaseModel):
    # No request has an empty prompt: a server that reports none has not counted.
    prompt_tokens: Annotated[int, Field(strict=True, ge=1, le=TOKENS_MAX)]


class _PromptDetails(BaseModel):
    cached_tokens: Tokens | None = None
    cache_write_tokens: Tokens | None = None


class _Completion(_Prompt):
    completion_tokens: Tokens
    total_tokens: Tokens | None = None
    prompt_tokens_details: _PromptDetails | None = None
