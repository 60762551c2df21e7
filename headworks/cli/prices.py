"""`headworks prices`: the price book, what an update of it changes, and how to make one."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headworks.cli.groups import group
from headworks.cli.output import JsonOption, opened, run, show, show_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

    from broker.pricing.book import ModelPrice, PriceBook
    from broker.pricing.changes import Change

app = group(help="Prices: what models cost, and what an update changes.")

ModelsOption = Annotated[
    list[str] | None,
    typer.Option("--model", metavar="MODEL", help="Only this model, or alias; may be repeated."),
]
BookOption = Annotated[
    str | None,
    typer.Option("--book", metavar="BOOK", help="A file or a version; else the book in use."),
]
OldArgument = Annotated[str, typer.Argument(metavar="OLD", help="A file, or a version as charges name it.")]
NewArgument = Annotated[
    str | None, typer.Argument(metavar="NEW", help="The same; without it the book in use.")
]
FromOption = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="JSON: prices to put into the book, for models of one's own. Without it the book is made anew.",
    ),
]
OutputOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", dir_okay=False, help="The book to write; else the one that `prices` names."),
]
DateOption = Annotated[
    datetime | None,
    typer.Option("--date", metavar="DATE", formats=["%Y-%m-%d"], help="The day whose prices hold; today."),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show what would change, and write nothing.")]


@app.command("list")
def list_all(model: ModelsOption = None, book: BookOption = None, as_json: JsonOption = False) -> None:
    """Show what models cost, in dollars per million tokens.

    Examples:
        headworks prices list
        headworks prices list --model gpt-4o --json

    A model without a bound is refused under a limit of a day or a month. A project's own prices, which come
    before these, are shown by `headworks projects show ORG/PROJECT --json`.
    """
    shown = _book(book)
    prices = _chosen(shown, model)
    headings = ("model", "provider", "input", "cached", "cache write", "output", "bound")
    records = (_record(shown, price) if as_json else _for_people(price) for price in prices)
    show(records, headings, as_json=as_json)
    if not as_json:
        typer.echo(f"version {shown.version}", err=True)


@app.command()
def diff(
    old: OldArgument, new: NewArgument = None, model: ModelsOption = None, as_json: JsonOption = False
) -> None:
    """Show what differs between two price books, per model and field.

    Examples:
        headworks prices diff 2026-01-31.0123456789ab
        headworks prices diff old.json new.json --model gpt-4o

    Rates are in dollars per million tokens. A version is looked for beside the book in use, where an import
    keeps the book that it replaces.
    """
    from broker.pricing.changes import changes

    before, after = _book(old), _book(new)
    names = None if model is None else {price.model for price in _chosen_of((before, after), model)}
    found = [change for change in changes(before, after) if names is None or change.model in names]
    _show_changes(found, as_json=as_json)
    typer.echo(f"from version {before.version} to {after.version}", err=True)


@app.command("import")
def import_prices(
    source: FromOption = None,
    output: OutputOption = None,
    day: DateOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Write a price book, from the data of genai-prices or with prices of one's own.

    Examples:
        headworks prices import --output config/prices.json
        headworks prices import --from own.json --output prices.json --dry-run

    Workers take a new book when they start. Charges made before stay as they are and name their version, and
    a job that was admitted before is charged by the prices that it was admitted under. The book that is
    replaced is kept beside the new one. Where the database is at hand the import is on record
    (`headworks budgets history prices`).
    """
    from broker.pricing.changes import changes

    target = output or _in_use()
    if target is None:
        raise typer.BadParameter(
            "say where, and name that file in the setting `prices`", param_hint="--output"
        )
    target = target.resolve()
    taken_on = (datetime.now(UTC) if day is None else day).date()
    contents = _contents(source, target, taken_on)
    new = _parsed(contents)
    old = _book(str(target)) if target.exists() else None
    if old is not None:
        _show_changes(changes(old, new), as_json=False)
    kept = None if dry_run else _written(target, contents, old)
    if kept is not None:
        typer.echo(f"The book before is kept: {kept}", err=True)
    done = "would be" if dry_run else "is"
    review = new.review_by or "no fixed day"
    typer.echo(
        f"{target} {done} version {new.version}, {len(new.models)} models; review by {review}", err=True
    )


def _in_use() -> Path | None:
    from broker.settings import Settings

    return Settings.load().prices


def _book(named: str | None) -> "PriceBook":
    """Raises NotFound, PriceBookInvalid, SettingsInvalid."""
    from broker.pricing.book import SHIPPED, PriceBook
    from broker.pricing.book_file import find

    current = _in_use() or SHIPPED
    return PriceBook.load(current) if named is None else find(named, current)


def _contents(source: Path | None, target: Path, taken_on: "date") -> dict[str, Any]:
    """Raises PriceBookInvalid."""
    from broker.pricing.book_file import merged, read_prices
    from broker.pricing.importer import make_book

    if source is None:
        return make_book(taken_on)
    base = _book(str(target) if target.exists() else None)
    return merged(base, read_prices(source), taken_on)


def _written(target: Path, contents: dict[str, Any], old: "PriceBook | None") -> Path | None:
    """Where the old one is kept. Raises PriceBookInvalid."""
    from broker.errors import DatabaseBehind, DatabaseUnavailable, SettingsInvalid
    from broker.ops import prices
    from broker.pricing import book_file
    from broker.settings import Settings

    version = None if old is None else old.version

    async def work() -> Path | None:
        async with opened(Settings.load()) as database:
            return await prices.replace(database, target, contents, version)

    try:
        return run(work())
    except (DatabaseUnavailable, DatabaseBehind, SettingsInvalid) as error:
        typer.echo(f"Who imported it is not on record: {error}. Workers record its use.", err=True)
        return book_file.write(target, contents)


def _parsed(contents: dict[str, Any]) -> "PriceBook":
    from broker.pricing.book import PriceBook

    return PriceBook.parse(json.loads(json.dumps(contents)), "the new book")


def _chosen(book: "PriceBook", named: list[str] | None) -> "Sequence[ModelPrice]":
    return book.models if named is None else _chosen_of((book,), named)


def _chosen_of(books: "Iterable[PriceBook]", named: list[str]) -> "list[ModelPrice]":
    """Raises NotFound for a name that is in none of the books."""
    from broker.errors import NotFound

    found: list[ModelPrice] = []
    for name in named:
        prices = [book.by_name[name] for book in books if name in book.by_name]
        if not prices:
            raise NotFound(f"no price of a model {name}")
        found += prices
    return found


def _record(book: "PriceBook", price: "ModelPrice") -> dict[str, Any]:
    from broker.pricing.changes import fields

    return {"model": price.model, "version": book.version, **fields(price)}


def _for_people(price: "ModelPrice") -> dict[str, str | None]:
    from broker.ops.dollars import to_dollars

    rates = price.rates
    return {
        "model": price.model,
        "provider": price.provider,
        "input": to_dollars(rates.input),
        "cached": to_dollars(rates.cached_input),
        "cache_write": to_dollars(rates.cache_write),
        "output": to_dollars(rates.output),
        "bound": None if price.input_bound is None else price.input_bound.kind,
    }


def _show_changes(found: "Sequence[Change]", *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([change._asdict() for change in found], indent=2))
    elif found:
        rows = [(change.model, change.field, change.before or "-", change.after or "-") for change in found]
        show_table(("model", "field", "before", "after"), rows, folded=False)
    else:
        typer.echo("No difference.", err=True)
