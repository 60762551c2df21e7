"""The price book: what each model costs, and how the tokens of a request to it are bounded.

Prices are integers, nano-dollars (10**-9 dollar) per million tokens. The file is JSON and carries a version
made from its contents; every charge records that version, so a bill can be checked against the file it used.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from broker.errors import JobRefused, PriceBookInvalid
from broker.pricing.counters import TokenCounter
from schemas.base import Record
from schemas.envelope import Endpoint
from schemas.reasons import Refusal
from schemas.terms import FULL_PERCENT, RATE_MAX, TOKENS_MAX, Terms, Tokens

SHIPPED = Path(__file__).resolve().parents[2] / "config" / "prices.json"
"""The book that comes with Headworks."""

Name = Annotated[str, Field(min_length=1, max_length=128)]


class InputBound(Record):
    """How many tokens the texts of a request can be at most. A model has one only if it can be shown.

    A byte-level BPE tokenizer that does not rewrite its text makes at most one token of a UTF-8 byte:
    `utf8_bytes`. One that first brings the text into Unicode normal form C needs the bytes counted after
    that, `nfc_utf8_bytes`; SentencePiece with its usual rules brings it into form KC, which makes 18
    characters of one like U+FDFA: `nfkc_utf8_bytes`. The rest is what the provider puts around the texts.

    Whatever its tokenizer is, a provider takes no input that is longer than the model's context window and
    charges nothing for what it refuses: `context_window`, where `request_tokens` is the window and nothing of
    the request counts. It holds much more than a call uses, so it is for hard budgets alone.
    """

    kind: Literal["utf8_bytes", "nfc_utf8_bytes", "nfkc_utf8_bytes", "context_window"]
    request_tokens: Tokens = 0
    """Once a request: a hidden preamble, the start of the answer; or the context window."""
    message_tokens: Tokens = 0
    """Each message, content part or embedding input."""
    tools_tokens: Tokens = 0
    """Once, if there are tools: the instruction how to call them."""
    tool_tokens: Tokens = 0
    """Each tool definition and each tool call."""
    json_tokens_per_byte: Tokens = 1
    """Of JSON values, which a provider renders anew: indented, escaped, as XML or as a type declaration."""

    @model_validator(mode="after")
    def _has_its_window(self) -> Self:
        if self.kind == "context_window" and not self.request_tokens:
            raise ValueError("a context window is given in request_tokens")
        return self


class ImageBound(Record):
    """How many tokens one image is at most, whatever its size: providers scale it down first."""

    tokens: Tokens
    low_detail_tokens: Tokens
    """Where the request asks for `"detail": "low"`."""


class ModelPrice(Terms):
    """One model: its terms and its limits, in tokens."""

    model: Name
    provider: Name
    endpoint: Endpoint
    aliases: tuple[Name, ...] = ()
    input_bound: InputBound | None = None
    image_bound: ImageBound | None = None
    """None: a request with an image is refused."""
    encoding: Name | None = None
    """The tokenizer's encoding, as tiktoken names it: with its file at hand texts are counted exactly."""
    output_limit_field: Literal["max_completion_tokens", "max_tokens"] = "max_tokens"
    """The request field that this model's provider obeys; some ignore the other one."""
    output_tokens_max: Tokens | None = None
    """The longest answer that the provider grants."""
    reasoning_tokens_max: Tokens = 0
    """What the model may think beyond the output limit; 0 where the limit holds for reasoning too."""
    context_window_tokens: Tokens | None = None
    """As the source tells it, for people: too rough to bound an estimate by. See `input_bound` for that."""

    @model_validator(mode="after")
    def _can_be_counted(self) -> Self:
        thresholds = [tier.above_input_tokens for tier in self.tiers]
        if thresholds != sorted(set(thresholds)):
            raise ValueError("the thresholds of the tiers must ascend")
        rates = self.rates_up_to(TOKENS_MAX)
        highest = max(rates.highest_input, rates.highest_output)
        if highest * self.percent_max > RATE_MAX * FULL_PERCENT:
            raise ValueError(f"a service tier makes a rate higher than {RATE_MAX}")
        return self

    @cached_property
    def packed_terms(self) -> str:
        """What travels with a job."""
        terms = Terms(
            rates=self.rates, tiers=self.tiers, service_tiers=self.service_tiers, counting=self.counting
        )
        return terms.packed()


class Source(Record):
    name: Name
    version: Name
    license: Name


class _BookFile(Record):
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
    counters: Mapping[str, TokenCounter] = field(default_factory=dict)
    """Of the encodings whose file is at hand, by name."""

    @classmethod
    def load(cls, path: Path = SHIPPED) -> Self:
        """Read a book. Raises PriceBookInvalid, which says what is wrong and where."""
        try:
            raw = json.loads(path.read_bytes())
        except OSError as error:
            raise PriceBookInvalid(f"{path} cannot be read: {error.strerror}") from None
        except (ValueError, RecursionError) as error:
            raise PriceBookInvalid(f"{path}: {error}") from None
        return cls.parse(raw, str(path))

    @classmethod
    def parse(cls, raw: Any, named: str) -> Self:
        """From a file's contents, which are changed by it. `named`: for errors. Raises PriceBookInvalid."""
        try:
            book = _BookFile.model_validate(with_named_bounds(raw))
            by_name = prices_by_name(book.models)
        except ValidationError as error:
            raise PriceBookInvalid(f"{named}: {explain(error)}") from None
        except (ValueError, PriceBookInvalid) as error:
            raise PriceBookInvalid(f"{named}: {error}") from None
        version = version_of(book.taken_on, book.models)
        if version != book.version:
            raise PriceBookInvalid(
                f"{named}: the version is {book.version}, but the contents make it {version}:"
                " import the prices again, or write that version if the change is meant"
            )
        return cls(version, book.source, book.taken_on, book.review_by, by_name)

    def price(self, model: str) -> ModelPrice:
        """Raises JobRefused (`unknown_model`)."""
        try:
            return self.by_name[model]
        except KeyError:
            raise JobRefused(Refusal.UNKNOWN_MODEL, "the price book has no such model", "model") from None

    @property
    def models(self) -> tuple[ModelPrice, ...]:
        """Each once, in the order of the file."""
        return tuple(price for name, price in self.by_name.items() if name == price.model)

    def counter(self, price: ModelPrice) -> TokenCounter | None:
        """What counts this model's texts exactly, where anything does."""
        return None if price.encoding is None else self.counters.get(price.encoding)

    def with_counters(self, counters: Mapping[str, TokenCounter]) -> Self:
        return replace(self, counters=counters)

    def with_overrides(self, prices: Iterable[ModelPrice]) -> Self:
        """A book in which these come first, under their names and aliases. Its version tells of them."""
        overrides = tuple(prices)
        if not overrides:
            return self
        return replace(
            self,
            version=f"{self.version}+{_digest(overrides)[:12]}",
            by_name={**self.by_name, **prices_by_name(overrides)},
        )


def version_of(taken_on: date, models: Iterable[ModelPrice]) -> str:
    """`YYYY-MM-DD.<12 hexadecimal digits of SHA-256 over the models>`."""
    return f"{taken_on.isoformat()}.{_digest(models)[:12]}"


def _digest(models: Iterable[ModelPrice]) -> str:
    """Without what is left at its default, so that a field which nobody uses yet changes no version."""
    dumps = (model.model_dump(mode="json", exclude_defaults=True) for model in models)
    dumped = sorted(json.dumps(dump, sort_keys=True) for dump in dumps)
    return hashlib.sha256("\n".join(dumped).encode()).hexdigest()


def prices_by_name(models: Iterable[ModelPrice]) -> dict[str, ModelPrice]:
    """Under their names and aliases. Raises PriceBookInvalid where a name stands for two."""
    by_name: dict[str, ModelPrice] = {}
    for price in models:
        for name in (price.model, *price.aliases):
            if name in by_name:
                raise PriceBookInvalid(f"the name {name} stands for two prices")
            by_name[name] = price
    return by_name


def with_named_bounds(raw: Any) -> Any:
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


def explain(error: ValidationError) -> str:
    """Every fault with its place, in one line."""
    places = ((".".join(map(str, each["loc"])) or "the file", each["msg"]) for each in error.errors())
    return "; ".join(f"{place}: {message}" for place, message in places)
