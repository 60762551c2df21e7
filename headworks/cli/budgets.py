"""`headworks budgets`."""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headworks.cli.groups import group
from headworks.cli.limits import (
    DollarsPerDay,
    DollarsPerMonth,
    JobsInFlight,
    RequestsPerMinute,
    TokensPerDay,
    TokensPerMinute,
    TokensPerMonth,
    limits,
    limits_for_people,
)
from headworks.cli.output import JsonOption, moment, opened, run, show, show_one

if TYPE_CHECKING:
    from broker.ops.budgets import Found, Standing, Subject
    from broker.settings import Settings
    from broker.store.database import Database

app = group(help="Budgets: what organizations, projects and keys may use, and what is left of it.")

SubjectArgument = Annotated[
    str, typer.Argument(metavar="SUBJECT", help="acme, acme/search, or key:3f9a1c0b5d7e2468.")
]


def _command(
    name: str, act: "Callable[[Database, Subject, Mapping[str, Any]], Awaitable[Found]]", text: str
) -> None:
    """One of the commands that set limits; `text` is its help."""

    def change(
        subject: SubjectArgument,
        *,
        dollars_per_day: DollarsPerDay = None,
        dollars_per_month: DollarsPerMonth = None,
        requests_per_minute: RequestsPerMinute = None,
        tokens_per_minute: TokensPerMinute = None,
        tokens_per_day: TokensPerDay = None,
        tokens_per_month: TokensPerMonth = None,
        jobs_in_flight: JobsInFlight = None,
    ) -> None:
        wanted = limits(
            nanodollars_per_day=dollars_per_day,
            nanodollars_per_month=dollars_per_month,
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
            tokens_per_day=tokens_per_day,
            tokens_per_month=tokens_per_month,
            jobs_in_flight=jobs_in_flight,
        )
        _change(subject, wanted, act)

    app.command(name, help=text)(change)


async def _set(database: "Database", subject: "Subject", wanted: Mapping[str, Any]) -> "Found":
    from broker.ops import budgets

    return await budgets.set_limits(database, subject, wanted)


async def _raise(database: "Database", subject: "Subject", wanted: Mapping[str, Any]) -> "Found":
    from broker.ops import budgets

    return await budgets.raise_limits(database, subject, wanted)


_command(
    "set",
    _set,
    """Set limits of an organization, a project or a key; what is not named stays.

    A job is held against all three at once. Workers follow within a second or two; jobs that wait for the
    budget are tried again after three. Who changed what is on the record: `headworks budgets history`.

    Examples:
        headworks budgets set acme --dollars-per-month 5000
        headworks budgets set acme/search --dollars-per-day 40
        headworks budgets set key:3f9a1c0b5d7e2468 --tokens-per-day none
    """,
)
_command(
    "raise",
    _raise,
    """As set, and refuses whatever would not be more than before.

    Example:
        headworks budgets raise acme/search --dollars-per-day 60
    """,
)


@app.command("show")
def show_budgets(
    subject: Annotated[
        str | None,
        typer.Argument(metavar="SUBJECT", help="Only this one's; without it, all that have limits."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what is allowed, used and left, and when it runs out at the pace of the hour before.

    Used is what was spent and what is held for jobs under way. Amounts in JSON are whole: nanodollars, of
    which a billion are one dollar, and tokens.

    Examples:
        headworks budgets show
        headworks budgets show acme/search --json
    """
    rows = run(_standings(subject))
    if as_json:
        typer.echo(json.dumps([_record(row) for row in rows], indent=2))
    elif rows:
        show(
            [_for_people(row) for row in rows],
            ("subject", "limit", "allowed", "used", "left", "until", "runs out"),
            as_json=False,
        )
    else:
        typer.echo("No limits are set; `headworks budgets set` sets some.", err=True)


@app.command()
def history(
    subject: Annotated[
        str | None, typer.Argument(metavar="SUBJECT", help="Only this one's; without it, all operations.")
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=10_000, help="How many, the latest.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """Show who changed what, the latest first: all that operators did by a command.

    HEADWORKS_OPERATOR says who is at work; without it the login name does. The entries are a hash chain,
    which `headworks ledger verify` checks.

    Example:
        headworks budgets history acme/search
    """
    from broker.settings import Settings
    from broker.store.operations import OperationRow, latest

    async def work() -> "list[OperationRow]":
        async with opened(Settings.load()) as database:
            return list(await latest(database, limit, subject))

    records: list[Mapping[str, Any]] = [
        {
            "at": moment(row.at_ms),
            "who": row.operation.actor,
            "what": row.operation.action,
            "subject": row.operation.subject,
            "before": row.operation.before if as_json else _fields(row.operation.before),
            "after": row.operation.after if as_json else _fields(row.operation.after),
        }
        for row in run(work())
    ]
    show(records, ("at", "who", "what", "subject", "before", "after"), as_json=as_json)


def _fields(values: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={json.dumps(value)}" for name, value in values.items()) or "-"


def _change(
    text: str,
    wanted: dict[str, Any],
    act: "Callable[[Database, Subject, Mapping[str, Any]], Awaitable[Found]]",
) -> None:
    from broker.ops.budgets import Subject
    from broker.settings import Settings

    if not wanted:
        raise typer.BadParameter("say what to change, for example --dollars-per-day 40")
    subject = Subject.parse(text)

    async def work() -> "Found":
        async with opened(Settings.load()) as database:
            return await act(database, subject, wanted)

    show_one({"subject": text, **limits_for_people(run(work()).limits)}, as_json=False)


async def _standings(text: str | None) -> "list[Standing]":
    """Raises NotFound, SettingsInvalid, Unavailable."""
    from broker.ops import budgets
    from broker.ops.budgets import Subject
    from broker.settings import Settings

    settings = Settings.load()
    async with opened(settings) as database:
        subjects = await budgets.all_subjects(database) if text is None else [Subject.parse(text)]
        found = [await budgets.find(database, subject) for subject in subjects]
        return await _read(settings, database, found)


async def _read(settings: "Settings", database: "Database", found: "list[Found]") -> "list[Standing]":
    from broker.errors import SettingsInvalid
    from broker.ops import budgets
    from broker.ops.organizations import time_zones
    from broker.quota.ledger_source import LedgerSource
    from broker.quota.redis_gate import RedisGate
    from broker.quota.self_opening import SelfOpeningGate
    from broker.settings_faults import EMBEDDED_REDIS

    if settings.redis.url.get_secret_value() == EMBEDDED_REDIS:
        raise SettingsInvalid("redis.url is the embedded server's, which no other process can ask")
    zones = await time_zones(database)
    gate = await RedisGate.open(settings.redis, zones.__getitem__)
    try:
        opening = SelfOpeningGate(gate, LedgerSource(database), lambda: None)
        return await budgets.standings(database, opening, found)
    finally:
        await gate.close()


def _record(row: "Standing") -> dict[str, Any]:
    times = {"until": moment(row.until_ms), "runs_out": moment(row.runs_out_ms)}
    return {
        "subject": row.subject,
        "limit": row.limit,
        "cap": row.cap,
        "used": row.used,
        "left": row.left,
    } | times


def _for_people(row: "Standing") -> dict[str, Any]:
    from broker.ops.dollars import to_dollars

    is_money = row.limit.startswith("nanodollars")
    amounts = {"allowed": row.cap, "used": row.used, "left": row.left}
    shown = {name: to_dollars(value) if is_money else f"{value:,}" for name, value in amounts.items()}
    limit = row.limit.removeprefix("nano").replace("_", " ")
    return {"subject": row.subject, "limit": limit, **shown, "until": moment(row.until_ms)} | {
        "runs_out": moment(row.runs_out_ms)
    }
