"""`headworks dev`: everything in one process, on embedded parts."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from headworks.dev import DevStack

_HEALTH_PORT = 8080
_FOLDER = Path(".headworks")


Latency = Annotated[
    str,
    typer.Option(
        metavar="MS",
        help="Of the simulated provider: 200, uniform:50:400 (least, most) or lognormal:200:1500 (p50, p99).",
    ),
]
ErrorRate = Annotated[
    float,
    typer.Option(
        metavar="SHARE", min=0, max=1, help="Share of calls that the simulated provider fails: 0.02."
    ),
]
RealProviders = Annotated[
    bool, typer.Option("--real-providers", help="Call the providers that the settings name, in its place.")
]
HealthPort = Annotated[
    int,
    typer.Option(
        metavar="PORT", min=0, max=65535, help="Where /healthz, /readyz and /metrics are; 0 for nowhere."
    ),
]


def dev(
    latency: Latency = "lognormal:200:1500",
    error_rate: ErrorRate = 0.0,
    real_providers: RealProviders = False,
    health_port: HealthPort = _HEALTH_PORT,
) -> None:
    """Run all of it in one process, with embedded servers: to try out and to develop.

    It needs no server and keeps nothing: all is gone at Ctrl-C.

    Examples:
        headworks dev
        headworks dev --latency 20 --error-rate 0.1

    While it runs, in another terminal and the same folder:
        headworks submit "What is a headworks?"
        headworks run examples/jobs.jsonl --output out.jsonl

    They find it by the file .headworks/dev.env, which it writes. A program of your own takes the same:
        set -a; . .headworks/dev.env; set +a
    """
    import asyncio

    from broker.errors import SettingsInvalid
    from broker.settings import LogSettings, Settings
    from broker.telemetry.log import configure
    from headworks.cli.loop import run
    from headworks.dev import dev_stack
    from headworks.simulate.behaviour import Behaviour, parse_latency
    from workers.service import stop_on_signals

    try:
        behaviour = Behaviour(latency=parse_latency(latency), error_rate=error_rate)
    except ValueError:
        raise typer.BadParameter(
            "write milliseconds as 200, uniform:50:400 or lognormal:200:1500", param_hint="--latency"
        ) from None
    providers = Settings.load().providers if real_providers else None
    if real_providers and not providers:
        raise SettingsInvalid("--real-providers: the settings name none, in [providers.<name>]")
    configure(LogSettings(level="warning"))
    _make_folder()

    async def main() -> None:
        stop: asyncio.Event = stop_on_signals()
        typer.echo("Starting...", err=True)
        async with dev_stack(providers=providers, behaviour=behaviour, health_port=health_port) as stack:
            with _Announced(stack):
                _say_where_things_are(stack, health_port)
                await stop.wait()
                typer.echo("\nStopping...", err=True)

    with _alone():
        run(main())


def _make_folder() -> None:
    """Before anything is started. Raises SettingsInvalid."""
    from broker.errors import SettingsInvalid

    try:
        _FOLDER.mkdir(mode=0o700, exist_ok=True)
        writable = _FOLDER.is_dir() and os.access(_FOLDER, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise SettingsInvalid(f"{_FOLDER.absolute()} cannot be written: go to a folder of your own")


@contextmanager
def _alone() -> Iterator[None]:
    """A second one would take the place of the first in `dev.env`, and leave none at its end.

    Raises SettingsInvalid.
    """
    from broker.errors import SettingsInvalid

    folder = os.open(_FOLDER, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsInvalid(
                "a `headworks dev` runs in this folder already: use that one, or start this in another folder"
            ) from None
        yield
    finally:
        os.close(folder)


class _Announced:
    """`.headworks/dev.env` while the stack runs; it holds a credential, so only its owner may read it."""

    def __init__(self, stack: "DevStack") -> None:
        self._stack = stack
        self._file = _FOLDER / "dev.env"

    def __enter__(self) -> None:
        self._file.touch(mode=0o600)
        lines = [f"{name}={value}" for name, value in self._stack.environment().items()]
        self._file.write_text("\n".join(lines) + "\n")

    def __exit__(self, *_: object) -> None:
        self._file.unlink(missing_ok=True)


def _say_where_things_are(stack: "DevStack", health_port: int) -> None:
    provider = stack.provider
    rows = [
        ("Kafka", f"{stack.settings.kafka.bootstrap_servers}  (embedded, in memory)"),
        ("database", f"{stack.database_file}  (SQLite)"),
        ("Redis", "in this process"),
        ("provider", f"{provider.base_url}  (simulated)" if provider else "those of the settings"),
        ("credential", ".headworks/dev.env  (application dev)"),
    ]
    if health_port:
        rows.append(("health", f"http://127.0.0.1:{health_port}/readyz, /metrics"))
    typer.echo("Headworks runs. Nothing is kept when it stops.\n")
    for name, where in rows:
        typer.echo(f"  {name:<11} {where}")
    typer.echo(
        """
Try, in another terminal and this folder:
  headworks submit "What is a headworks?"
  headworks run examples/jobs.jsonl -o out.jsonl
  set -a; . .headworks/dev.env; set +a     # then also:
  headworks usage --by model
Ctrl-C stops it."""
    )
