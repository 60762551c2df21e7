"""`headworks usage`: what was spent, as the ledger has it."""

import json
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from headworks.cli.output import JsonOption, opened, run, show_renderable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.store.usage import BillRow


class By(StrEnum):
    """`broker.store.usage.BillBy`, as Typer needs it."""

    ORGANIZATION = "organization"
    PROJECT = "project"
    APPLICATION = "application"
    KEY = "key"
    DEPARTMENT = "department"
    FEATURE = "feature"
    USER = "user"
    MODEL = "model"
    TARGET = "target"
    LANE = "lane"
    DAY = "day"


def usage(
    by: Annotated[
        By, typer.Option(metavar="WHAT", help=f"What each row stands for: {', '.join(By)}.")
    ] = By.PROJECT,
    project: Annotated[
        str | None, typer.Option(metavar="ORG/PROJECT", help="Only what this project spent.")
    ] = None,
    application: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only what this application spent.")
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(metavar="DATE", formats=["%Y-%m-%d"], help="From this day (UTC) on: 2026-01-31."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what was spent, and by whom.

    Examples:
        headworks usage
        headworks usage --by model --project acme/search
        headworks usage --by day --since 2026-01-01 --json

    Counted are the attempts of jobs that have ended, on the day (UTC) for which their budget was held.
    department, feature and user are the tags that jobs carry in their metadata. A call of which it is not
    known whether it was served counts with all that was held for it.
    """
    rows = run(_rows(by, project, application, since))
    if as_json:
        typer.echo(json.dumps([{str(by): row.label, **_figures(row)} for row in rows], indent=2))
    elif rows:
        from headworks.cli.bill import bill_table

        show_renderable(bill_table(by, rows))
    else:
        typer.echo("Nothing spent yet.", err=True)


async def _rows(
    by: By, project: str | None, application: str | None, since: datetime | None
) -> "Sequence[BillRow]":
    """Raises NotFound, SettingsInvalid, DatabaseUnavailable, DatabaseBehind."""
    from broker.ops import applications, projects
    from broker.ops.projects import Address
    from broker.settings import Settings
    from broker.store.usage import Usage

    address = None if project is None else Address.parse(project)
    since_day = 0 if since is None else (since.replace(tzinfo=UTC) - datetime.fromtimestamp(0, UTC)).days
    async with opened(Settings.load()) as database:
        project_id = None if address is None else (await projects.show(database, address)).id
        application_id = None if application is None else (await applications.show(database, application)).id
        return await Usage(database).bill(
            by.value, since_day=since_day, project_id=project_id, application_id=application_id
        )


def _figures(row: "BillRow") -> dict[str, int]:
    named = row._asdict()
    return {
        name: named[name] for name in ("jobs", "attempts", "input_tokens", "output_tokens", "nanodollars")
    }
