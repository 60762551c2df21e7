"""`headworks run`: a file of requests in, a file of answers out."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from headworks.cli import run_options
from headworks.cli.connection import connect
from schemas.envelope import ATTEMPTS_DEFAULT, TTL_S_DEFAULT
from schemas.topics import Lane

if TYPE_CHECKING:
    from headworks.batch.progress import Reporter
    from headworks.batch.session import Ending, Options

_FAILED = 3
_INTERRUPTED = 130


def run(
    source: run_options.Source,
    *,
    output: run_options.Output,
    errors: run_options.Errors = None,
    lane: run_options.LaneOption = Lane.BULK,
    in_flight: run_options.InFlight = 1_000,
    run_id: run_options.RunId = None,
    ttl: run_options.Ttl = TTL_S_DEFAULT,
    attempts: run_options.Attempts = ATTEMPTS_DEFAULT,
    at_most_once: run_options.AtMostOnce = False,
    idle_timeout: run_options.IdleTimeout = None,
    as_json: run_options.AsJson = False,
    quiet: run_options.Quiet = False,
) -> None:
    """Run a file of requests in the OpenAI Batch format; write the answers to another.

    Examples:
        headworks run jobs.jsonl --output answers.jsonl
        zcat jobs.jsonl.gz | headworks run - -o answers.jsonl --run-id june

    A line of input is a JSON object:
        {"custom_id": "a-1", "method": "POST", "url": "/v1/chat/completions",
         "body": {"model": "gpt-4o-mini", "messages": [...]}}

    `url` may also be /v1/embeddings. The body's metadata may name a department, a feature and a user, to whom
    the job is charged. A line that is no such request is reported by its number among the errors, and the
    rest goes on.

    Run the same command again after an interrupt, a crash or an error: it goes on where it stopped, and no
    job is paid twice. The same input is the same run, also under another name or with another --output: what
    was answered before is answered again, free of charge. To have it done anew, give it a --run-id.

    Exit status: 0 all lines are answered, refused or malformed; 1 the run could not start or go on; 2 wrong
    usage; 3 some jobs failed (dead, expired, cancelled, or of unknown outcome); 130 interrupted.
    """
    from headworks.batch.files import errors_beside
    from headworks.batch.session import Options
    from schemas.envelope import RetryPolicy

    chosen = Options(
        source=None if source == "-" else Path(source),
        output=output,
        errors=errors_beside(output) if errors is None else errors,
        lane=lane,
        in_flight=in_flight,
        run_id=run_id,
        ttl_s=ttl,
        retry=RetryPolicy(attempts_max=attempts, at_most_once=at_most_once),
        idle_timeout_s=idle_timeout,
    )
    _check(chosen)
    ending = _execute(chosen, quiet=quiet)
    _conclude(chosen, ending, as_json=as_json, quiet=quiet)
    raise typer.Exit(_status(ending))


def _check(options: "Options") -> None:
    if options.source is not None and not options.source.is_file():
        raise typer.BadParameter(
            f"{options.source} is not a file; `-` reads a pipe", param_hint="INPUT.jsonl"
        )
    named = [options.output, options.errors, *([options.source] if options.source else [])]
    if len({path.resolve() for path in named}) < len(named):
        raise typer.BadParameter("input, output and errors must be three files", param_hint="--output")
    if not options.output.parent.is_dir() or not options.errors.parent.is_dir():
        raise typer.BadParameter("the folder is not there", param_hint="--output")


def _execute(options: "Options", *, quiet: bool) -> "Ending":
    from headworks.batch.session import Session
    from headworks.cli.loop import run as run_loop

    async def main() -> "Ending":
        session = Session(options, connect())
        if options.source is None and options.run_id is None:
            typer.echo(f"This is run {session.run.run_id}: name it by --run-id to go on with it.", err=True)
        return await session.execute(_reporter(quiet=quiet))

    return run_loop(main())


def _reporter(*, quiet: bool) -> "Reporter":
    import sys

    from rich.console import Console

    from headworks.batch.pace import Pace
    from headworks.batch.progress import Bar, Plain, Silent

    if quiet:
        return Silent()
    console = Console(stderr=True)
    return Bar(console, Pace()) if console.is_terminal else Plain(sys.stderr, Pace())


def _conclude(options: "Options", ending: "Ending", *, as_json: bool, quiet: bool) -> None:
    from rich.console import Console

    from headworks.batch.report import table
    from headworks.batch.tally import summary

    if as_json:
        import orjson

        files = {"output": str(options.output), "errors": str(options.errors)}
        facts = {"run_id": ending.run_id, "interrupted": ending.interrupted, **files}
        typer.echo(orjson.dumps(facts | summary(ending.tally, ending.elapsed_s)).decode())
    elif not quiet:
        Console(stderr=True).print(table(ending.tally, ending.elapsed_s))
    if ending.interrupted:
        typer.echo(_how_to_go_on(options, ending), err=True)


def _how_to_go_on(options: "Options", ending: "Ending") -> str:
    tally = ending.tally
    lines = f"{tally.handled}" if tally.lines is None else f"{tally.handled} of {tally.lines}"
    how = "run the same command again"
    if options.source is None and options.run_id is None:
        how = f"give the same input again with --run-id {ending.run_id} and the same --output"
    return f"Interrupted with {lines} lines done. To go on, {how}: nothing is paid twice."


def _status(ending: "Ending") -> int:
    if ending.interrupted:
        return _INTERRUPTED
    return _FAILED if ending.tally.failed else 0
