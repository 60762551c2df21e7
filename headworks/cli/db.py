"""`headworks db`."""

import typer

from headworks.cli.groups import group
from headworks.cli.output import opened, run

app = group(help="The database: make its tables, and bring them up to date.")


@app.command()
def upgrade() -> None:
    """Make the tables, or bring them to this version. Running it again changes nothing.

    Example:
        headworks db upgrade
    """
    from broker.ops import schema
    from broker.settings import Settings

    run(schema.upgrade(Settings.load().database))
    typer.echo("The database is up to date.")


@app.command()
def check() -> None:
    """Say whether the tables are those of this version. Exit status 1 if not.

    Example:
        headworks db check
    """
    from broker.settings import Settings

    async def work() -> None:
        async with opened(Settings.load()):
            pass

    run(work())
    typer.echo("The database is up to date.")
