"""`headworks orgs`."""

from typing import Annotated

import typer

from headworks.cli.groups import group
from headworks.cli.output import JsonOption, moment, opened, run, show

app = group(help="Organizations: who is billed. Projects belong to them.")


@app.command()
def create(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Lower-case letters, digits and inner hyphens.")
    ],
) -> None:
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

    records = [{"name": row.name, "created": moment(row.created_ms)} for row in run(work())]
    show(records, ("name", "created"), as_json=as_json)
