"""A bill as people read it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from headworks.batch.tally import signed_dollars
from headworks.cli.output import printable

if TYPE_CHECKING:
    from broker.store.usage import BillRow

_APART = ("estimated", "corrected")
UNNAMED = "(none)"
"""Stands where a job carries no such tag."""


def bill_table(by: Sequence[str], rows: "Sequence[BillRow]", *, title: str | None = None) -> Table:
    """A row for each combination of labels, and the sums. A job whose attempts fall under several is in the
    row of each, so jobs are not summed. What is estimated has a column where anything is, and so has what is
    corrected.
    """
    sums = [sum(column) for column in zip(*(row[2:] for row in rows), strict=True)] or [0] * 6
    apart = [name for name in _APART if any(getattr(row, f"{name}_nanodollars") for row in rows)]
    grid = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for heading in by:
        grid.add_column(heading, overflow="fold")
    for name in ("jobs", "attempts", "tokens in", "tokens out", *apart, "dollars"):
        grid.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        labels = [printable(label or UNNAMED) for label in row.labels]
        grid.add_row(*labels, f"{row.jobs:,}", *_figures(row[2:], apart))
    if len(rows) > 1:
        total = ["total", *[""] * len(by)]
        grid.add_row(*total, *_figures(sums, apart), style="bold")
    return grid


def _figures(figures: Sequence[int], apart: Sequence[str]) -> list[str]:
    """Of attempts, tokens, dollars, and those of them that are told apart."""
    *counts, nanodollars, estimated, corrected = figures
    parts = dict(zip(_APART, (estimated, corrected), strict=True))
    return [
        *(f"{count:,}" for count in counts),
        *(signed_dollars(parts[name]) for name in apart),
        signed_dollars(nanodollars),
    ]
