"""What a provider says that a call used, read in the way in which the model's price says that it counts.

Nothing is guessed. A report that does not add up in that way is not believed, and the hold is charged.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, NamedTuple, get_args

from pydantic import BaseModel, Field, ValidationError

from schemas.envelope import Endpoint
from schemas.reasons import Disbelief
from schemas.state import Usage
from schemas.terms import TOKENS_MAX, Counting, ServiceTier, Tokens

_TIERS: Final[Mapping[str, ServiceTier]] = {tier: tier for tier in get_args(ServiceTier)}
_PLAIN_TIERS: Final = frozenset({"default", "standard", "on_demand"})
"""What OpenAI, Anthropic and Groq call the tier that one gets without asking."""


def read_usage(answer: Mapping[str, Any], endpoint: Endpoint, counting: Counting) -> Usage | Disbelief:
    """Of the body of an OpenAI-style answer, whole and parsed."""
    block = answer.get("usage")
    if block is None:
        return Disbelief.USAGE_MISSING
    try:
        if endpoint == "/v1/embeddings":
            return Usage(input_tokens=_Prompt.model_validate(block).prompt_tokens, output_tokens=0)
        said = _Completion.model_validate(block)
    except ValidationError:
        return Disbelief.USAGE_INVALID
    tier = _tier(answer.get("service_tier"))
    if isinstance(tier, Disbelief):
        return tier
    taken = _input(said, counting)
    given = None if taken is None else _output(said, taken.tokens, counting)
    if taken is None or given is None or max(taken.tokens, given.tokens) > TOKENS_MAX:
        return Disbelief.USAGE_CONTRADICTORY
    return Usage(
        input_tokens=taken.tokens,
        cached_input_tokens=taken.cached,
        cache_write_tokens=taken.written,
        output_tokens=given.tokens,
        reasoning_tokens=given.reasoning,
        service_tier=tier,
    )


class _Prompt(BaseModel):
    # No request has an empty prompt: a server that reports none has not counted.
    prompt_tokens: Annotated[int, Field(strict=True, ge=1, le=TOKENS_MAX)]


class _PromptDetails(BaseModel):
    cached_tokens: Tokens | None = None
    cache_write_tokens: Tokens | None = None


class _CompletionDetails(BaseModel):
    reasoning_tokens: Tokens | None = None


class _Completion(BaseModel):
    """OpenAI's block. Beside it stand the names of servers that pass on what Anthropic reports."""

    # Where cached tokens stand beside it, nothing may be left for this number.
    prompt_tokens: Tokens
    completion_tokens: Tokens
    total_tokens: Tokens | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None
    cache_read_input_tokens: Tokens | None = None
    cache_creation_input_tokens: Tokens | None = None


class _Input(NamedTuple):
    tokens: int
    cached: int
    written: int


class _Output(NamedTuple):
    tokens: int
    reasoning: int


def _input(said: _Completion, counting: Counting) -> _Input | None:
    details = said.prompt_tokens_details or _PromptDetails()
    cached = _one(details.cached_tokens, said.cache_read_input_tokens)
    written = _one(details.cache_write_tokens, said.cache_creation_input_tokens)
    if cached is None or written is None:
        return None
    beside = cached + written if counting.cached_input == "beside" else 0
    tokens = said.prompt_tokens + beside
    return _Input(tokens, cached, written) if 0 < tokens >= cached + written else None


def _output(said: _Completion, input_tokens: int, counting: Counting) -> _Output | None:
    """The total tells whether the provider counts reasoning as its price says; some tell it there alone."""
    details = said.completion_tokens_details or _CompletionDetails()
    reasoning, spoken = details.reasoning_tokens, said.completion_tokens
    rest = None if said.total_tokens is None else said.total_tokens - input_tokens - spoken
    if counting.reasoning == "inside":
        fits = (reasoning or 0) <= spoken and (rest or 0) <= 0
        return _Output(spoken, reasoning or 0) if fits else None
    if reasoning is None:
        reasoning = rest
    return None if reasoning is None or reasoning < 0 else _Output(spoken + reasoning, reasoning)


def _one(first: int | None, second: int | None) -> int | None:
    """A number that may stand in two places; 0 where in neither, None where they differ."""
    if first is None or second is None:
        return first or second or 0
    return first if first == second else None


def _tier(named: Any) -> ServiceTier | Disbelief | None:
    if named is None:
        return None
    if not isinstance(named, str):
        return Disbelief.USAGE_INVALID
    if named in _PLAIN_TIERS:
        return None
    return _TIERS.get(named, Disbelief.SERVICE_TIER_UNPRICED)
