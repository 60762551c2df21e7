"""`headworks review`."""

import json
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headworks.cli.groups import group
from headworks.cli.output import JsonOption, moment, opened, run, show, show_one
from headworks.cli.units import span

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from broker.settings import Settings
    from broker.store.database import Database
    from broker.store.reviews import Review

app = group(help="Reviews: jobs that policy holds until a reviewer decides.")

_LIMIT_MAX = 10_000
_SHORT = 12

_ReviewArgument = Annotated[
    str, typer.Argument(metavar="REVIEW", help="As `list` shows it; its beginning is enough.")
]
_WhyOption = Annotated[
    str,
    typer.Option("--why", metavar="TEXT", help="Goes on record with the decision. Do not quote the job."),
]
_NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="As HEADWORKS_OPERATOR or the login name has it.")
]


@app.command("list")
def list_waiting(
    limit: Annotated[
        int, typer.Option(metavar="N", min=1, max=_LIMIT_MAX, help="How many, the most urgent first.")
    ] = 100,
    as_json: JsonOption = False,
) -> None:
    """Show the jobs that wait for a reviewer, those with the least time left first. Never what they say.

    Examples:
        headworks review list
        headworks review list --json
    """
    from broker.ops import reviews

    found = _done(lambda _, database: reviews.list_waiting(database, limit))
    records = [_record(review, whole=as_json) for review in found]
    headings = ("review", "project", "application", "lane", "rules", "age", "time left")
    show(records, headings, as_json=as_json)


@app.command("show")
def show_review(
    review: _ReviewArgument,
    prompt: Annotated[
        bool, typer.Option("--prompt", help="Print the request too. That you read it goes on record.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show one review, also one that has ended; with --prompt, what would be sent to the provider.

    Examples:
        headworks review show 3f9a1c0b5d7e
        headworks review show 3f9a1c0b5d7e --prompt

    What policy takes out is taken out of the request that is printed. Reading it takes the role.
    """
    from broker.ops import reviews

    async def work(settings: "Settings", database: "Database") -> "tuple[Review, bytes | None]":
        found = await reviews.get(database, review)
        return found, await reviews.prompt(settings, database, found) if prompt else None

    found, value = _done(work)
    record = _record(found, whole=True)
    request = None if value is None else json.loads(value)["request"]
    if as_json and request is not None:
        record["request"] = request
    show_one(record, as_json=as_json)
    if request is not None and not as_json:
        typer.echo()
        typer.echo(json.dumps(request, indent=2))


@app.command()
def approve(review: _ReviewArgument, why: _WhyOption, as_json: JsonOption = False) -> None:
    """Let a job go on: to its budget, and then to the provider. Takes the role of a reviewer.

    Example:
        headworks review approve 3f9a1c0b5d7e --why "Agreed by mail."

    It is refused where somebody has decided already, the deadline has passed, the job was called off, or the
    policy that decides by now would not let it pass as it was held.
    """
    from broker.ops import approvals

    _tell(_done(lambda settings, database: approvals.approve(settings, database, review, why)), as_json)


@app.command()
def deny(review: _ReviewArgument, why: _WhyOption, as_json: JsonOption = False) -> None:
    """Refuse a job. Takes the role of a reviewer.

    Example:
        headworks review deny 3f9a1c0b5d7e --why "Not for this provider."

    The application is answered with review_denied, the decision's id and the rule's.
    """
    from broker.ops import reviews

    _tell(_done(lambda _, database: reviews.deny(database, review, why)), as_json)


@app.command("reviewers")
def list_reviewers(as_json: JsonOption = False) -> None:
    """Show who may decide.

    Example:
        headworks review reviewers
    """
    from broker.ops import reviewers

    found = _done(lambda _, database: reviewers.list_all(database))
    records = [{"operator": each.operator, "since": moment(each.given_ms)} for each in found]
    show(records, ("operator", "since"), as_json=as_json)


@app.command()
def appoint(name: _NameArgument, as_json: JsonOption = False) -> None:
    """Make an operator a reviewer. Who did it goes on record.

    Example:
        headworks review appoint ann

    Whoever may change the database may do this, and may call themselves what they like: the role keeps honest
    people apart, and the record shows who was meant to decide.
    """
    from broker.ops import reviewers

    is_new = _done(lambda _, database: reviewers.appoint(database, name))
    if as_json:
        typer.echo(json.dumps({"operator": name, "new": is_new}))
    else:
        typer.echo(f"{name} is a reviewer" + ("." if is_new else " already."), err=True)


@app.command()
def dismiss(name: _NameArgument, as_json: JsonOption = False) -> None:
    """Take the role from an operator. What they decided stands.

    Example:
        headworks review dismiss ann
    """
    from broker.ops import reviewers

    _done(lambda _, database: reviewers.dismiss(database, name))
    if as_json:
        typer.echo(json.dumps({"operator": name}))
    else:
        typer.echo(f"{name} is no reviewer any more.", err=True)


def _done(work: "Callable[[Settings, Database], Awaitable[Any]]") -> Any:
    from broker.settings import Settings

    async def on_database() -> Any:
        settings = Settings.load()
        async with opened(settings) as database:
            return await work(settings, database)

    return run(on_database())


def _tell(review: "Review", as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(_record(review, whole=True), indent=2))
    else:
        typer.echo(f"Review {review.row.id[:_SHORT]} is {review.verdict}.", err=True)


def _record(review: "Review", *, whole: bool) -> dict[str, Any]:
    """`whole`: for scripts, and of one alone."""
    row, now_ms = review.row, time.time_ns() // 1_000_000
    record = {
        "review": row.id if whole else row.id[:_SHORT],
        "project": f"{review.organization}/{review.project}",
        "application": review.application,
        "lane": row.lane,
        "rules": list(row.rules),
        "age": span(max(0, now_ms - row.held_ms)),
        "time_left": None if review.verdict is not None else span(max(0, row.deadline_ms - now_ms)),
    }
    if not whole:
        return record
    return record | {
        "job": str(row.job_id),
        "run": row.run,
        "held": moment(row.held_ms),
        "deadline": moment(row.deadline_ms),
        "decision": row.decision_id,
        "revision": row.revision,
        "rule": row.rule,
        "score": row.score,
        "input_sha256": row.input_sha256,
        "at": f"parked/{row.partition}/{row.offset}",
        "verdict": review.verdict,
        "decided": moment(review.decided_ms),
        "decided_by": review.decided_by,
        "why": review.why,
    }
