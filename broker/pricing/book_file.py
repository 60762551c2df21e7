"""The price book as a file: how it is written, and where older versions of it are kept.

A charge names the version that it was made by, so no import may lose the book of a version that was in use:
it stays beside the new one, under its version.
"""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from broker.errors import NotFound, PriceBookInvalid
from broker.pricing.book import (
    InputBound,
    ModelPrice,
    PriceBook,
    Source,
    explain,
    prices_by_name,
    version_of,
    with_named_bounds,
)

_VERSION: Final = re.compile(r"\d{4}-\d{2}-\d{2}\.[0-9a-f]{12}")
_MODELS: Final = TypeAdapter(tuple[ModelPrice, ...])


def document(
    models: Iterable[ModelPrice],
    bounds: Mapping[str, InputBound],
    source: Source,
    taken_on: date,
    review_by: date | None,
) -> dict[str, Any]:
    """The contents of a book's file. `bounds`: names for those that many models share.

    Raises PriceBookInvalid where a name stands for two prices.
    """
    models = tuple(models)
    prices_by_name(models)
    names = {bound: name for name, bound in bounds.items()}
    used = {price.input_bound for price in models}
    return {
        "version": version_of(taken_on, models),
        "source": source.model_dump(mode="json"),
        "taken_on": taken_on.isoformat(),
        "review_by": None if review_by is None else review_by.isoformat(),
        "input_bounds": {
            name: bound.model_dump(mode="json") for name, bound in bounds.items() if bound in used
        },
        "models": [_entry(price, names) for price in models],
    }


def merged(book: PriceBook, prices: Iterable[ModelPrice], taken_on: date) -> dict[str, Any]:
    """The contents of a book's file: the book's prices, and these in the place of those of the same model."""
    given = {price.model: price for price in prices}
    kept = (given.pop(price.model, price) for price in book.models)
    models = (*kept, *given.values())
    bounds = {bound: f"bound_{number}" for number, bound in enumerate(_bounds(models), 1)}
    named = {name: bound for bound, name in bounds.items()}
    return document(models, named, book.source, taken_on, book.review_by)


def read_prices(path: Path) -> tuple[ModelPrice, ...]:
    """From a list of prices, or from an object with `models`, and `input_bounds` where bounds have names.

    Raises PriceBookInvalid.
    """
    try:
        raw = json.loads(path.read_bytes())
        listed = raw if isinstance(raw, list) else with_named_bounds(raw)["models"]
        return _MODELS.validate_python(listed)
    except OSError as error:
        raise PriceBookInvalid(f"{path} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        raise PriceBookInvalid(f"{path}: {explain(error)}") from None
    except (ValueError, TypeError, KeyError, RecursionError):
        raise PriceBookInvalid(f"{path}: neither a list of prices nor an object with models") from None


def write(path: Path, contents: Mapping[str, Any]) -> Path | None:
    """Put a book in its place. Returns where the one that stood there is kept, if it was another version.

    Raises PriceBookInvalid where what stands there is no price book.
    """
    kept = None
    if path.exists():
        old = PriceBook.load(path)
        if old.version != contents["version"]:
            kept = place_of(path, old.version)
            kept.write_bytes(path.read_bytes())
    path.write_text(json.dumps(contents, indent=2) + "\n", encoding="utf-8")
    return kept


def place_of(path: Path, version: str) -> Path:
    """Where the book at `path` of this version is kept: `prices.2026-01-31.0123456789ab.json`."""
    return path.with_name(f"{path.stem}.{version}{path.suffix}")


def find(named: str, current: Path) -> PriceBook:
    """A book by its file, or by its version: the current one, or one that is kept beside it.

    Raises NotFound, PriceBookInvalid.
    """
    if Path(named).is_file():
        return PriceBook.load(Path(named))
    book = PriceBook.load(current)
    if named == book.version:
        return book
    kept = place_of(current, named) if _VERSION.fullmatch(named) else None
    if kept is None or not kept.is_file():
        raise NotFound(f"no price book {named}: neither a file, nor a version kept beside {current}")
    return PriceBook.load(kept)


def _bounds(models: Iterable[ModelPrice]) -> list[InputBound]:
    found = dict.fromkeys(price.input_bound for price in models)
    return [bound for bound in found if bound is not None]


def _entry(price: ModelPrice, names: Mapping[InputBound, str]) -> dict[str, Any]:
    entry = price.model_dump(mode="json", exclude_defaults=True)
    if price.input_bound is not None:
        entry["input_bound"] = names[price.input_bound]
    return entry
