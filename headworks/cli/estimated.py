"""`headworks ledger estimated` and `corrections`: what waits to be reconciled, and what was."""

import json
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headworks.batch.tally import dollars, signed_dollars
from headworks.cli.output import JsonOption, moment, opened, printable, run, show_table
from headworks.cli.usage import write_csv

if TYPE_CHECKING:
    from broker.store.estimated import CorrectionRow, Estimated, EstimatedRow

ROWS_SHOWN = 100
"""Of a table for people; files have all."""

ProjectOption = Annotated[
    str | None, typer.Option("--project", metavar="ORG/PROJECT", help="Only of this project.")
]
MonthOption = Annotated[
    datetime | None,
    typer.Option(
        "--month", metavar="MONTH", formats=["%Y-%m"], help="Only on the bill of this month: 2026-01."
    ),
]
CsvOption = Annotated[bool, typer.Option("--csv", help="Write CSV, for spreadsheets.")]

_CORRECTIONS = (
    "application",
    "job",
    "run",
    "attempt",
    "number",
    "project",
    "charged_month",
    "billed_month",
    "nanodollars",
    "tokens",
    "figure_nanodollars",
    "reference",
    "file_sha256",
    "operator",
    "written_at",
)


def estimated(
    project: ProjectOption = None,
    month: MonthOption = None,
    as_csv: CsvOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show the charges that wait to be reconciled: made by the hold, since no usage came that is believed.

    Examples:
        headworks ledger estimated
        headworks ledger estimated --month 2026-01 --csv > open.csv

    Put dollars, or input_tokens and output_tokens, beside the rows of the CSV that the provider's invoice or
    export tells of, take the others out, and give the file to `headworks ledger reconcile`. There is no id of
    the provider's in the ledger: find a call by its target, model, time and tokens. Amounts are whole
    nanodollars: a billion of them are one dollar.
    """
    from broker.statements.entries import REQUIRED, TOLD

    def rows(source: "Estimated", of: dict[str, int | None]) -> "AsyncIterator[Sequence[EstimatedRow]]":
        return source.waiting(**of)

    columns = ("application", *REQUIRED, *TOLD)
    _show(rows, _estimated_record, columns, _estimated_table, project, month, as_csv=as_csv, as_json=as_json)


def corrections(
    project: ProjectOption = None,
    month: MonthOption = None,
    as_csv: CsvOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show what was reconciled: each correction of a charge, who wrote it, when, and by which file.

    Examples:
        headworks ledger corrections --month 2026-02
        headworks ledger corrections --project acme/search --csv > corrections.csv

    They are the lines behind `corrected` on the bill of that month. A charge and all its corrections come to
    the figure of the last of them.
    """

    def rows(source: "Estimated", of: dict[str, int | None]) -> "AsyncIterator[Sequence[CorrectionRow]]":
        return source.corrected(**of)

    _show(
        rows,
        _correction_record,
        _CORRECTIONS,
        _corrections_table,
        project,
        month,
        as_csv=as_csv,
        as_json=as_json,
    )


def _show(
    read: "Callable[[Estimated, dict[str, int | None]], AsyncIterator[Sequence[Any]]]",
    record: Callable[[Any], dict[str, Any]],
    columns: Sequence[str],
    table: Callable[[list[dict[str, Any]], int, int], None],
    project: str | None,
    month: datetime | None,
    *,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Files are written as the rows come; people see the first, and what all come to."""
    shown: list[dict[str, Any]] = []
    count = nanodollars = 0

    async def work() -> None:
        nonlocal count, nanodollars
        async for rows in _read(read, project, month):
            records = [record(row) for row in rows]
            if as_json:
                _write_json(records, is_first=count == 0)
            elif as_csv:
                write_csv(sys.stdout, columns, records, with_header=count == 0)
            else:
                shown.extend(records[: ROWS_SHOWN - len(shown)])
            count += len(rows)
            nanodollars += sum(row.nanodollars for row in rows)

    run(work())
    if as_json:
        typer.echo("\n]" if count else "[]")
    elif as_csv:
        if not count:
            write_csv(sys.stdout, columns, [])
    else:
        table(shown, count, nanodollars)


async def _read(
    read: "Callable[[Estimated, dict[str, int | None]], AsyncIterator[Sequence[Any]]]",
    project: str | None,
    month: datetime | None,
) -> "AsyncIterator[Sequence[Any]]":
    """Raises NotFound, SettingsInvalid, DatabaseUnavailable, DatabaseBehind."""
    from broker.ops import projects
    from broker.ops.projects import Address
    from broker.settings import Settings
    from broker.store.estimated import Estimated

    address = None if project is None else Address.parse(project)
    of_month = None if month is None else month.year * 12 + month.month - 1
    async with opened(Settings.load()) as database:
        project_id = None if address is None else (await projects.show(database, address)).id
        async for rows in read(Estimated(database), {"project_id": project_id, "month": of_month}):
            yield rows


def _write_json(records: Sequence[dict[str, Any]], *, is_first: bool) -> None:
    """An array, an object a line."""
    lines = ",\n".join(f"  {json.dumps(record)}" for record in records)
    sys.stdout.write(("[\n" if is_first else ",\n") + lines)


def _month(month: int) -> str:
    return f"{month // 12:04}-{month % 12 + 1:02}"


def _estimated_record(row: "EstimatedRow") -> dict[str, Any]:
    return {
        "application": row.application,
        "job": str(row.job_id),
        "run": row.run,
        "attempt": row.attempt,
        "project": row.project,
        "target": row.target,
        "model": row.model,
        "price_version": row.price_version,
        "verdict": row.verdict,
        "reason": row.reason,
        "charged_nanodollars": row.nanodollars,
        "month": _month(row.month),
        "charged_at": moment(row.at_ms),
    }


def _correction_record(row: "CorrectionRow") -> dict[str, Any]:
    return {
        "application": row.application,
        "job": str(row.job_id),
        "run": row.run,
        "attempt": row.attempt,
        "number": row.number,
        "project": row.project,
        "charged_month": _month(row.month),
        "billed_month": _month(row.billed_month),
        "nanodollars": row.nanodollars,
        "tokens": row.tokens,
        "figure_nanodollars": row.figure_nanodollars,
        "reference": row.reference,
        "file_sha256": row.file_sha256,
        "operator": row.operator,
        "written_at": moment(row.at_ms),
    }


def _estimated_table(records: list[dict[str, Any]], count: int, nanodollars: int) -> None:
    if not records:
        typer.echo("Nothing waits to be reconciled.", err=True)
        return
    headings = ("charged at", "project", "job", "run", "attempt", "target", "model", "reason", "dollars")
    show_table(
        headings, [[*_cells(each, headings), dollars(each["charged_nanodollars"])] for each in records]
    )
    _tell_sum(records, count, f"{dollars(nanodollars)} dollars are charged by holds")


def _corrections_table(records: list[dict[str, Any]], count: int, nanodollars: int) -> None:
    if not records:
        typer.echo("Nothing was reconciled.", err=True)
        return
    headings = (
        "written at", "operator", "reference", "project", "job", "run", "attempt", "charged month", "dollars"
    )  # fmt: skip
    show_table(headings, [[*_cells(each, headings), signed_dollars(each["nanodollars"])] for each in records])
    _tell_sum(records, count, f"the differences come to {signed_dollars(nanodollars)} dollars")


def _cells(record: dict[str, Any], headings: Sequence[str]) -> list[str]:
    values = (record[heading.replace(" ", "_")] for heading in headings[:-1])
    return [printable("-" if value is None else str(value)) for value in values]


def _tell_sum(records: Sequence[Any], count: int, told: str) -> None:
    more = f", of which the first {len(records)} are shown (--csv and --json have all)"
    typer.echo(f"{count:,} rows{more if count > len(records) else ''}; {told}", err=True)
