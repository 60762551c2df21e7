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
        typer.Option("--client", help="Check what an application needs, with its own credential."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check every part of this installation, and say what to mend.

    Examples:
        headworks doctor            # where workers run
        headworks doctor --client   # where an application runs

    The first looks at settings, secrets and prices, whether the detector of injections was compiled, the
    database and its tables, Kafka and its topics, Redis, the providers' addresses, and whether all clocks
    agree. It writes one empty record, to the topic `probe`.

    The second looks at what an application needs: the credential in HEADWORKS_CREDENTIAL, Kafka, its topics
    and its clock. Whether the broker knows the key shows only by a job that is answered: `headworks submit`.

    Exit status: 0 all is well; 1 something is to be mended.
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
    for number, (fix, checks_of_fix) in enumerate(_by_fix(failed).items(), 1):
        causes = ", ".join(f"{check.name} [{check.code}]" for check in checks_of_fix)
        typer.echo(f"  {number}. {fix}\n     for {causes}")


def _by_fix(failed: "list[Check]") -> "dict[str, list[Check]]":
    """What is mended by the same thing is mended at once."""
    fixes: dict[str, list[Check]] = {}
    for check in failed:
        fixes.setdefault(str(check.fix), []).append(check)
    return fixes
