"""`headworks orgs`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from headworks.cli.groups import group
from headworks.cli.limits import limits_for_people
from headworks.cli.output import JsonOption, moment, opened, run, show, show_one

if TYPE_CHECKING:
    from broker.ops.organizations import Organization

app = group(help="Organizations: who is billed. Projects belong to them.")

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="Lower-case letters, digits and inner hyphens.")
]
TimeZoneOption = Annotated[
    str,
    typer.Option(
        "--time-zone",
        metavar="ZONE",
        help="Whose days and months budgets go by: Europe/Berlin; UTC at first.",
    ),
]


@app.command()
def create(name: NameArgument) -> None:
    """Make an organization.

    Example:
        headworks orgs create acme
    """
    from broker.ops import organizations
    from broker.settings import Settings

    async def work() -> None:
        async with opened(Settings.load()) as database:
            await organizations.create(database, name)

    run(work())
    typer.echo(f"Made organization {name}. Next: headworks projects create {name}/PROJECT", err=True)


@app.command("set")
def set_settings(name: NameArgument, time_zone: TimeZoneOption) -> None:
    """Change an organization's settings. Workers follow within a second or two.

    Its limits are set by `headworks budgets set`.

    Example:
        headworks orgs set acme --time-zone America/New_York
    """
    from broker.ops import budgets, organizations
    from broker.ops.budgets import Subject
    from broker.ops.organizations import Organization
    from broker.settings import Settings

    async def work() -> Organization:
        async with opened(Settings.load()) as database:
            changed = await organizations.set_settings(database, name, {"time_zone": time_zone})
            subject = Subject("organization", name)
            await budgets.let_go_on(database, await budgets.find(database, subject))
            return changed

    show_one(_for_people(run(work())), as_json=False)


@app.command("show")
def show_organization(name: NameArgument, as_json: JsonOption = False) -> None:
    """Show one organization's settings.

    Example:
        headworks orgs show acme
    """
    from broker.ops import organizations
    from broker.ops.organizations import Organization
    from broker.settings import Settings

    async def work() -> Organization:
        async with opened(Settings.load()) as database:
            return await organizations.show(database, name)

    row = run(work())
    show_one(_record(row) if as_json else _for_people(row), as_json=as_json)


@app.command("list")
def list_all(as_json: JsonOption = False) -> None:
    """Show all organizations.

    Example:
        headworks orgs list --json
    """
    from broker.ops import organizations
    from broker.ops.organizations import Organization
    from broker.settings import Settings

    async def work() -> list[Organization]:
        async with opened(Settings.load()) as database:
            return await organizations.list_all(database)

    rows = run(work())
    headings = ("name", "time zone", "dollars per month", "created")
    show(map(_record if as_json else _for_people, rows), headings, as_json=as_json)


def _record(row: "Organization") -> dict[str, Any]:
    return {"name": row.name, **row.settings.model_dump(mode="json"), "created": moment(row.created_ms)}


def _for_people(row: "Organization") -> dict[str, str]:
    return {
        "name": row.name,
        "time_zone": row.settings.time_zone,
        **limits_for_people(row.settings),
        "created": str(moment(row.created_ms)),
    }
