"""The price book from the data of genai-prices, which is not needed for anything else.

The same data and the same date give the same file, byte for byte. What the book cannot hold exactly, or not
as an upper bound, stops the import.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import reduce
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from broker.errors import PriceBookInvalid
from broker.pricing.book import ModelPrice, Source
from broker.pricing.book_file import document
from broker.pricing.imported_models import IMPORTED_MODELS, INPUT_BOUNDS, Imported
from schemas.terms import Rates, Tier

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, Provider, TieredPrices
    from genai_prices.types import ModelPrice as SourcePrice

_NANO: Final = 10**9
_PRICED: Final = frozenset(
    {"input_mtok", "output_mtok", "output_reasoning_mtok", "cache_read_mtok", "cache_write_mtok"}
)
_REFUSED_ELSEWHERE: Final = frozenset({
    # The estimate lets no search tool pass, no content or answer that is not text, and no cache control.
    "web_searches_kcount", "storage_searches_kcount", "cache_write_1h_mtok",
    "input_audio_mtok", "cache_audio_read_mtok", "output_audio_mtok",
})  # fmt: skip


def make_book(taken_on: date) -> dict[str, Any]:
    """The file's contents, with the prices of this day. Raises PriceBookInvalid."""
    source_version, providers = _source()
    models: list[ModelPrice] = []
    changes: list[date] = []
    for provider_id, chosen in IMPORTED_MODELS.items():
        for imported in chosen:
            info = _find(providers[provider_id], imported)
            models.append(_model_price(provider_id, imported, info, taken_on))
            changes.extend(_announced(info, taken_on))
    source = Source(name="genai-prices", version=source_version, license="MIT")
    return document(models, INPUT_BOUNDS, source, taken_on, min(changes, default=None))


def nanodollars_per_million(dollars: Decimal) -> int:
    """Convert a price in dollars per million tokens. Raises PriceBookInvalid if it is no whole number."""
    if not dollars.is_finite() or dollars < 0:
        raise PriceBookInvalid(f"{dollars} dollars is no price")
    numerator, denominator = dollars.as_integer_ratio()
    nanodollars, rest = divmod(numerator * _NANO, denominator)
    if rest:
        raise PriceBookInvalid(f"{dollars} dollars are not a whole number of nano-dollars")
    return nanodollars


def _source() -> tuple[str, Mapping[str, "Provider"]]:
    try:
        providers: list[Provider] = import_module("genai_prices.data").providers
    except ModuleNotFoundError:
        raise PriceBookInvalid("install genai-prices (a development dependency) to import prices") from None
    return version("genai-prices"), {provider.id: provider for provider in providers}


def _find(provider: "Provider", imported: Imported) -> "ModelInfo":
    names = (imported.model, *imported.aliases)
    found = [next((info for info in provider.models if info.is_match(name)), None) for name in names]
    info = found[0]
    if info is None or any(other is not info for other in found):
        raise PriceBookInvalid(f"{provider.id}: the source has not one price for {', '.join(names)}")
    return info


def _model_price(provider_id: str, imported: Imported, info: "ModelInfo", taken_on: date) -> ModelPrice:
    prices = [_tiered_rates(info.id, imported, price) for price in _prices_of_day(info, taken_on)]
    if len({tuple(rates) for rates in prices}) > 1:
        raise PriceBookInvalid(f"{info.id}: its tiers differ with the time of day")
    rates = {above: reduce(Rates.dearest, (each[above] for each in prices)) for above in prices[0]}
    return ModelPrice(
        model=imported.model,
        provider=provider_id,
        endpoint="/v1/embeddings" if imported.embeddings else "/v1/chat/completions",
        aliases=imported.aliases,
        rates=rates.pop(0),
        tiers=tuple(Tier(above_input_tokens=above, rates=each) for above, each in rates.items()),
        service_tiers=imported.service_tiers,
        counting=imported.counting,
        input_bound=INPUT_BOUNDS[imported.bound] if imported.bound else None,
        image_bound=imported.images,
        encoding=imported.encoding,
        output_limit_field="max_completion_tokens" if provider_id == "openai" else "max_tokens",
        output_tokens_max=imported.output_tokens_max,
        context_window_tokens=info.context_window,
    )


def _prices_of_day(info: "ModelInfo", day: date) -> Iterator["SourcePrice"]:
    """Some prices differ with the time of day. The book holds the dearest, so that no charge is too low."""
    times = {time(0)}
    for conditional in info.prices if isinstance(info.prices, list) else ():
        for name in ("start_time", "end_time"):
            edge: time | None = getattr(conditional.constraint, name, None)
            if edge is not None:
                times.add(datetime.combine(day, edge, edge.tzinfo or UTC).astimezone(UTC).time())
    for moment in sorted(times):
        yield info.get_prices(datetime.combine(day, moment, UTC))


def _announced(info: "ModelInfo", day: date) -> Iterator[date]:
    for conditional in info.prices if isinstance(info.prices, list) else ():
        start = getattr(conditional.constraint, "start_date", None)
        if start is not None and start > day:
            yield start


def _tiered_rates(name: str, imported: Imported, price: "SourcePrice") -> dict[int, Rates]:
    """Rates by threshold in ascending order; those of 0 are the basic ones."""
    parts = {key: value for key, value in vars(price).items() if value is not None}
    unknown = parts.keys() - _PRICED - _REFUSED_ELSEWHERE
    if unknown:
        raise PriceBookInvalid(f"{name}: the book has no place for {', '.join(sorted(unknown))}")
    if "input_mtok" not in parts or not (imported.embeddings or "output_mtok" in parts):
        raise PriceBookInvalid(f"{name}: the source has no price for its input or output")
    wanted = _PRICED - {"output_mtok", "output_reasoning_mtok"} if imported.embeddings else _PRICED
    priced = {key: value for key, value in parts.items() if key in wanted}
    thresholds = {0} | {tier.start for value in priced.values() for tier in getattr(value, "tiers", ())}
    return {above: _rates({key: _at(priced[key], above) for key in priced}) for above in sorted(thresholds)}


def _at(value: "Decimal | TieredPrices", above: int) -> int:
    """One price, where the input is longer than `above` and not longer than the next threshold."""
    if isinstance(value, Decimal):
        return nanodollars_per_million(value)
    reached = [tier.price for tier in value.tiers if above >= tier.start]
    return nanodollars_per_million(reached[-1] if reached else value.base)


def _rates(parts: Mapping[str, int]) -> Rates:
    plain = parts["input_mtok"]
    return Rates(
        input=plain,
        cached_input=parts.get("cache_read_mtok", plain),
        cache_write=parts.get("cache_write_mtok", plain),
        output=parts.get("output_mtok", 0),
        reasoning=parts.get("output_reasoning_mtok"),
    )
