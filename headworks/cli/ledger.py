"""`headworks ledger`."""

import json
import sys
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, NamedTuple

import typer

from headworks.cli.estimated import corrections, estimated
from headworks.cli.groups import group
from headworks.cli.output import JsonOption, opened, run, show_table
from headworks.cli.reconcile import reconcile

if TYPE_CHECKING:
    from broker.quota.redis_gate import RedisGate
    from broker.settings import Settings
    from broker.store.ledger_check import Difference, Progress

app = group(help="The ledger: who was charged what, and whether all records agree on it.")
app.command()(estimated)
app.command()(reconcile)
app.command()(corrections)


@app.command()
def verify(as_json: JsonOption = False) -> None:
    """Compare Redis, the ledger and the audit with one another, and show every difference.

    Example:
        headworks ledger verify

    Terminals with their charges, charges with the attempts, verdicts and holds that they are for, every end
    with its entry in the audit, every hash chain with its head; and the gate, of each organization, project
    and key: what it counts as spent with the charges of the day and the month, its holds with the attempts
    under way, what it counts as held and in flight with its holds. Workers may go on meanwhile.

    The embedded Redis of `headworks dev` can be asked by no other process: the rest is compared.

    Exit status: 0 there is no difference; 1 there is one, or a part is away.
    """
    report = run(_verify())
    found = report.differences
    if as_json:
        listed = [each._asdict() for each in found]
        typer.echo(json.dumps({**report._asdict(), "differences": listed}, indent=2))
    else:
        typer.echo(_scope(report), err=True)
        if found:
            show_table(("check", "where", "found"), found)
        else:
            typer.echo("No difference.")
    if found:
        raise typer.Exit(1)


class _Report(NamedTuple):
    differences: "list[Difference]"
    audit_entries: int
    """Of all chains, that of operators too."""
    organizations: int
    redis_compared: bool


def _scope(report: _Report) -> str:
    """So that nobody takes an empty ledger, or half of the work, for one that was checked."""
    scope = f"compared: {report.audit_entries:,} audit entries, with their terminals and charges"
    if not report.redis_compared:
        return f"{scope}; not Redis, which is embedded in another process"
    return f"{scope}; Redis, of {report.organizations:,} organizations"


async def _verify() -> _Report:
    from broker.ops.ledger import verify as verified
    from broker.ops.organizations import time_zones
    from broker.settings import Settings
    from broker.store.ledger_check import Progress

    settings, progress, show = Settings.load(), [Progress(0, 0)], _shown()

    def follow(latest: Progress) -> None:
        progress[0] = latest
        show(latest)

    async with opened(settings) as database, AsyncExitStack() as stack:
        zones = await time_zones(database)
        gate = await _gate(stack, settings, zones)
        found = [each async for each in verified(database, gate, zones, follow)]
    return _Report(found, progress[0].total, len(zones), gate is not None)


async def _gate(
    stack: AsyncExitStack, settings: "Settings", zones: "Mapping[int, str]"
) -> "RedisGate | None":
    """None where it is embedded in another process."""
    from broker.quota.redis_gate import RedisGate
    from broker.settings_faults import EMBEDDED_REDIS

    if settings.redis.url.get_secret_value() == EMBEDDED_REDIS:
        return None
    gate = await RedisGate.open(settings.redis, zones.__getitem__)
    stack.push_async_callback(gate.close)
    return gate


def _shown() -> "Callable[[Progress], None]":
    """Progress on a terminal."""
    if not sys.stderr.isatty():
        return lambda _: None

    def show(progress: "Progress") -> None:
        end = "\n" if progress.done == progress.total else ""
        typer.echo(f"\raudit: {progress.done:,} of {progress.total:,} entries{end}", nl=False, err=True)

    return show
