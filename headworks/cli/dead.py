"""`headworks dead`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headworks.cli.groups import group
from headworks.cli.output import JsonOption, moment, opened, run, show, show_one

if TYPE_CHECKING:
    from broker.ops.dead_letters import Letter

app = group(help="Dead letters: what could not be done, and why.")

_LIMIT_MAX = 1_000


@app.command("list")
def list_all(
    limit: Annotated[
        int, typer.Option(metavar="N", min=1, max=_LIMIT_MAX, help="How many, the newest first.")
    ] = 20,
    as_json: JsonOption = False,
) -> None:
    """Show the newest dead letters: where each is, what it was and why it is there. Never what it says.

    Examples:
        headworks dead list
        headworks dead list --limit 500 --json

    Of a record that was not believed, application and job are what it claims to be. Records of that kind are
    a sample (admit.dead_letter_sample_per_s); headworks_unauthentic_total counts them all.
    """
    from broker.ops import dead_letters
    from broker.settings import Settings

    records = [_record(letter) for letter in run(dead_letters.latest(Settings.load().kafka, limit))]
    show(records, ("coordinate", "at", "stage", "reason", "application", "job"), as_json=as_json)


@app.command("show")
def show_letter(
    coordinate: Annotated[
        str, typer.Argument(metavar="COORDINATE", help="As `headworks dead list` shows it: dead/5/0.")
    ],
    value: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the bytes that failed, prompt and all, to a new file."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show one dead letter.

    Examples:
        headworks dead show dead/5/0
        headworks dead show dead/5/0 --value letter.json

    That its bytes were read goes on the record of operations (`headworks budgets history`), so --value needs
    the database; the rest is read from Kafka alone.
    """
    from broker.ops import dead_letters
    from broker.settings import Settings
    from schemas.topics import Coordinate

    try:
        place = Coordinate.parse(coordinate)
    except ValueError:
        raise typer.BadParameter(
            "a coordinate is written dead/PARTITION/OFFSET", param_hint="COORDINATE"
        ) from None
    settings = Settings.load()

    async def work() -> "tuple[Letter, bytes]":
        letter, content = await dead_letters.read(settings.kafka, place)
        if value is not None:
            async with opened(settings) as database:
                await dead_letters.disclose(database, letter, content)
        return letter, content

    letter, content = run(work())
    if value is not None:
        _write(value, content)
        typer.echo(f"Wrote {len(content):,} bytes to {value}.", err=True)
    show_one(_record(letter), as_json=as_json)


def _record(letter: "Letter") -> dict[str, Any]:
    return {
        "coordinate": str(letter.coordinate),
        "at": moment(letter.at_ms),
        "stage": letter.stage,
        "reason": letter.reason,
        "detail": letter.detail,
        "origin": letter.origin,
        "admitted": letter.admitted,
        "application": letter.application,
        "job": None if letter.job_id is None else str(letter.job_id),
        "value_bytes": letter.value_bytes,
    }


def _write(path: Path, content: bytes) -> None:
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}", param_hint="--value") from None
