"""`headworks doctor`."""

import json
import os
from typing import TYPE_CHECKING, Annotated

import typer

from headworks.cli.output import JsonOption, run, show_table

if TYPE_CHECKING:
    from broker.ops.checks import Check


def doctor(
    client: Annotated[
        bool,
        typer.Option(
            "--client", help="Check what an application needs: Kafka, its credential, its topics, its clock."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check every part of this installation, and say what to mend.

    Asked are settings, secrets, prices, Kafka and its topics, the
    database and its migrations, Redis, the providers' addresses, and
    whether all clocks agree. One empty record is written to the topic
    `probe`. The exit code is 1 if a check fails.

        headworks doctor

    With --client the same is asked as an application sees it, with the
    credential in HEADWORKS_CREDENTIAL. Whether the broker knows the key
    shows only by a job that is answered: try `headworks submit`.

        headworks doctor --client
    """
    checks = _client() if client else _installation()
    if as_json:
        typer.echo(json.dumps([check._asdict() for check in checks], indent=2))
    else:
        _show(checks)
    if not all(check.ok for check in checks):
        raise typer.Exit(1)


def _installation() -> "list[Check]":
    from broker.ops.doctor import diagnose

    return run(diagnose())


def _client() -> "list[Check]":
    from broker.ops.doctor_client import diagnose_client
    from broker.settings import Settings

    return run(diagnose_client(Settings.load().kafka, os.environ.get("HEADWORKS_CREDENTIAL")))


def _show(checks: "list[Check]") -> None:
    show_table(
        ("", "check", "found"),
        [("ok" if check.ok else "FAILED", check.name, check.detail) for check in checks],
    )
    failed = [check for check in checks if not check.ok]
    if not failed:
        typer.echo("\nAll is well.")
        return
    typer.echo("\nTo mend, in this order:")
    for check in failed:
        typer.echo(f"  {check.name} [{check.code}]: {check.fix}")
