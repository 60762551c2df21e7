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
    row of each, so jobs are not summed.
    """
    sums = [sum(column) for column in zip(*(row[2:] for row in rows), strict=True)] or [0, 0, 0, 0]
    grid = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for heading in by:
        grid.add_column(heading, overflow="fold")
    for name in ("jobs", "attempts", "tokens in", "tokens out", "dollars"):
        grid.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        labels = [printable(label or UNNAMED) for label in row.labels]
        grid.add_row(*labels, *_figures(row.jobs, *row[2:]))
    if len(rows) > 1:
        grid.add_row("total", *[""] * (len(by) - 1), *_figures(None, *sums), style="bold")
    return grid


def _figures(
    jobs: int | None, attempts: int, input_tokens: int, output_tokens: int, nanodollars: int
) -> list[str]:
    counts = ["" if jobs is None else f"{jobs:,}", f"{attempts:,}", f"{input_tokens:,}", f"{output_tokens:,}"]
    return [*counts, dollars(nanodollars)]
