"""A bill as people read it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from headworks.batch.tally import dollars
from headworks.cli.output import printable

if TYPE_CHECKING:
    from broker.store.usage import BillRow

UNNAMED = "(none)"
"""Stands where a job carries no such tag."""


def bill_table(by: Sequence[str], rows: "Sequence[BillRow]", *, title: str | None = None) -> Table:
    """A row for each combination of labels, and the sums. A job whose attempts fall under several is in the
    row of each, so jobs are not summed. What is estimated has a column where anything is.
    """
    sums = [sum(column) for column in zip(*(row[2:] for row in rows), strict=True)] or [0] * 5
    estimated = sums[-1] > 0
    grid = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for heading in by:
        grid.add_column(heading, overflow="fold")
    names = ("jobs", "attempts", "tokens in", "tokens out", *(["estimated"] if estimated else []), "dollars")
    for name in names:
        grid.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        labels = [printable(label or UNNAMED) for label in row.labels]
        grid.add_row(*labels, f"{row.jobs:,}", *_figures(row[2:], estimated=estimated))
    if len(rows) > 1:
        total = ["total", *[""] * len(by)]
        grid.add_row(*total, *_figures(sums, estimated=estimated), style="bold")
    return grid


def _figures(figures: Sequence[int], *, estimated: bool) -> list[str]:
    """Of attempts, tokens, dollars and those of them that are estimated."""
    *counts, nanodollars, of_holds = figures
    return [
        *(f"{count:,}" for count in counts),
        *([dollars(of_holds)] if estimated else []),
        dollars(nanodollars),
    ]
