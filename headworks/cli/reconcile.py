"""`headworks ledger reconcile`: what a provider's invoice or export of usage says, beside the charges."""

import json
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, NamedTuple

import typer

from headworks.batch.tally import dollars, signed_dollars
from headworks.cli.output import JsonOption, opened, printable, run

if TYPE_CHECKING:
    from broker.errors import SettingsInvalid
    from broker.ops.reconciling import Checked, Progress, Reconciling, StatementRefused, Summary
    from broker.settings import Settings
    from broker.statements.spool import Spool
    from broker.store.corrections import Reconciliation
    from broker.store.database import Database

REFERENCE_CHARS_MAX = 128
_INTERRUPTED = 130
_STANDARD_INPUT = "-"

FileArgument = Annotated[
    str, typer.Argument(metavar="FILE", help="CSV with a header, or JSON Lines; - reads standard input.")
]
ReferenceOption = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="What the file is, such as the invoice's number; goes on record."),
]


class _Order(NamedTuple):
    file: str
    reference: str | None
    amend: bool
    dry_run: bool


class _Done(NamedTuple):
    checked: "Checked"
    written: "list[Reconciliation]"
    told: str
    """What of the gate is still to be done, and by whom; empty where nothing is."""


def reconcile(
    file: FileArgument,
    *,
    reference: ReferenceOption = None,
    amend: Annotated[
        bool, typer.Option("--amend", help="Correct again what another file has corrected to something else.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check all, and write nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Put beside estimated charges what they really came to, by the provider's invoice or export of usage.

    Examples:
        headworks ledger estimated --csv > open.csv
        headworks ledger reconcile filled.csv --reference INV-2026-01 --dry-run
        headworks ledger reconcile filled.csv --reference INV-2026-01

    A row names a charge, and gives either dollars or tokens:
        job,run,attempt,dollars,input_tokens,output_tokens
        019b76da-a800-7d3f-8a5b-1c2d3e4f5061,1,2,0.012345678,,
        019b76da-a800-7d3f-8a5b-1c2d3e4f5062,1,1,,812,64

    Dollars have at most 9 decimals. Tokens are priced by the prices that the charge was made by. There may
    also be cached_input_tokens and cache_write_tokens, both part of input_tokens; reasoning_tokens, part of
    output_tokens; service_tier; and application, where two used the same job id. Columns that `headworks
    ledger estimated` writes may stay. In JSON Lines each line is an object with the same names.

    No charge is changed: the difference is written beside it, is billed in the month of today, and counts at
    once for budgets whose day or month still runs. If anything is wrong in the file, every fault is told with
    its line, and nothing is written. The same file again changes nothing, and goes on where it was broken
    off. Who did it is on record (`headworks budgets history ledger`).

    Exit status: 0 done; 1 refused, or a part is away; 130 interrupted.
    """
    from broker.ops.reconciling import StatementRefused, Summary

    so_far = [Summary()]
    order = _Order(file, _checked_reference(reference), amend, dry_run)
    try:
        done = run(_reconcile(order, so_far))
    except StatementRefused as refused:
        _tell_faults(refused, so_far[0], as_json=as_json)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        typer.echo(f"Interrupted. {_left(so_far[0])}", err=True)
        raise typer.Exit(_INTERRUPTED) from None
    except Exception:
        if so_far[0].rows:
            typer.echo(_left(so_far[0]), err=True)
        raise
    if as_json:
        typer.echo(json.dumps(_record(done, dry_run=dry_run), indent=2))
    else:
        _tell(done, dry_run=dry_run)
    _tell_beside(done)


def _checked_reference(text: str | None) -> str | None:
    if text is None:
        return None
    if not 0 < len(text.strip()) <= REFERENCE_CHARS_MAX or not text.isprintable():
        raise typer.BadParameter(
            f"has 1 to {REFERENCE_CHARS_MAX} printable characters", param_hint="--reference"
        )
    return text.strip()


async def _reconcile(order: _Order, so_far: "list[Summary]") -> _Done:
    from broker.ops.charge_prices import ChargePrices
    from broker.ops.reconciling import Reconciling
    from broker.pricing.book import SHIPPED
    from broker.settings import Settings
    from broker.statements.spool import Spool

    settings = Settings.load()
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(opened(settings))
        prices = ChargePrices(database, settings.prices or SHIPPED)
        line = _Line()
        stack.callback(line.end)
        work = Reconciling(database, prices, amends=order.amend, on_progress=line.show)
        spool = stack.enter_context(Spool())
        file = stack.enter_context(_opened_file(order.file))
        checked = await _checked(work, file, spool, order.file)
        if order.dry_run:
            return _Done(checked, [], "")
        gate = await _Counting.open(stack, settings, database)

        async def after_batch() -> None:
            so_far[0] = work.written
            await gate.count()

        # Also what another run left, though this file may bring nothing new.
        await gate.count()
        written = await work.write(checked, spool, order.reference, after_batch)
        return _Done(checked._replace(summary=work.written), written, gate.told)


async def _checked(work: "Reconciling", file: BinaryIO, spool: "Spool", name: str) -> "Checked":
    """Raises SettingsInvalid too, where reading fails on the way."""
    try:
        return await work.check(file, spool)
    except OSError as error:
        raise _unreadable(name, error) from None


class _Counting:
    """Tells the gate after each batch; leaves it to the workers where it cannot be reached."""

    def __init__(self, database: "Database", gate: Any, told: str) -> None:
        self._database = database
        self._gate = gate
        self.told = told

    @classmethod
    async def open(cls, stack: AsyncExitStack, settings: "Settings", database: "Database") -> "_Counting":
        from broker.errors import RedisUnavailable
        from broker.ops.organizations import time_zones
        from broker.quota.ledger_source import LedgerSource
        from broker.quota.redis_gate import RedisGate
        from broker.quota.self_opening import SelfOpeningGate
        from broker.settings_faults import EMBEDDED_REDIS

        if settings.redis.url.get_secret_value() == EMBEDDED_REDIS:
            return cls(database, None, "the process that has the embedded Redis counts it within seconds")
        zones = await time_zones(database)
        try:
            gate = await RedisGate.open(settings.redis, zones.__getitem__)
        except RedisUnavailable as error:
            return cls(database, None, _left_to_workers(error))
        stack.push_async_callback(gate.close)
        return cls(database, SelfOpeningGate(gate, LedgerSource(database), lambda: None), "")

    async def count(self) -> None:
        from broker.errors import GateClosed, RedisUnavailable
        from broker.ops.recounting import count_in

        if self._gate is None:
            return
        try:
            await count_in(self._database, self._gate)
        except (RedisUnavailable, GateClosed) as error:
            self._gate = None
            self.told = _left_to_workers(error)


def _left_to_workers(error: Exception) -> str:
    return f"{error}: budgets follow when it is back, by any worker with SETTLE"


def _opened_file(name: str) -> BinaryIO:
    """Raises SettingsInvalid."""
    if name == _STANDARD_INPUT:
        return _standard_input()
    try:
        return Path(name).open("rb")
    except OSError as error:
        raise _unreadable(name, error) from None


def _unreadable(name: str, error: OSError) -> "SettingsInvalid":
    from broker.errors import SettingsInvalid

    return SettingsInvalid(f"{printable(name)} cannot be read: {error.strerror}")


def _standard_input() -> BinaryIO:
    return sys.stdin.buffer


def _tell(done: _Done, *, dry_run: bool) -> None:
    found = done.checked.summary
    corrected = "to be corrected" if dry_run else "corrected"
    typer.echo(f"rows: {found.rows:,}; {corrected}: {found.corrected:,}; already so: {found.known:,}")
    if found.corrected:
        difference = found.nanodollars_after - found.nanodollars_before
        typer.echo(
            f"before {dollars(found.nanodollars_before)} dollars, now {dollars(found.nanodollars_after)}: "
            f"{signed_dollars(difference)}"
        )


def _tell_beside(done: _Done) -> None:
    """What whoever reads no more than the figures would miss."""
    found = done.checked.summary
    if found.overtaken:
        typer.echo(
            f"{found.overtaken:,} rows of this file were corrected again since, and stay as they are now: to "
            "have the figures of this one, give them in another file, with --amend",
            err=True,
        )
    if found.above_hold:
        typer.echo(f"{found.above_hold:,} of them cost more than was held for them", err=True)
    if done.told and done.written:
        typer.echo(f"Budgets: {printable(done.told)}", err=True)


def _record(done: _Done, *, dry_run: bool) -> dict[str, Any]:
    found = done.checked.summary
    return {
        "file_sha256": done.checked.file_sha256,
        "dry_run": dry_run,
        "rows": found.rows,
        "corrected": found.corrected,
        "already": found.known,
        "overtaken": found.overtaken,
        "above_hold": found.above_hold,
        "nanodollars_before": found.nanodollars_before,
        "nanodollars_after": found.nanodollars_after,
        "reconciliations": [each.id for each in done.written],
        "faults": [],
    }


def _tell_faults(refused: "StatementRefused", so_far: "Summary", *, as_json: bool) -> None:
    from broker.ops.reconciling import FAULTS_MAX

    faults = refused.faults
    if as_json:
        told = {"rows": so_far.rows, "faults": [each._asdict() for each in faults]}
        typer.echo(json.dumps(told, indent=2))
    for each in faults:
        typer.echo(f"line {each.line}: {each.code}: {printable(each.text)}", err=True)
    more = f"the first {len(faults)} are shown; " if len(faults) >= FAULTS_MAX else ""
    left = "nothing was written"
    if so_far.rows:
        left = f"the {so_far.rows:,} rows before were written; mend the file, or --amend, and it goes on"
    typer.echo(f"error [{refused.code}]: {more}{left}", err=True)


def _left(so_far: "Summary") -> str:
    return f"{so_far.rows:,} rows are on record; the same command goes on from there"


class _Line:
    """Progress on a terminal, a line that is written over."""

    def __init__(self) -> None:
        self._is_open = False

    def show(self, progress: "Progress") -> None:
        if not sys.stderr.isatty():
            return
        of = "" if progress.total is None else f" of {progress.total:,}"
        done = "checked" if progress.total is None else "written"
        typer.echo(f"\r{done}: {progress.done:,}{of} rows", nl=False, err=True)
        self._is_open = True

    def end(self) -> None:
        if self._is_open:
            typer.echo(err=True)
        self._is_open = False
