"""`headworks demo`: the example jobs through every pool, on embedded parts, and what they cost."""

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from headworks.batch.session import Ending
    from headworks.dev import DevStack

_SEED = 7


def demo(
    source: Annotated[
        Path, typer.Argument(metavar="INPUT.jsonl", help="Jobs in the OpenAI Batch format.")
    ] = Path("examples/jobs.jsonl"),
    folder: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the answers go.")] = Path(
        ".headworks/demo"
    ),
) -> None:
    """Run example jobs on embedded servers and a simulated provider; show what they cost.

    Examples:
        headworks demo
        headworks demo my-jobs.jsonl

    Every job goes the whole way: Kafka, the worker pools, a call over HTTP, a ledger, the reply. The provider
    is slow at times, fails 2 % of the calls and turns 1 % away, so that there is something to retry.
    At the end stand the summary, the bill by department and by model, and what is on record.
    """
    from broker.settings import LogSettings
    from broker.telemetry.log import configure
    from headworks.cli.loop import run

    if not source.is_file():
        raise typer.BadParameter(f"{source} is not a file; name one", param_hint="INPUT.jsonl")
    configure(LogSettings(level="error"))
    _clear(folder)
    raise typer.Exit(run(_demo(source, folder)))


def _clear(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for earlier in _files(folder):
            earlier.unlink(missing_ok=True)
    except OSError as error:
        raise typer.BadParameter(
            f"{folder} cannot be written: {error.strerror}", param_hint="--folder"
        ) from None


def _files(folder: Path) -> tuple[Path, Path, Path]:
    return folder / "out.jsonl", folder / "out.errors.jsonl", folder / "calls.jsonl"


async def _demo(source: Path, folder: Path) -> int:
    from headworks.cli.output import console as standard_output
    from headworks.dev import dev_stack
    from headworks.simulate.behaviour import Behaviour, LognormalLatency

    console = standard_output()
    behaviour = Behaviour(
        seed=_SEED, latency=LognormalLatency(p50_ms=80, p99_ms=600), error_rate=0.02, rate_limited_rate=0.01
    )
    console.print("Starting Kafka, database, Redis, a provider and all workers in this process...")
    _, _, calls = _files(folder)
    async with dev_stack(behaviour=behaviour, calls=calls) as stack:
        ending = await _run(stack, source, folder)
        await _report(console, stack, ending)
    _go_on(console, folder)
    return 130 if ending.interrupted else 0


async def _run(stack: "DevStack", source: Path, folder: Path) -> "Ending":
    import os

    from rich.console import Console

    from headworks.batch.pace import Pace
    from headworks.batch.progress import Bar, Plain
    from headworks.batch.session import Options, Session
    from schemas.envelope import RetryPolicy
    from schemas.topics import Lane

    output, errors, _ = _files(folder)
    os.environ.update(stack.environment())
    options = Options(source, output, errors, Lane.BULK, 200, None, 3600, RetryPolicy(), None)
    session = Session(options, stack.settings.kafka)
    shown = Console(stderr=True)
    return await session.execute(Bar(shown, Pace()) if shown.is_terminal else Plain(sys.stderr, Pace()))


async def _report(console: "Console", stack: "DevStack", ending: "Ending") -> None:
    from broker.store.audit_check import broken_chain
    from broker.store.database import Database
    from broker.store.usage import BillBy, Usage
    from headworks.batch.report import table
    from headworks.cli.bill import bill_table

    console.print()
    console.print(table(ending.tally, ending.elapsed_s))
    database = await Database.open(stack.settings.database)
    try:
        usage = Usage(database)
        bills: tuple[BillBy, ...] = ("department", "model")
        for by in bills:
            console.print()
            console.print(bill_table([by], await usage.bill([by]), title=f"Bill by {by}"))
        counts = await usage.counts()
        broken = await broken_chain(database)
    finally:
        await database.close()
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.terminals.items()))
    chains = "all hash chains whole" if broken is None else f"BROKEN at {broken}"
    console.print(f"\nOn record: {kinds}; {counts.audit_entries} audit entries, {chains}.")


def _go_on(console: "Console", folder: Path) -> None:
    output, errors, calls = _files(folder)
    activate = "" if shutil.which("headworks") else f"\n  . {_relative(Path(sys.prefix) / 'bin/activate')}"
    console.print(f"""
Answers:  {output}
The rest: {errors}, each with its code
Calls:    {calls}, by the provider's own log

To go on:{activate}
  headworks dev                             # keeps all this running
  headworks submit "What is a headworks?"   # meanwhile, in another terminal
  headworks run examples/jobs.jsonl -o out.jsonl
README.md says how to run it on real Kafka, PostgreSQL and Redis.""")


def _relative(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
