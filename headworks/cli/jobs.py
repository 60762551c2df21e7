"""`headworks jobs`."""

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from headworks.cli.groups import group
from headworks.cli.output import JsonOption, moment, opened, printable, run, show_one, show_table

if TYPE_CHECKING:
    from broker.ops.jobs import Event
    from broker.settings import KafkaSettings
    from broker.store.history import JobRecords

app = group(help="Single jobs: where one is, what became of it, and to call it off.")


@app.command("show")
def show_job(
    job_id: Annotated[UUID, typer.Argument(metavar="ID", help="As `submit` prints it, or a reply names it.")],
    application: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whose job, where several used the id.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show where a job is and its history, as the ledger has it. Never what it asks or was answered.

    Examples:
        headworks jobs show 019b76da-a800-7d3f-8a5b-1c2d3e4f5061
        headworks jobs show 019b76da-a800-7d3f-8a5b-1c2d3e4f5061 --json

    It reads the database, so it is for operators. A job that ADMIT has not read yet is not there.
    """
    from broker.ops import jobs

    records = run(_records(job_id, application))
    record, events = _record(records), jobs.events(records)
    if as_json:
        typer.echo(json.dumps(record | {"events": [_event(event) for event in events]}, indent=2))
        return
    show_one(record, as_json=False)
    typer.echo()
    rows = [[_when(event.at_ms), _what(event), _detail(event)] for event in events]
    show_table(("at", "event", "detail"), rows, folded=False)


@app.command("cancel")
def cancel_jobs(
    job_ids: Annotated[list[UUID], typer.Argument(metavar="ID", help="As `submit` prints it.")],
    *,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, help="How long to wait for the jobs' ends.")
    ] = 30,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait for the jobs' ends, or only see that Kafka has it.")
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Call jobs off, wherever they are, and say how each ended.

    Examples:
        headworks jobs cancel 019b76da-a800-7d3f-8a5b-1c2d3e4f5061
        xargs headworks jobs cancel --no-wait < ids.txt

    The credential is that of the application whose jobs they are; no other can call them off. A call under
    way is cut off and charged in full. A job that has ended stays as it ended. One that has not come yet is
    called off when it comes, so an id that nobody used is `open` at the end of --timeout.

    Exit status: 0 all are cancelled (or, with --no-wait, will be); 1 some ended otherwise, or are still open;
    2 wrong usage.
    """
    from headworks.cli.connection import connect

    ends = run(_cancel(connect(), list(dict.fromkeys(job_ids)), timeout if wait else None))
    if as_json:
        typer.echo(json.dumps([{"job": str(job_id), "status": status} for job_id, status in ends.items()]))
    else:
        for job_id, status in ends.items():
            typer.echo(f"{job_id}  {status}")
    raise typer.Exit(0 if set(ends.values()) <= {"cancelled", "requested"} else 1)


async def _cancel(
    kafka: "KafkaSettings", job_ids: "Sequence[UUID]", timeout_s: float | None
) -> dict[UUID, str]:
    """How each ended. `timeout_s` is for all of them together; None: nothing is waited for."""
    from headworks.client import Client, ResultTimeout

    ends = dict.fromkeys(job_ids, "requested" if timeout_s is None else "open")
    async with Client(kafka=kafka) as client:
        for job_id in job_ids:
            await client.cancel(job_id, reply=timeout_s is not None)
        if timeout_s is not None:
            with suppress(ResultTimeout):
                async for result in client.as_completed(job_ids, timeout_s):
                    ends[result.job_id] = type(result).__name__.lower()
    return ends


async def _records(job_id: UUID, application: str | None) -> "JobRecords":
    from broker.ops import jobs
    from broker.settings import Settings

    async with opened(Settings.load()) as database:
        return await jobs.show(database, job_id, application)


def _record(records: "JobRecords") -> dict[str, Any]:
    from broker.ops import jobs

    job = records.job
    where = jobs.whereabouts(records, time.time_ns() // 1_000_000)
    return {
        "job": str(job.job_id),
        "application": records.application,
        "project": records.project,
        "lane": job.lane,
        "where": where.at,
        "because": where.text,
        "not_before": moment(where.until_ms),
        "deadline": moment(job.deadline_ms),
        "run": jobs.latest_run(records),
        "value_sha256": job.value_sha256,
    }


def _event(event: "Event") -> dict[str, Any]:
    return event._asdict() | {"detail": dict(event.detail)}


def _when(at_ms: int) -> str:
    return f"{(moment(at_ms) or '').removesuffix('+00:00')}.{at_ms % 1000:03}"


def _what(event: "Event") -> str:
    attempt = "" if event.attempt is None else str(event.attempt)
    run = f"(run {event.run})" if event.run not in (None, 1) else ""
    return printable(" ".join(part for part in (event.event, attempt, run) if part))


def _detail(event: "Event") -> str:
    told = (_told(name, content) for name, content in event.detail.items() if content is not None)
    return printable(", ".join(part for part in told if part))


def _told(name: str, content: Any) -> str:
    from broker.ops.dollars import to_dollars

    match name, content:
        case (("nanodollars" | "held_nanodollars" | "now_nanodollars"), int()):
            return f"{name.removesuffix('nanodollars').replace('_', ' ')}{to_dollars(content)}"
        case "estimated", bool():
            return "estimated" if content else ""
        case "next_due_ms", int():
            return f"next not before {_when(content)}"
        case (("input_tokens" | "output_tokens"), _):
            return f"{content} {name.replace('_', ' ')}"
        case "latency_ms", _:
            return f"{content} ms"
        case (("worker" | "reply_sha256"), str()):
            return f"{name.replace('_', ' ')} {content[:12]}"
        case _:
            return str(content)
