"""The command line: `headworks`."""

from typing import Annotated

import typer

from headworks.cli.commands import CommandTable
from headworks.cli.groups import group
from headworks.cli.streams import guarded

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

    Applications publish signed jobs; workers check them, hold budget for them, call an OpenAI-compatible
    provider, put answer and cost on record, and send the reply.

    To see it, with no server and nothing to set:
        headworks demo                            # example jobs, their bill
        headworks dev                             # all in one process
        headworks submit "What is a headworks?"   # meanwhile, same folder

    Settings come from `headworks.toml`, or the file that HEADWORKS_CONFIG names, overlaid by variables such
    as HEADWORKS_KAFKA__BOOTSTRAP_SERVERS. `headworks doctor` says whether they fit.

    `headworks COMMAND --help` tells more of each command.
    """


def main() -> None:
    """The console script."""
    with guarded():
        app()
