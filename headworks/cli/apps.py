"""`headworks apps`."""

from typing import Annotated

import typer

from headworks.cli.groups import group
from headworks.cli.output import JsonOption, moment, opened, run, show

app = group(help="Applications: who publishes jobs, and where the replies go.")


@app.command()
def create(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="Lower-case letters, digits and inner hyphens; unique over all projects."
        ),
    ],
    project: Annotated[
        str, typer.Option(metavar="ORG/PROJECT", help="Whose budget its jobs are held against.")
    ],
    own_topics: Annotated[
        bool,
        typer.Option(
            "--own-topics",
            help="Give it topics of its own to publish on, so that Kafka's ACLs can keep others off.",
        ),
    ] = False,
) -> None:
    """Make an application and the topic of its replies.

    Example:
        headworks apps create indexer --project acme/search
    """
    from broker.errors import HeadworksError
    from broker.kafka import topics
    from broker.kafka.topics import Report
    from broker.ops import applications
    from broker.ops.projects import Address
    from broker.settings import Settings

    address = Address.parse(project)
    settings = Settings.load()

    async def work() -> Report:
        async with opened(settings) as database:
            await applications.create(database, name, address)
        typer.echo(f"Made application {name}.", err=True)
        try:
            return await topics.apply_application(settings.kafka, name, walled=own_topics)
        except HeadworksError:
            typer.echo("Its topics are still to be made: headworks topics apply", err=True)
            raise

    for line in run(work()).done:
        typer.echo(line, err=True)
    typer.echo(f"Next: headworks keys create {name}", err=True)


@app.command("list")
def list_all(as_json: JsonOption = False) -> None:
    """Show all applications.

    Example:
        headworks apps list --json
    """
    from broker.ops import applications
    from broker.ops.applications import ApplicationRow
    from broker.settings import Settings

    async def work() -> list[ApplicationRow]:
        async with opened(Settings.load()) as database:
            return await applications.list_all(database)

    records = [
        {"name": row.name, "project": str(row.project), "created": moment(row.created_ms)}
        for row in run(work())
    ]
    show(records, ("name", "project", "created"), as_json=as_json)
