"""What commands have in common: running, opening the database, showing lists."""

import json
import logging
import sys
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from broker.settings import Settings
    from broker.store.database import Database

T = TypeVar("T")
Record = Mapping[str, Any]
_WIDTH_UNSEEN = 240
"""Of a table that goes into a file or a pipe, where nothing wraps."""

JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON, for scripts.")]


def run(work: Coroutine[Any, Any, T]) -> T:
    """In an event loop of its own. That a server is away is said once, by the error."""
    from headworks.cli import loop

    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    return loop.run(work)


@asynccontextmanager
async def opened(settings: "Settings") -> "AsyncIterator[Database]":
    """Raises DatabaseUnavailable, DatabaseBehind, SettingsInvalid."""
    from broker.store.database import Database
    from broker.store.migrate import check

    database = await Database.open(settings.database)
    try:
        await check(database)
        yield database
    finally:
        await database.close()


def show(records: Iterable[Record], headings: Sequence[str], *, as_json: bool) -> None:
    """A table of the headings, or all fields as JSON. Fields are named as headings, with underscores."""
    records = list(records)
    if as_json:
        typer.echo(json.dumps(records, indent=2))
    elif records:
        show_table(
            headings,
            [[_cell(record[heading.replace(" ", "_")]) for heading in headings] for record in records],
            folded=False,
        )
    else:
        typer.echo("None yet.", err=True)


def show_one(record: Record, *, as_json: bool) -> None:
    """A line a field, or JSON."""
    if as_json:
        typer.echo(json.dumps(record, indent=2))
        return
    width = max(map(len, record)) + 2
    for name, value in record.items():
        typer.echo(f"{name.replace('_', ' '):{width}}{_cell(value)}")


def show_table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, folded: bool = True) -> None:
    """`folded`: sentences, which are folded to the terminal's width; names stay whole, to be copied."""
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*row)
    show_renderable(table, folded=folded)


def show_renderable(renderable: "RenderableType", *, folded: bool = True) -> None:
    shown = console(folded=folded)
    if shown.is_terminal and folded:
        shown.print(renderable)
        return
    with shown.capture() as captured:
        shown.print(renderable)
    for line in captured.get().splitlines():
        typer.echo(line.rstrip())


def console(*, folded: bool = True) -> "Console":
    """Standard output. What goes into a file or a pipe is as wide as it is."""
    from rich.console import Console

    width = None if folded and sys.stdout.isatty() else _WIDTH_UNSEEN
    return Console(width=width, markup=False, highlight=False)


def printable(text: str) -> str:
    """Without the characters by which a name could command the terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def moment(at_ms: int | None) -> str | None:
    """ISO 8601 in UTC, to the second."""
    if at_ms is None:
        return None
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="seconds")


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return printable(", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value))
