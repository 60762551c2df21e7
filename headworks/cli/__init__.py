"""The command line: `headworks`."""

from typing import Annotated

import typer

from headworks.cli.commands import CommandTable
from headworks.cli.groups import group

app = group(cls=CommandTable, name="headworks")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"headworks {version('headworks')}")
        raise typer.Exit


@app.callback()
def _headworks(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """A durable, asynchronous broker for LLM jobs on Kafka.

    Settings come from `headworks.toml`, or the file that HEADWORKS_CONFIG
    names, overlaid by variables such as HEADWORKS_KAFKA__BOOTSTRAP_SERVERS.
    `headworks doctor` says whether they fit.
    """


def main() -> None:
    """The console script."""
    app()
