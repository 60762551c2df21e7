"""The price book: what each model costs, and how the tokens of a request to it are bounded.

Prices are integers, nano-dollars (10**-9 dollar) per million tokens. The file is JSON and carries a version
made from its contents; every charge records that version, so a bill can be checked against the file it used.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from broker.errors import JobRefused, PriceBookInvalid
from schemas.envelope import Endpoint
from schemas.reasons import Refusal

TOKENS_MAX = 2**32
"""More tokens than any one call can have; a larger count is not believed."""
RATE_MAX = 10**12
"""Nano-dollars per million tokens. With TOKENS_MAX it keeps every charge and every estimate below 2**53."""
SHIPPED = Path(__file__).resolve().parents[2] / "config" / "prices.json"
"""The book that comes with Headworks."""

Name = Annotated[str, Field(min_length=1, max_length=128)]
Tokens = Annotated[int, Field(strict=True, ge=0, le=TOKENS_MAX)]
Rate = Annotated[int, Field(strict=True, ge=0, le=RATE_MAX)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Rates(_Part):
    """Nano-dollars per million tokens. Reasoning counts as output."""

    input: Rate
    cached_input: Rate
    """Input that the provider read from its cache."""
    cache_write: Rate
    """Input that the provider wrote to its cache."""
    output: Rate

    def dearest(self, other: "Rates") -> "Rates":
        """Part by part the higher of two."""
        return Rates(
            input=max(self.input, other.input),
            cached_input=max(self.cached_input, other.cached_input),
            cache_write=max(self.cache_write, other.cache_write),
            output=max(self.output, other.output),
        )


class Tier(_Part):
    """The rates of every token of a call whose input is longer than the threshold."""

    above_input_tokens: Tokens
    rates: Rates


class InputBound(_Part):
    """How many tokens a request can be at most. A model has one only if it can be shown.

    A byte-level BPE tokenizer that does not rewrite its text makes at most one token of a UTF-8 byte:
    `utf8_bytes`. One that brings the text into Unicode NFC first needs the bytes counted after that:
    `nfc_utf8_bytes`. The rest is what the provider puts around the texts.
    """

    kind: Literal["utf8_bytes", "nfc_utf8_bytes"]
    request_tokens: Tokens = 0
    """Once a request: a hidden preamble, the start of the answer."""
    message_tokens: Tokens = 0
    """Each message, content part or embedding input."""
    tools_tokens: Tokens = 0
    """Once, if there are tools: the instruction how to call them."""
    tool_tokens: Tokens = 0
    """Each tool definition and each tool call."""
    json_tokens_per_byte: Tokens = 1
    """Of JSON values, which a provider renders anew: indented, escaped, as XML or as a type declaration."""


class ModelPrice(_Part):
    """One model: its price and its limits, in tokens."""

    model: Name
    provider: Name
    endpoint: Endpoint
    aliases: tuple[Name, ...] = ()
    rates: Rates
    tiers: tuple[Tier, ...] = ()
    input_bound: InputBound | None = None
    output_limit_field: Literal["max_completion_tokens", "max_tokens"] = "max_tokens"
    """The request field that this model's provider obeys; some ignore the other one."""
    output_tokens_max: Tokens | None = None
    """The longest answer that the provider grants."""
    context_window_tokens: Tokens | None = None
    """As the source tells it, for people: too rough to bound an estimate by."""

    @model_validator(mode="after")
    def _tiers_ascend(self) -> Self:
        thresholds = [tier.above_input_tokens for tier in self.tiers]
        if thresholds != sorted(set(thresholds)):
            raise ValueError("the thresholds of the tiers must ascend")
        return self

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


class Source(_Part):
    name: Name
    version: Name
    license: Name


class _BookFile(_Part):
    version: str
    source: Source
    taken_on: date
    review_by: date | None = None
    models: tuple[ModelPrice, ...] = Field(min_length=1, max_length=10_000)


@dataclass(frozen=True, slots=True)
class PriceBook:
    """Prices by model name and alias. `load` reads one; `with_overrides` adds a project's own."""

    version: str
    """Made from date and contents; at most 64 characters."""
    source: Source
    taken_on: date
    review_by: date | None
    """The first day on which a price is announced to change: import again by then."""
    by_name: Mapping[str, ModelPrice]

    @classmethod
    def load(cls, path: Path = SHIPPED) -> Self:
        """Read a book. Raises PriceBookInvalid, which says what is wrong and where."""
        try:
            book = _BookFile.model_validate(_with_named_bounds(json.loads(path.read_bytes())))
            by_name = _by_name(book.models)
        except OSError as error:
            raise PriceBookInvalid(f"{path} cannot be read: {error.strerror}") from None
        except ValidationError as error:
            raise PriceBookInvalid(f"{path}: {_explain(error)}") from None
        except (ValueError, PriceBookInvalid) as error:
            raise PriceBookInvalid(f"{path}: {error}") from None
        version = version_of(book.taken_on, book.models)
        if version != book.version:
            raise PriceBookInvalid(
                f"{path}: the version is {book.version}, but the contents make it {version}:"
                " import the prices again, or write that version if the change is meant"
            )
        return cls(version, book.source, book.taken_on, book.review_by, by_name)

    def price(self, model: str) -> ModelPrice:
        """Raises JobRefused (`unknown_model`)."""
        try:
            return self.by_name[model]
        except KeyError:
            raise JobRefused(Refusal.UNKNOWN_MODEL, "the price book has no such model", "model") from None

    def with_overrides(self, prices: Iterable[ModelPrice]) -> Self:
        """A book in which these come first, under their names and aliases. Its version tells of them."""
        overrides = tuple(prices)
        if not overrides:
            return self
        return replace(
            self,
            version=f"{self.version}+{_digest(overrides)[:12]}",
            by_name={**self.by_name, **_by_name(overrides)},
        )


def version_of(taken_on: date, models: Iterable[ModelPrice]) -> str:
    """`YYYY-MM-DD.<12 hexadecimal digits of SHA-256 over the models>`."""
    return f"{taken_on.isoformat()}.{_digest(models)[:12]}"


def _digest(models: Iterable[ModelPrice]) -> str:
    dumped = sorted(json.dumps(model.model_dump(mode="json"), sort_keys=True) for model in models)
    return hashlib.sha256("\n".join(dumped).encode()).hexdigest()


def _by_name(models: Iterable[ModelPrice]) -> dict[str, ModelPrice]:
    by_name: dict[str, ModelPrice] = {}
    for price in models:
        for name in (price.model, *price.aliases):
            if name in by_name:
                raise PriceBookInvalid(f"the name {name} stands for two prices")
            by_name[name] = price
    return by_name


def _with_named_bounds(raw: Any) -> Any:
    """In the file a bound that many models share has a name; put the bound in its place."""
    if not isinstance(raw, dict) or not isinstance(raw.get("models"), list):
        return raw
    bounds = raw.pop("input_bounds", {})
    if not isinstance(bounds, dict):
        raise ValueError("input_bounds: it must be an object")
    for model in raw["models"]:
        name = model.get("input_bound") if isinstance(model, dict) else None
        if isinstance(name, str):
            if name not in bounds:
                raise ValueError(f"no input bound is named {name}")
            model["input_bound"] = bounds[name]
    return raw


def _explain(error: ValidationError) -> str:
    places = ((".".join(map(str, each["loc"])) or "the file", each["msg"]) for each in error.errors())
    return "; ".join(f"{place}: {message}" for place, message in places)
