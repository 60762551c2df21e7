"""`headworks db`."""

import typer

from headworks.cli.groups import group
from headworks.cli.output import opened, run

app = group(help="The database: bring its tables up to date.")


@app.command()
def upgrade() -> None:
    """Run the migrations that are missing. Running it again changes nothing.

    headworks db upgrade
    """
    from broker.settings import Settings
    from broker.store import migrate

    run(migrate.upgrade(Settings.load().database.url.get_secret_value()))
    typer.echo("The database is up to date.")


@app.command()
def check() -> None:
    """Say whether a migration is missing. Exit code 1 if so.

    headworks db check
    """
    from broker.settings import Settings

    async def work() -> None:
        async with opened(Settings.load()):
            pass

    run(work())
    typer.echo("The database is up to date.")
