"""`headworks ledger`."""

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from headworks.cli.groups import group
from headworks.cli.output import JsonOption, opened, run, show_table

if TYPE_CHECKING:
    from broker.store.ledger_check import Difference, Progress

app = group(help="The ledger: who was charged what, and whether all records agree on it.")


@app.command()
def verify(as_json: JsonOption = False) -> None:
    """Compare Redis, the ledger and the audit with one another, and show every difference.

    Example:
        headworks ledger verify

    Terminals with their charges, charges with the attempts, verdicts and holds that they are for, every end
    with its entry in the audit, every hash chain with its head; and the gate, of each organization, project
    and key: what it counts as spent with the charges of the day and the month, its holds with the attempts
    under way, what it counts as held and in flight with its holds. Workers may go on meanwhile.

    Exit status: 0 there is no difference; 1 there is one, or a part is away.
    """
    found = run(_verify())
    if as_json:
        typer.echo(json.dumps({"differences": [each._asdict() for each in found]}, indent=2))
    elif found:
        show_table(("check", "where", "found"), found)
    else:
        typer.echo("No difference.")
    if found:
        raise typer.Exit(1)


async def _verify() -> "list[Difference]":
    from broker.errors import SettingsInvalid
    from broker.ops.ledger import verify as verified
    from broker.ops.organizations import time_zones
    from broker.quota.redis_gate import RedisGate
    from broker.settings import Settings
    from broker.settings_faults import EMBEDDED_REDIS

    settings = Settings.load()
    if settings.redis.url.get_secret_value() == EMBEDDED_REDIS:
        raise SettingsInvalid("redis.url is the embedded server's, which no other process can ask")
    async with opened(settings) as database:
        zones = await time_zones(database)
        gate = await RedisGate.open(settings.redis, zones.__getitem__)
        try:
            return [each async for each in verified(database, gate, zones, _shown())]
        finally:
            await gate.close()


def _shown() -> "Callable[[Progress], None]":
    """Progress on a terminal."""
    if not sys.stderr.isatty():
        return lambda _: None

    def show(progress: "Progress") -> None:
        end = "\n" if progress.done == progress.total else ""
        typer.echo(f"\raudit: {progress.done:,} of {progress.total:,} entries{end}", nl=False, err=True)

    return show
