"""`headworks usage`: what was spent, as the ledger has it."""

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, TextIO, cast

import typer

from headworks.cli.output import JsonOption, opened, run, show_renderable

if TYPE_CHECKING:
    from broker.store.usage import BillBy, BillRow

_DAY = ["%Y-%m-%d"]
NAMES = "organization, project, application, key, department, feature, user, model, target, lane, day, month"
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""The last four are their full-width forms, which some spreadsheets take for the same."""
_FIGURES = (
    "jobs",
    "attempts",
    "input_tokens",
    "output_tokens",
    "nanodollars",
    "estimated_nanodollars",
    "corrected_nanodollars",
)


def usage(
    by: Annotated[
        str, typer.Option(metavar="WHAT,...", help=f"What each row stands for, one or several of {NAMES}.")
    ] = "project",
    project: Annotated[
        str | None, typer.Option(metavar="ORG/PROJECT", help="Only what this project spent.")
    ] = None,
    application: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only what this application spent.")
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(metavar="DATE", formats=_DAY, help="From this day on: 2026-01-31."),
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(metavar="DATE", formats=_DAY, help="Up to this day, and with it.")
    ] = None,
    month: Annotated[
        datetime | None,
        typer.Option(metavar="MONTH", formats=["%Y-%m"], help="Of this calendar month alone: 2026-01."),
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Write CSV, for spreadsheets.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what was spent, and by whom.

    Examples:
        headworks usage
        headworks usage --month 2026-01 --by project,model
        headworks usage --by department,feature --csv > bill.csv
        headworks usage --by month,project --since 2026-01-01 --json

    Counted are the attempts of jobs that have ended, on the day and in the month for which their budget was
    held, by the calendar of their organization. department, feature and user are the tags that jobs carry in
    their metadata. A call of which it is not known whether it was served counts with all that it held, as
    does one whose usage cannot be believed: the part of the dollars that is estimated.
    What `headworks ledger reconcile` found of these is counted on the day on which it was written, so that
    no bill of a month that is over changes: the part of the dollars that is corrected, less than nothing
    where they had cost less.
    Dollars in CSV and JSON are whole nanodollars: a billion of them are one dollar.
    """
    names = _named(by)
    rows = run(_rows(names, project, application, _days(since, until, month)))
    if as_json:
        typer.echo(json.dumps(list(_records(names, rows)), indent=2))
    elif as_csv:
        write_csv(sys.stdout, [*names, *_FIGURES], _records(names, rows))
    elif rows:
        from headworks.cli.bill import bill_table

        show_renderable(bill_table(names, rows))
    else:
        is_all = not (project or application or since or until or month)
        typer.echo("Nothing spent yet." if is_all else "Nothing spent of what this asks for.", err=True)


def _named(by: str) -> "list[BillBy]":
    from broker.store.usage import BILL_BY

    names = [name.strip() for name in by.split(",")]
    wrong = [name for name in names if name not in BILL_BY]
    if wrong:
        raise typer.BadParameter(f"{wrong[0]!r} is none of {NAMES}", param_hint="--by")
    if len(set(names)) < len(names):
        raise typer.BadParameter("a name stands there twice", param_hint="--by")
    return cast("list[BillBy]", names)


def _days(since: datetime | None, until: datetime | None, month: datetime | None) -> range:
    from broker.store.usage import ALL_DAYS

    if month is not None:
        if since is not None or until is not None:
            raise typer.BadParameter("stands for --since and --until", param_hint="--month")
        since, until = month, (month + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    first = ALL_DAYS.start if since is None else _day(since)
    stop = ALL_DAYS.stop if until is None else _day(until) + 1
    if stop <= first:
        raise typer.BadParameter("lies before --since", param_hint="--until")
    return range(first, stop)


def _day(at: datetime) -> int:
    return (at.replace(tzinfo=UTC) - datetime.fromtimestamp(0, UTC)).days


async def _rows(
    by: "Sequence[BillBy]", project: str | None, application: str | None, days: range
) -> "list[BillRow]":
    """Raises NotFound, SettingsInvalid, DatabaseUnavailable, DatabaseBehind."""
    from broker.ops import applications, projects
    from broker.ops.projects import Address
    from broker.settings import Settings
    from broker.store.usage import Usage

    address = None if project is None else Address.parse(project)
    async with opened(Settings.load()) as database:
        project_id = None if address is None else (await projects.show(database, address)).id
        application_id = None if application is None else (await applications.show(database, application)).id
        return await Usage(database).bill(by, days=days, project_id=project_id, application_id=application_id)


def _records(by: Sequence[str], rows: "Sequence[BillRow]") -> Iterator[dict[str, Any]]:
    for row in rows:
        yield dict(zip(by, row.labels, strict=True)) | dict(zip(_FIGURES, row[1:], strict=True))


def write_csv(
    to: TextIO, columns: Sequence[str], records: Iterable[dict[str, Any]], *, with_header: bool = True
) -> None:
    """All text is quoted: with `;` between its columns a spreadsheet could find a formula inside a tag."""
    writer = csv.DictWriter(to, columns, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    if with_header:
        csv.writer(to, lineterminator="\n").writerow(columns)
    writer.writerows(inert(record) for record in records)


def inert(record: dict[str, Any]) -> dict[str, Any]:
    """A tag comes from an application: no spreadsheet may take it for a formula (OWASP, CSV injection)."""
    return {
        name: f"'{value}" if isinstance(value, str) and _is_formula(value) else value
        for name, value in record.items()
    }


def _is_formula(text: str) -> bool:
    return text[:1] in ("\t", "\r", "\n") or text.lstrip().startswith(_FORMULA)
