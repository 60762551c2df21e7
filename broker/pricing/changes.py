"""What differs between two price books. Pure.

Rates are told in dollars per million tokens, exactly; shares of service tiers in percent.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from broker.ops.dollars import to_dollars
from broker.pricing.book import ModelPrice, PriceBook


class Change(NamedTuple):
    model: str
    field: str
    """As `rates.input`, `tiers.200000.rates.output`; `model` where all of it is new or gone."""
    before: str | None
    after: str | None


def changes(old: PriceBook, new: PriceBook) -> list[Change]:
    """By model in the order of their names, and by field."""
    before, after = ({price.model: price for price in book.models} for book in (old, new))
    found: list[Change] = []
    for model in sorted(before.keys() | after.keys()):
        found += _of_one(model, before.get(model), after.get(model))
    return found


def fields(price: ModelPrice) -> dict[str, str]:
    """What a price says, flat. What is left at its default is left out, but for the rates."""
    said = price.model_dump(mode="json", exclude_defaults=True, exclude={"model", "rates", "tiers"})
    flat = dict(_flat(said))
    flat |= _rates("rates", price.rates.model_dump(exclude_none=True))
    for tier in price.tiers:
        flat |= _rates(f"tiers.{tier.above_input_tokens}.rates", tier.rates.model_dump(exclude_none=True))
    return flat


def _of_one(model: str, before: ModelPrice | None, after: ModelPrice | None) -> Iterator[Change]:
    if before is None or after is None:
        yield Change(model, "model", _summary(before), _summary(after))
        return
    old, new = fields(before), fields(after)
    for field in sorted(old.keys() | new.keys()):
        if old.get(field) != new.get(field):
            yield Change(model, field, old.get(field), new.get(field))


def _summary(price: ModelPrice | None) -> str | None:
    if price is None:
        return None
    return f"{to_dollars(price.rates.input)} in, {to_dollars(price.rates.output)} out"


def _rates(prefix: str, rates: dict[str, int]) -> dict[str, str]:
    return {f"{prefix}.{name}": to_dollars(rate) for name, rate in rates.items()}


def _flat(value: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, content in value.items():
        if isinstance(content, dict):
            yield from _flat(content, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", ", ".join(content) if isinstance(content, list) else str(content)
