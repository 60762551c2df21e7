"""The commands by name. The module of each is imported when it is called, so that help comes at once."""

import importlib
from typing import Any, Final, NamedTuple

import typer

from broker.errors import HeadworksError
from headworks.cli.failures import told
from headworks.cli.groups import group
from headworks.cli.help import Command, Group

_JOBS = "Jobs"
_RUNNING = "Running Headworks"
_OPERATING = "Operating"


class Place(NamedTuple):
    """Where a command is, and what help says of it."""

    module: str
    attribute: str
    summary: str
    panel: str


COMMANDS = {
    "run": Place(
        "headworks.cli.run",
        "run",
        "Run a file of requests in the OpenAI Batch format; write the answers to another.",
        _JOBS,
    ),
    "submit": Place("headworks.cli.submit", "submit", "Submit one prompt and print the answer.", _JOBS),
    "demo": Place(
        "headworks.cli.demo",
        "demo",
        "Run example jobs on embedded servers and a simulated provider; show what they cost.",
        _JOBS,
    ),
    "dev": Place(
        "headworks.cli.dev",
        "dev",
        "Run all of it in one process, with embedded servers: to try out and to develop.",
        _RUNNING,
    ),
    "worker": Place(
        "headworks.cli.worker",
        "worker",
        "Run worker pools against real servers, until SIGTERM or Ctrl-C.",
        _RUNNING,
    ),
    "simulate": Place(
        "headworks.simulate.cli",
        "simulate",
        "Run a provider that no model stands behind: to try out Headworks, and to see it cope.",
        _RUNNING,
    ),
    "doctor": Place(
        "headworks.cli.doctor",
        "doctor",
        "Check every part of this installation, and say what to mend.",
        _OPERATING,
    ),
    "db": Place(
        "headworks.cli.db", "app", "The database: make its tables, and bring them up to date.", _OPERATING
    ),
    "topics": Place("headworks.cli.topics", "app", "Kafka topics: make them, keep them right.", _OPERATING),
    "orgs": Place("headworks.cli.orgs", "app", "Organizations: who is billed.", _OPERATING),
    "projects": Place(
        "headworks.cli.projects", "app", "Projects: which models jobs may use, and how.", _OPERATING
    ),
    "apps": Place("headworks.cli.apps", "app", "Applications: who publishes jobs.", _OPERATING),
    "keys": Place("headworks.cli.keys", "app", "Keys: what applications sign with.", _OPERATING),
    "webhooks": Place(
        "headworks.cli.webhooks",
        "app",
        "Webhooks: where an organization is told of its budgets and reviews.",
        _OPERATING,
    ),
    "jobs": Place(
        "headworks.cli.jobs",
        "app",
        "Single jobs: where one is, what became of it, and to call it off.",
        _OPERATING,
    ),
    "prices": Place(
        "headworks.cli.prices", "app", "Prices: what models cost, and what an update changes.", _OPERATING
    ),
    "policy": Place(
        "headworks.cli.policy", "app", "Policy: what may pass, tried out before it decides.", _OPERATING
    ),
    "review": Place(
        "headworks.cli.review",
        "app",
        "Reviews: jobs that policy holds until a reviewer decides.",
        _OPERATING,
    ),
    "budgets": Place("headworks.cli.budgets", "app", "Budgets: what is allowed, used, and left.", _OPERATING),
    "usage": Place("headworks.cli.usage", "usage", "Show what was spent, and by whom.", _OPERATING),
    "ledger": Place(
        "headworks.cli.ledger", "app", "The ledger: whether all records agree on it.", _OPERATING
    ),
    "dead": Place("headworks.cli.dead", "app", "Dead letters: what could not be done, and why.", _OPERATING),
}


_NO_TEXT: Final = "surrogates not allowed"
"""What Python says of bytes that came from outside and are no UTF-8 (PEP 383)."""
_FILE_UNUSABLE: Final = "file_unusable"


class CommandTable(Group):
    """The group at the top. An error of ours, and a file that the system does not let a command use, leave as
    one line on standard error, and exit status 1.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = {name: _named(name) for name in COMMANDS}

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Put the command itself in the place of its name: it is being called."""
        if args[0] in COMMANDS:
            self.add_command(load(args[0]), args[0])
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except HeadworksError as error:
            typer.echo(f"error [{error.code}]: {told(error)}", err=True)
            raise typer.Exit(1) from None
        except UnicodeEncodeError as error:
            if error.reason != _NO_TEXT:
                raise
            typer.echo("error [settings_invalid]: an argument or a variable is not UTF-8", err=True)
            raise typer.Exit(1) from None
        except OSError as error:
            if error.filename is None:
                raise
            typer.echo(f"error [{_FILE_UNUSABLE}]: {error.filename}: {error.strerror}", err=True)
            raise typer.Exit(1) from None


def _named(name: str) -> Command:
    """Enough of a command to be listed."""
    place = COMMANDS[name]
    return Command(name, help=place.summary, rich_help_panel=place.panel)


def load(name: str) -> Any:
    """The command itself, with the options that its own help shows."""
    place = COMMANDS[name]
    found = getattr(importlib.import_module(place.module), place.attribute)
    if isinstance(found, typer.Typer):
        return typer.main.get_group(found)
    single = group()
    single.command(name)(found)
    return typer.main.get_command(single)
